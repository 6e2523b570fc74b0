"""Native kernels as modules: their functions as attributes, their layers as classes.

Neither tvm_ffi nor the kernel's own Python is imported.
"""

from __future__ import annotations

import sys
from types import ModuleType

from kernels.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kernels import _kernels

_modules: dict[Any, NativeModule] = {}


class _Lazy(ModuleType):
    def __init__(self, name: str, kernel: _kernels.Kernel, doc: str) -> None:
        super().__init__(name, doc)
        self.__file__ = f"{kernel.dir}/metadata.json"
        self._kernel = kernel


class NativeModule(_Lazy):
    """A kernel's functions, which write into tensors that they are given, by their names; `layers` has its layers."""

    layers: NativeLayers

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        try:
            function = self._kernel.function(name)
        except NotFoundError as error:
            raise AttributeError(
                f"module {self.__name__!r} has no attribute {name!r}: {error}", name=name, obj=self
            ) from None
        setattr(self, name, function)
        return function

    def __reduce__(self) -> Any:
        import importlib

        return importlib.import_module, (self.__name__,)


class NativeLayers(_Lazy):
    """A kernel's layers, as torch.nn.Module classes."""

    def __getattr__(self, name: str) -> Any:
        if name not in self._kernel.layers:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)
        from kernels._torch.layers import native_layer_class

        made = native_layer_class(self._kernel, name)
        setattr(self, name, made)
        return made

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._kernel.layers})


def native_module(kernel: _kernels.Kernel) -> NativeModule:
    """The module of a native kernel: one for each, in sys.modules as its id."""
    from kernels.importer import claim_name, naming

    module = _modules.get(kernel)
    if module is not None:
        return module
    with naming:
        name, owner = claim_name(kernel, kernel.name.replace("-", "_"))
        module = _modules.get(owner)
        if module is None:
            module = NativeModule(name, owner, f"The functions of {owner!r}.")
            module.layers = NativeLayers(f"{name}.layers", owner, f"The layers of {owner!r}.")
            module.__path__ = []
            sys.modules[name] = module
            sys.modules[module.layers.__name__] = module.layers
            _modules[owner] = module
        _modules[kernel] = module
    return module
