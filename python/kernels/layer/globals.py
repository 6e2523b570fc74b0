"""The current mapping as dictionaries, for programs and tests that look into it."""

from __future__ import annotations

from .mode import Mode
from .repos import repository_of
from .scope import current_mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class DeviceRepos:
    """What is registered for a layer on a device type."""

    def __init__(self) -> None:
        self.tables: dict[tuple[int, int] | None, dict[Mode, Any]] = {}  # by range of capabilities; None: all of them

    @property
    def repos(self) -> dict[Mode, Any]:
        """The repositories by mode that serve every capability; without such, those of the last range."""
        if None in self.tables:
            return self.tables[None]
        return next(reversed(self.tables.values()))

    def __repr__(self) -> str:
        return f"DeviceRepos({self.tables!r})"


class _CurrentMapping:
    """Stands where a ContextVar is expected: `get()` alone. What it gives is a picture: changing it changes nothing."""

    def get(self) -> dict[str, dict[str, DeviceRepos]]:
        """{layer name: {device type: DeviceRepos}}, as it counts for the caller."""
        view: dict[str, dict[str, DeviceRepos]] = {}
        for layer, device, capability, mode, entry, repository in current_mapping().rows():
            repos = view.setdefault(layer, {}).setdefault(device, DeviceRepos())
            table = repos.tables.setdefault(capability, {})
            table[Mode(mode)] = repository if repository is not None else repository_of(entry)
        return view


_KERNEL_MAPPING = _CurrentMapping()
