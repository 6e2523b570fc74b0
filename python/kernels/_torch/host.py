"""PyTorch as a host of the core's kernelize: what it asks about devices, classes, layers and forwards.

The module is the host object (`Host` in _kernels.pyi). Nothing is decided here.
"""

from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch

from kernels._torch import copies, forward, layers, operators, validate
from kernels._torch.functions import share
from kernels._torch.copies import wraps
from kernels.errors import LayerError
from kernels.layer.mode import Mode

if TYPE_CHECKING:
    from kernels import _kernels

__all__ = [
    "LayerError", "advice", "capability", "describe", "device", "foreign", "hook_device", "load", "prepare", "share",
    "wraps",
]  # fmt: skip

# Where a warning that nothing was replaced sends its reader.
advice = "kernels.report(model)"

_MARK = "kernel_layer_name"


def _find(cls: type, name: str) -> type | None:
    """The class in the order of inheritance that has the attribute itself."""
    return next((base for base in cls.__mro__ if name in vars(base)), None)


def describe(cls: type) -> tuple[str, str | None, str | None]:
    """The class's name, its layer name (None: not extensible), why its modules are never replaced (None: they are)."""
    layer_name = getattr(cls, _MARK, None)
    if layer_name is None:
        return cls.__name__, None, None
    marked, owner = _find(cls, _MARK), _find(cls, "forward")
    refusal = None
    if owner is None:
        refusal = f"`{cls.__name__}` has no forward"
    elif hasattr(type(vars(owner)["forward"]), "__set__"):
        kind = type(vars(owner)["forward"]).__name__
        refusal = f"the forward of `{cls.__name__}` is a {kind}, which no instance can replace"
    elif marked is not None and marked is not owner and getattr(marked, "forward", None) is not cls.forward:
        refusal = f"`{cls.__name__}` is a subclass with its own forward: the layer name is that of `{marked.__name__}`"
    return cls.__name__, str(layer_name), refusal


def device(of: Any) -> tuple[str | None, int]:
    """A torch.device in the core's words; "meta" is said as it is."""
    kind = of.type
    if kind == "cuda" and torch.version.hip:
        kind = "rocm"
    return kind, of.index or 0


def hook_device(hook: Any) -> tuple[str | None, int]:
    """Where accelerate's hook runs its module; (None, 0) when it does not say."""
    for one in getattr(hook, "hooks", None) or (hook,):
        where = getattr(one, "execution_device", None)
        if where is not None:
            return device(torch.device(where))
    return None, 0


def capability(device: str, index: int) -> int:
    """Of a GPU as PyTorch sees it now; -1: not known, or no such device."""
    if device not in ("cuda", "rocm"):
        return -1
    try:
        major, minor = torch.cuda.get_device_capability(index)
    except (AssertionError, RuntimeError, ValueError, TypeError):  # no driver, no such device, a build without CUDA
        return -1
    return major * 10 + minor


def foreign(found: Any, since: bool) -> str:
    """Why a module is left alone on which somebody else's forward stands."""
    when = " after it was kernelized" if since else ""
    return f"a forward of its own was set on the module{when}: {_called(found)}"


def _called(function: Any) -> str:
    inner = getattr(function, "func", None)  # of functools.partial
    if inner is not None:
        return f"{type(function).__name__} of {_called(inner)}"
    function = getattr(function, "__func__", function)
    name = getattr(function, "__qualname__", None)
    if name is None:
        function, name = type(function), type(function).__qualname__
    return f"`{getattr(function, '__module__', None) or '?'}.{name}`"


def load(
    cls: type, candidate: "_kernels.Candidate"
) -> tuple[Any, bool, bool, str | None, str | None, str | None]:
    """The layer that a candidate stands for, held against the class; LayerError: they contradict each other."""
    layer = candidate.layer
    if layer is not None:
        validate.check_native(layer, cls, candidate.text)
        return None, layer.has_backward, layer.can_torch_compile, None, None, None
    hosted = layers.load_candidate(candidate)
    warning = validate.check_hosted(hosted, cls, candidate.text)
    has_backward, can_torch_compile = layers.abilities(hosted)
    return hosted, has_backward, can_torch_compile, warning, None, None


def prepare(cls: type, kernel: "_kernels.HostKernel") -> FunctionType:
    """The forward of the class's modules; a function object of its own for each kernel."""
    made = forward.hosted(kernel.hosted.forward) if kernel.hosted is not None else forward.native(kernel, cls.forward)
    if kernel.hosted is None and kernel.mode & Mode.TORCH_COMPILE.value and kernel.layer.can_torch_compile:
        operators.operator(made.__kernels_call__)  # type: ignore[attr-defined]  # exported programs name them
    copies.register(cls, kernel, made)
    return made
