"""Forwards of instances: functions of Python, so that compilers, inspection and pickling meet what they know."""

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from kernels import _kernels


def hosted(function: Callable[..., Any]) -> FunctionType:
    """The forward of a layer of Python, as a new function of the same code: bindings are known by their functions."""
    if not isinstance(function, FunctionType):
        return _wrap(function)
    made = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    made.__kwdefaults__ = function.__kwdefaults__
    return _like(made, function)


def _like(made: FunctionType, function: Callable[..., Any]) -> FunctionType:
    """With the names, documentation and attributes of another function, but not `__wrapped__`, unless that has it."""
    wrapped = vars(function).get("__wrapped__") if hasattr(function, "__dict__") else None
    functools.update_wrapper(made, function)
    if wrapped is None:
        del made.__wrapped__  # type: ignore[attr-defined]
    else:
        made.__wrapped__ = wrapped  # type: ignore[attr-defined]
    return made


def _wrap(function: Callable[..., Any]) -> FunctionType:
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    return _like(forward, function)


# Without dynamo, torch.compiler.is_compiling() is asked where it matters: of tensors that are no plain ones.
_SOURCE = """\
def {name}({parameters}):
    if _is_compiling():
        return _compiled({names})
    return _function({names})
"""


def native(kernel: "_kernels.HostKernel", own: Callable[..., Any]) -> FunctionType:
    """The forward of a native layer with the signature of a class's own, which serves where the kernel does not fit."""
    from kernels import _kernels
    from kernels._torch import autograd, operators

    call = _kernels.Call(kernel, own)
    autograd.attach(call)
    call.compiled = operators.compiled(call)
    made = _generate(own, call.function, call.compiled)
    made.__kernels_call__ = call  # type: ignore[attr-defined]
    return made


def _generate(own: Callable[..., Any], function: Callable[..., Any], compiled: Callable[..., Any]) -> FunctionType:
    parameters = list(inspect.signature(own).parameters.values())
    shown, names, defaults = [], [], {}
    for at, parameter in enumerate(parameters):
        text = name = parameter.name
        if parameter.default is not inspect.Parameter.empty:
            defaults[f"_default_{at}"] = parameter.default
            text = f"{name}=_default_{at}"
        shown.append(text)
        names.append(name)
        following = parameters[at + 1].kind if at + 1 < len(parameters) else None
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY and following is not inspect.Parameter.POSITIONAL_ONLY:
            shown.append("/")
    # The names of the code are the author's identifiers: nothing else can stand in a signature.
    source = _SOURCE.format(name="forward", parameters=", ".join(shown), names=", ".join(names))
    space = {"_is_compiling": torch.compiler.is_dynamo_compiling, "_compiled": compiled, "_function": function, **defaults}
    exec(compile(source, f"<kernels: {getattr(own, '__qualname__', 'forward')}>", "exec"), space)
    made = space["forward"]
    for name in ("__name__", "__qualname__", "__doc__", "__module__", "__annotations__"):
        if hasattr(own, name):
            setattr(made, name, getattr(own, name))
    return made
