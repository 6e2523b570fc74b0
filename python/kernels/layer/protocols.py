"""What a repository object of one's own has, for type checkers."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class LayerRepositoryProtocol(Protocol):
    """An object that a mapping may point to: it loads its layer by itself; messages call it by its text."""

    @property
    def layer_name(self) -> str:
        """The layer's name in the repository."""
        ...

    def load(self) -> type:
        """The layer's class, a subclass of torch.nn.Module."""
        ...
