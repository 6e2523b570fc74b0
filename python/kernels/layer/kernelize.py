"""Replacing the forwards of a model's extensible layers."""

from __future__ import annotations

import sys
from enum import Flag

from .. import _kernels
from .device import device_text
from .mode import Mode
from .scope import current_mapping, register_kernel_mapping, use_kernel_mapping

__all__ = ["KernelizeFallback", "forget", "kernelize", "register_kernel_mapping", "use_kernel_mapping"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from torch.nn import Module

    M = TypeVar("M", bound=Module)

_NO_CASE = 256  # KN_FALLBACK_NONE of kernels/plan.h: to the core, 0 says nothing


class KernelizeFallback(Flag):
    """Cases in which `kernelize` leaves a layer its own forward instead of raising. Values: kernels/plan.h.

    NO_LAYER: the mapping has no such name. NO_DEVICE: not for this type of device. NO_COMPATIBLE_PROPERTIES: not for
    its capability. NO_COMPATIBLE_MODE: not for the mode, or the kernel has no backward, or cannot be compiled.
    CANNOT_LOAD: the kernel cannot be had, or not run here. DEFAULT is all but the last.

    >>> model = kernelize(model, mode=Mode.INFERENCE, use_fallback=KernelizeFallback.ALL & ~KernelizeFallback.NO_LAYER)
    """

    NONE = 0
    NO_LAYER = 1
    NO_DEVICE = 2
    NO_COMPATIBLE_PROPERTIES = 4
    NO_COMPATIBLE_MODE = 8
    CANNOT_LOAD = 16
    DEFAULT = 15
    ALL = 31


def forget() -> None:
    """The next `kernelize` and `get_kernel` find out anew what branches, versions and repositories of one's own mean.

    A process asks a hub once for each repository, and keeps the answer, also that it could not be reached. Loaded
    kernels stay loaded, kernelized models as they are.

    >>> kernels.forget()
    >>> model = kernels.kernelize(model, mode=Mode.INFERENCE)  # with what the branch holds now
    """
    _kernels.forget()
    layers = sys.modules.get("kernels._torch.layers")
    if layers is not None:
        layers.forget()


def host() -> Any:
    """How the core sees PyTorch's modules."""
    from kernels import _torch

    return _torch.host


def request(
    model: Any, mode: Mode, device: object, use_fallback: bool | KernelizeFallback, dry_run: bool
) -> _kernels.Plan:
    """What `kernelize` and `plan` share: arguments in the core's words, checked in the order that clients know."""
    if not isinstance(mode, Mode):
        raise TypeError(f"mode is {mode!r}: accepted is a Mode, as in Mode.INFERENCE")
    _kernels.mode_check(mode.value)
    if use_fallback is True:
        use_fallback = KernelizeFallback.DEFAULT
    elif use_fallback is False:
        use_fallback = KernelizeFallback.NONE
    elif not isinstance(use_fallback, KernelizeFallback):
        raise TypeError(f"use_fallback is {use_fallback!r}: accepted are True, False and a KernelizeFallback")
    return _kernels.kernelize(
        model,
        host(),
        mode=mode.value,
        fallback=use_fallback.value or _NO_CASE,
        device=None if device is None else device_text(device),
        mapping=current_mapping(),
        dry_run=dry_run,
    )


def kernelize(
    model: M, *, mode: Mode, device: object = None, use_fallback: bool | KernelizeFallback = True
) -> M:
    """Gives the extensible layers of a model the kernels that are registered for them, in place; returns the model.

    `mode` says what the model is prepared for: Mode.INFERENCE or Mode.TRAINING, either with Mode.TORCH_COMPILE.
    `device` is a str ("cuda", "cuda:1"), a torch.device, or anything with a `type`; without it, each layer's own
    device counts. `use_fallback` says which cases leave a layer its own forward: True is KernelizeFallback.DEFAULT,
    False is none of them, KernelizeFallback.ALL is also a kernel that cannot be loaded. Calling it again decides
    anew; `kernels.unkernelize` undoes it, `kernels.report` shows what was done.

    >>> model = kernelize(model, mode=Mode.INFERENCE | Mode.TORCH_COMPILE)

    Raises ValueError and TypeError for what cannot be asked for, and for a kernel layer that contradicts the class
    whose forward it is to replace; outside `use_fallback`, also what loading raises. The model is then as it was.
    """
    request(model, mode, device, use_fallback, False)
    return model
