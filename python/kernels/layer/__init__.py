"""Layers that kernels of the Hub can replace: marking them, mapping them, kernelizing models."""

from __future__ import annotations

from .device import CUDAProperties, Device, ROCMProperties
from .func import use_kernel_func_from_hub, use_kernelized_func
from .globals import _KERNEL_MAPPING
from .kernelize import KernelizeFallback, forget, kernelize
from .layer import _validate_layer, replace_kernel_forward_from_hub, use_kernel_forward_from_hub
from .mode import Mode
from .repos import (
    FuncRepository,
    LayerRepository,
    LocalFuncRepository,
    LocalLayerRepository,
    LockedFuncRepository,
    LockedLayerRepository,
)
from .scope import register_kernel_mapping, use_kernel_mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .protocols import LayerRepositoryProtocol

__all__ = [
    "CUDAProperties",
    "Device",
    "FuncRepository",
    "KernelizeFallback",
    "LayerRepository",
    "LayerRepositoryProtocol",
    "LocalFuncRepository",
    "LocalLayerRepository",
    "LockedFuncRepository",
    "LockedLayerRepository",
    "Mode",
    "ROCMProperties",
    "_KERNEL_MAPPING",
    "_validate_layer",
    "forget",
    "kernelize",
    "register_kernel_mapping",
    "replace_kernel_forward_from_hub",
    "use_kernel_forward_from_hub",
    "use_kernel_func_from_hub",
    "use_kernel_mapping",
    "use_kernelized_func",
]


def __getattr__(name: str) -> object:
    if name == "LayerRepositoryProtocol":  # typing is slow to import, and only type checkers want it
        from .protocols import LayerRepositoryProtocol

        return LayerRepositoryProtocol
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
