"""A kernel's layer held against the class whose forward it is to replace."""

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from torch import nn

from kernels.errors import LayerError

if TYPE_CHECKING:
    from kernels import _kernels

_FLAGS = frozenset({"can_torch_compile", "has_backward"})
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def check_hosted(layer: Any, cls: type, text: str) -> str | None:
    """Raises LayerError where a layer's class cannot take the place of `cls`; a warning where keywords differ."""
    if not (isinstance(layer, type) and issubclass(layer, nn.Module)):
        found = layer.__name__ if isinstance(layer, type) else type(layer).__name__
        raise LayerError(f"Layer {text} is not a Torch layer: `{found}` is not a subclass of torch.nn.Module.")
    return _check_class(layer, cls, layer.forward, cls.forward, text)


# By both: what suits one class may contradict another. By forward too, since classes can be patched.
@lru_cache(maxsize=1024)
def _check_class(layer: type, cls: type, forward: Any, own_forward: Any, text: str) -> str | None:
    if layer.__init__ is not nn.Module.__init__:
        raise LayerError(f"Layer {text} must not override nn.Module constructor.")
    more = set(dir(layer)) - set(dir(nn.Module)) - _FLAGS
    if more:
        raise LayerError(
            f"Layer {text} must not contain additional members compared to `{cls.__name__}`: {', '.join(sorted(more))}."
        )
    given, own = _parameters(forward), _parameters(own_forward)
    if given is None or own is None:
        return None  # C code that does not tell
    start = f"Forward signature of {text} does not match `{cls.__name__}`"
    if len(given) != len(own):
        raise LayerError(f"{start}: different number of arguments ({len(given)} instead of {len(own)}).")
    for one, other in zip(given[1:], own[1:]):  # self is given by the binding
        if one.kind != other.kind:
            raise LayerError(
                f"{start}: different kind of arguments "
                f"(`{one}` is {one.kind.description} instead of {other.kind.description})."
            )
    return _differences(given, own, cls, text)


def _parameters(forward: Any) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(forward).parameters.values())
    except (TypeError, ValueError):
        return None


def _differences(given: list[inspect.Parameter], own: list[inspect.Parameter], cls: type, text: str) -> str | None:
    """Names and defaults: calls by place do not notice them."""
    found = []
    for one, other in zip(given[1:], own[1:]):
        if one.name != other.name and one.kind in _NAMED:
            found.append(f"`{other.name}` is called `{one.name}`")
        if not _same(one.default, other.default):
            found.append(f"`{one}` instead of `{other}`")
    if not found:
        return None
    return f"Forward signature of {text} differs from `{cls.__name__}`: {'; '.join(found)}"


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return bool(one == other)
    except Exception:  # what compares elementwise
        return False


def check_native(layer: "_kernels.Layer", cls: type, text: str) -> None:
    """Raises LayerError where a native layer's inputs are not what the class's forward takes."""
    own = _parameters(cls.forward)
    if own is None:
        raise LayerError(f"Forward of `{cls.__name__}` does not tell its signature, to hold {text} against.")
    _check_inputs(own[1:], layer.inputs(), cls, text)


def _check_inputs(own: list[inspect.Parameter], inputs: list[tuple[str, str, bool, Any]], cls: type, text: str) -> None:
    start = f"Forward signature of {text} does not match `{cls.__name__}`"
    if len(own) > len(inputs) or not all(may_be_left_out for _, _, may_be_left_out, _ in inputs[len(own) :]):
        raise LayerError(f"{start}: different number of arguments ({len(inputs)} instead of {len(own)}, without self).")
    names = [name for name, _, _, _ in inputs]
    for at, parameter in enumerate(own):
        if parameter.kind not in _BY_PLACE:
            raise LayerError(
                f"{start}: different kind of arguments (`{parameter}` is {parameter.kind.description}; "
                "accepted are parameters that are given by place)."
            )
        if parameter.name != names[at] and parameter.name in names:
            raise LayerError(f"{start}: different order of arguments ({', '.join(names)}).")


def validate_layer(*, check_cls: type, cls: Any, repo: object) -> None:
    """What `kernelize` checks before a layer is taken: LayerError, a TypeError and ValueError, says how they differ."""
    check_hosted(cls, check_cls, str(repo))


