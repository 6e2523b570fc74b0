"""Layer classes: of packages and of repositories that load themselves."""

import inspect
import sys
import threading
import weakref
from collections.abc import MutableMapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from kernels import _kernels
from kernels._torch import operators
from kernels._torch.forward import native as make_forward
from kernels._torch.validate import validate_layer as validate_layer
from kernels.errors import NotFoundError
from kernels.load import module_of, open_kernel

if TYPE_CHECKING:
    from kernels.layer.repos import Repository

_lock = threading.Lock()
# What a custom repository loaded, by its equality, as long as it lives. Layers of packages are kept with their kernels.
_loaded: MutableMapping[Any, Any] = weakref.WeakKeyDictionary()
_loaded_by_id: dict[int, tuple[Any, Any]] = {}  # of those without a hash, or that cannot be referred to weakly
_of_kernels: dict[tuple[Any, ...], type] = {}


def abilities(layer: type) -> tuple[bool, bool]:
    """What a layer's class declares: whether it has a backward, whether torch.compile can take it."""
    return bool(getattr(layer, "has_backward", True)), bool(getattr(layer, "can_torch_compile", False))


def forget(repository: Any = None) -> None:
    """Drops what a custom repository loaded, or what all of them did: the next `kernelize` asks them again."""
    with _lock:
        if repository is None:
            _loaded.clear()
            _loaded_by_id.clear()
            return
        _loaded_by_id.pop(id(repository), None)
        try:
            _loaded.pop(repository, None)
        except TypeError:
            pass


def load_candidate(candidate: "_kernels.Candidate") -> Any:
    """The class of a candidate that is no native layer."""
    if candidate.kernel is None:
        return _load_custom(candidate.object, candidate.layer_name)
    kind = getattr(candidate.object, "_kind", "layer")
    return hosted_layer_class(candidate.kernel, candidate.layer_name, candidate.text, kind)


def _load_custom(repository: Any, layer_name: str) -> Any:
    with _lock:
        found = _loaded_by_id.get(id(repository))
        if found is not None:
            return found[1]
        try:
            if repository in _loaded:
                return _loaded[repository]
        except TypeError:
            pass
    loaded = repository.load()
    if isinstance(loaded, ModuleType):  # repositories written for early releases give the kernel's module
        loaded = _of_module(loaded, layer_name, str(repository))
    with _lock:
        try:
            return _loaded.setdefault(repository, loaded)
        except TypeError:
            return _loaded_by_id.setdefault(id(repository), (repository, loaded))[1]


def _of_module(module: ModuleType, layer_name: str, text: str) -> Any:
    found = getattr(module, "layers", None)
    if found is None:
        raise NotFoundError(f"Kernel repo {text} does not define any layers.")
    layer = getattr(found, layer_name, None)
    if layer is None:
        raise NotFoundError(f"Layer `{layer_name}` not found in kernel repo {text}.")
    return layer


def hosted_layer_class(kernel: "_kernels.Kernel", layer_name: str, text: str, kind: str = "layer") -> Any:
    """A layer of a package that Python imports; of a function, a class around it."""
    module = module_of(kernel)
    if kind == "layer":
        return _of_module(module, layer_name, text)
    function = getattr(module, layer_name, None)
    if function is None:
        raise NotFoundError(f"Function `{layer_name}` not found in kernel repo {text}.")
    with _lock:
        key = (id(kernel), layer_name)
        if key not in _of_kernels:
            _of_kernels[key] = _function_class(function, layer_name, module.__name__)
        return _of_kernels[key]


def _function_class(function: Any, name: str, module_name: str) -> type:
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    self = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    given = list(inspect.signature(function).parameters.values())
    forward.__signature__ = inspect.Signature([self, *given])  # type: ignore[attr-defined]
    forward.__doc__ = function.__doc__
    return type(
        name,
        (nn.Module,),
        {
            "__module__": module_name,
            "forward": forward,
            "has_backward": getattr(function, "has_backward", True),
            "can_torch_compile": getattr(function, "can_torch_compile", False),
        },
    )


def load_layer(repository: "Repository") -> type:
    """The class of a repository's layer; what is missing is fetched. A native layer's class runs it, or raises."""
    source = {name: value for name, value in repository._source().items() if value is not None}
    kernel = open_kernel(source, None, getattr(repository, "_user_agent", None))
    if not kernel.is_hosted and repository.layer_name in kernel.layers:
        return native_layer_class(kernel, repository.layer_name)
    if not kernel.is_hosted:
        raise NotFoundError(
            f"Layer `{repository.layer_name}` not found in kernel repo {repository}: it has {', '.join(kernel.layers)}."
        )
    return hosted_layer_class(kernel, repository.layer_name, str(repository), repository._kind)


def native_layer_class(kernel: "_kernels.Kernel", name: str) -> type:
    """A native layer as a subclass of nn.Module with a real signature and both flags; one for each kernel and name."""
    key = (id(kernel), name)  # a kernel lives as long as the process
    with _lock:
        if key not in _of_kernels:
            _of_kernels[key] = _make_native(kernel, kernel.layer(name))
        return _of_kernels[key]


def _make_native(kernel: "_kernels.Kernel", layer: "_kernels.Layer") -> type:
    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    for name, kind, may_be_left_out, default in layer.inputs():
        annotation = {"tensor": torch.Tensor, "int": int, "float": float, "bool": bool}[kind]
        parameters.append(
            inspect.Parameter(
                name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=default if may_be_left_out else inspect.Parameter.empty,
                annotation=annotation | None if kind == "tensor" and may_be_left_out else annotation,
            )
        )

    def own(self: Any, *args: Any) -> Any:
        text = "the kernel does not take these arguments, and there is no other code"
        raise TypeError(f"layer {layer.name} of {kernel.name}: {text}")

    own.__name__, own.__qualname__ = "forward", f"{layer.name}.forward"
    own.__doc__ = f"Runs the kernel, or raises what it does not accept: {layer.name} has no other code."
    own.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    forward = make_forward(_kernels.HostKernel(kernel, layer.name, strict=True), own)
    if layer.can_torch_compile:  # exported programs are loaded by what the process has of them
        operators.operator(forward.__kernels_call__)  # type: ignore[attr-defined]
    forward.__annotations__ = {p.name: p.annotation for p in parameters[1:]}
    module_name = f"kernels_{kernel.name.replace('-', '_')}_{kernel.id or abs(hash(kernel.dir))}"
    if module_name not in sys.modules:
        sys.modules[module_name] = ModuleType(module_name, f"Native layers of {kernel.name}.")
    made = type(
        layer.name,
        (nn.Module,),
        {
            "__module__": module_name,
            "__qualname__": layer.name,
            "__doc__": f"The native layer {layer.name} of {kernel.name}.",
            "forward": forward,
            "has_backward": layer.has_backward,
            "can_torch_compile": layer.can_torch_compile,
        },
    )
    setattr(sys.modules[module_name], layer.name, made)
    return made
