"""Devices that a kernel is registered for."""

from __future__ import annotations

import sys

from ._value import Value


def _contradiction(text: str) -> ValueError:
    """A ValueError; in a process that knows the hub client's exception for such a case, that one too."""
    hub = sys.modules.get("huggingface_hub.errors")
    theirs = getattr(hub, "StrictDataclassClassValidationError", None)
    if theirs is None:
        return ValueError(text)
    both = type("DeviceError", (theirs, ValueError), {"__module__": __name__, "__doc__": "An empty range."})
    return both("validate_capability_range", ValueError(text))


class _Properties(Value):
    __slots__ = ("min_capability", "max_capability")
    __match_args__ = __slots__
    _type: str  # of the devices that have them

    def __init__(self, min_capability: int, max_capability: int) -> None:
        for name, value in (("min_capability", min_capability), ("max_capability", max_capability)):
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(
                    f"{type(self).__name__}: {name} is {value!r}: accepted is an int, major*10+minor, as in 75 for 7.5"
                )
        if min_capability > max_capability:
            raise _contradiction(
                f"{type(self).__name__}: min_capability ({min_capability}) must be <= max_capability ({max_capability})"
            )
        self._fill(min_capability, max_capability)


class CUDAProperties(_Properties):
    """An inclusive range of CUDA compute capabilities, as major*10+minor: 7.5 is 75, 12.1 is 121.

    >>> Device("cuda", CUDAProperties(min_capability=75, max_capability=89))
    Device(type='cuda', properties=CUDAProperties(min_capability=75, max_capability=89))

    Raises ValueError for a range without members, TypeError for what is no int.
    """

    __slots__ = ()
    _type = "cuda"


class ROCMProperties(_Properties):
    """An inclusive range of ROCm capabilities, as major*10+minor; otherwise as `CUDAProperties`."""

    __slots__ = ()
    _type = "rocm"


class Device(Value):
    """A device type, with the capabilities that are meant where not all are.

    >>> register_kernel_mapping({"SiluAndMul": {Device("cuda", CUDAProperties(90, 129)): repository}})

    The type is looked at when the device is registered. Raises ValueError for properties of another type's devices.
    """

    __slots__ = ("type", "properties")
    __match_args__ = __slots__

    def __init__(self, type: str, properties: CUDAProperties | ROCMProperties | None = None) -> None:
        if properties is not None:
            if not isinstance(properties, _Properties):
                raise TypeError(
                    f"Device: properties is {properties!r}: accepted are CUDAProperties, ROCMProperties and None"
                )
            if type != properties._type:
                kind = properties.__class__.__name__
                raise ValueError(f"{kind} is only supported for '{properties._type}' devices: found {type!r}")
        self._fill(type, properties)


def device_text(device: object) -> str:
    """A device as `kernelize` takes it, in the core's words: "cuda", "cuda:1".

    PyTorch calls ROCm's devices "cuda"; a mapping calls them "rocm".
    """
    if isinstance(device, str):
        kind, colon, index = device.partition(":")
    else:
        kind, number = getattr(device, "type", None), getattr(device, "index", None)
        colon, index = (":", str(number)) if isinstance(number, int) else ("", "")
    if not isinstance(kind, str):
        raise TypeError(f"device is {device!r}: accepted are a str, a torch.device, a Device, or anything with a type")
    if kind == "cuda" and runs_rocm():
        kind = "rocm"
    return kind + colon + index


def runs_rocm() -> bool:
    """This process's PyTorch is a ROCm build. Asked anew at each call: tests of clients change the answer."""
    version = getattr(sys.modules.get("torch"), "version", None)
    return getattr(version, "hip", None) is not None
