"""Layers that kernels can replace."""

from __future__ import annotations

from .func import is_function, make_function
from .globals import _KERNEL_MAPPING

__all__ = ["_KERNEL_MAPPING", "_validate_layer", "replace_kernel_forward_from_hub", "use_kernel_forward_from_hub"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")


def replace_kernel_forward_from_hub(
    cls: Any, layer_name: str, condition: Callable[[Any], bool] | None = None
) -> None:
    """Makes a class of another library extensible under a name, as `use_kernel_forward_from_hub` does for one's own.

    >>> replace_kernel_forward_from_hub(SiluAndMul, "SiluAndMul")
    """
    cls.kernel_layer_name = layer_name
    # A condition that a parent class was given is about the parent's name.
    if condition is not None or getattr(cls, "kernel_condition", None) is not None:
        cls.kernel_condition = condition


def use_kernel_forward_from_hub(
    layer_name: str, condition: Callable[[Any], bool] | None = None
) -> Callable[[T], T]:
    """A decorator that makes a class, or a plain function, extensible under a name.

    What it does stays as it is until `kernelize`. `condition` is asked with each instance; where it says False,
    `kernelize` leaves the instance alone. A function becomes an object that is called like it and has its name,
    documentation and signature; it is pickled by name.

    >>> @use_kernel_forward_from_hub("SiluAndMul")
    ... class SiluAndMul(nn.Module):
    ...     def forward(self, input): ...

    Raises TypeError for what is neither a class nor a function.
    """

    def decorate(target: T) -> T:
        if isinstance(target, type):
            replace_kernel_forward_from_hub(target, layer_name, condition)
            return target
        if not is_function(target):
            raise TypeError(
                f"use_kernel_forward_from_hub can only be applied to classes or functions: found {target!r}"
            )
        attributes = {"kernel_layer_name": layer_name}
        if condition is not None:
            attributes["kernel_condition"] = condition
        return make_function(target, attributes)

    return decorate


def _validate_layer(*, check_cls: type, cls: type, repo: object) -> None:
    """Raises where a kernel layer's class `cls` cannot take the place of `check_cls`."""
    from kernels._torch.layers import validate_layer

    validate_layer(check_cls=check_cls, cls=cls, repo=repo)
