"""Which device a kernel is loaded for when nobody says."""

from __future__ import annotations

import sys

# Of the Hub's names for backends, those that PyTorch has another word for.
_DEVICES = {"metal": "mps", "cann": "npu"}
BACKENDS = ("cpu", "cuda", "rocm", "metal", "xpu", "npu", "cann", "neuron", "tpu")


def default_device() -> tuple[str, int]:
    """The first device that PyTorch would use now, and its index: what `torch` says at the time of the call.

    >>> default_device()
    ('cpu', 0)
    """
    try:
        import torch
    except ImportError:
        return "cpu", 0
    # What the build has no code for is not asked: the questions cost more than loading what is loaded.
    if (torch.version.cuda or torch.version.hip) and torch.cuda.is_available():
        index = torch.cuda.current_device() if torch.cuda.is_initialized() else 0
        return ("rocm" if torch.version.hip else "cuda"), index
    if sys.platform == "darwin" and torch.backends.mps.is_available():
        return "mps", 0
    if getattr(torch.version, "xpu", None) and torch.xpu.is_available():
        return "xpu", 0
    for name in ("npu", "neuron"):  # that came with an extension
        module = getattr(torch, name, None)
        if module is not None and module.is_available():
            return name, 0
    return "cpu", 0


def device_of(backend: str | None) -> dict[str, str | int]:
    """A backend by its name on the Hub ("cuda", "metal") as the core's options have it; None: the default device.

    Raises ValueError for a backend that this system has not.
    """
    device, index = default_device()
    if backend is None:
        return {"device": device, "device_index": index}
    wanted = _DEVICES.get(backend, backend)
    if wanted not in ("cpu", device):
        known = ", ".join(sorted({"cpu", device}))
        raise ValueError(f"Invalid backend '{backend}', system supported backends: {known}")
    return {"device": wanted, "device_index": index if wanted == device else 0}


def _backend() -> str:
    return default_device()[0]


def _get_privateuse_backend_name() -> str | None:
    """What PyTorch calls a backend that came with an extension ("npu"); None without one."""
    import torch

    if hasattr(torch._C, "_get_privateuse1_backend_name"):
        return torch._C._get_privateuse1_backend_name()
    return None
