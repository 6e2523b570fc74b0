"""Functions that kernels can replace."""

from __future__ import annotations

from functools import update_wrapper, wraps
from types import BuiltinFunctionType, FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    C = TypeVar("C", bound=type)

_base: type | None = None  # made with the first function: torch is imported then


def _function_class() -> type:
    """The base of all function modules."""
    global _base
    if _base is not None:
        return _base
    from torch import nn

    class Func(nn.Module):
        """A function as a module: called by its name, replaced by `kernelize` through its forward.

        There is one object for each function, as for the function itself: copies are the same object, and it is
        pickled by name.
        """

        def __reduce_ex__(self, protocol: Any) -> str:
            return self.__qualname__

    Func.__module__, Func.__qualname__ = __name__, "Func"
    _base = Func
    return Func


def is_function(target: object) -> bool:
    """A function of Python or C, which can be made extensible as one."""
    return isinstance(target, (FunctionType, BuiltinFunctionType))


def make_function(function: Callable[..., Any], attributes: dict[str, Any]) -> Any:
    """The object that stands for an extensible function, with the class attributes of a layer."""

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    forward.__qualname__ = f"{function.__qualname__}.forward"
    forward.__module__ = function.__module__
    forward.__doc__ = function.__doc__
    signature = _method_signature(function)
    if signature is not None:
        forward.__signature__ = signature  # type: ignore[attr-defined]
    of_class = {"__module__": function.__module__ or __name__, "__doc__": function.__doc__, "forward": forward}
    made = type(function.__name__, (_function_class(),), of_class | attributes)()
    return update_wrapper(made, function)


def _method_signature(function: Callable[..., Any]) -> Any:
    """The function's signature after a `self`; None where C code does not tell it."""
    import inspect

    try:
        given = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    return given.replace(parameters=[first, *given.parameters.values()])


def use_kernelized_func(*functions: Any) -> Callable[[C], C]:
    """A class decorator: `kernelize` finds the extensible functions that the class's forward calls through it.

    >>> @use_kernel_forward_from_hub("rotary_pos_emb")
    ... def apply_rotary_pos_emb(q, k, cos, sin): ...
    >>> @use_kernelized_func(apply_rotary_pos_emb)
    ... class Attention(nn.Module): ...

    Raises ValueError for a function that is not decorated with `use_kernel_forward_from_hub`.
    """
    for function in functions:
        if getattr(function, "kernel_layer_name", None) is None:
            name = getattr(function, "__name__", None) or repr(function)
            raise ValueError(f"Function `{name}` is not decorated with `use_kernel_forward_from_hub`.")

    def decorate(cls: C) -> C:
        construct = cls.__init__

        @wraps(construct)
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            construct(self, *args, **kwargs)
            named = self.__dict__.setdefault("_kernel_funcs", {})
            for function in functions:
                name = str(function.kernel_layer_name)
                if named.setdefault(name, function) is not function:  # two functions of one layer
                    named[getattr(function, "__name__", name)] = function

        cls.__init__ = __init__  # type: ignore[misc]
        return cls

    return decorate


def use_kernel_func_from_hub(func_name: str) -> Callable[[Any], Any]:
    """`use_kernel_forward_from_hub` for functions. Deprecated: that one takes functions too."""
    import warnings

    from .layer import use_kernel_forward_from_hub

    warnings.warn(
        "use_kernel_func_from_hub is deprecated since kernels 0.17: use_kernel_forward_from_hub takes functions too",
        DeprecationWarning,
        stacklevel=2,
    )
    return use_kernel_forward_from_hub(func_name)
