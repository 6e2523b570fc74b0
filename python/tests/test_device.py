"""kernels.Device and its properties."""

import copy
import pickle
import sys

import pytest

from kernels import CUDAProperties, Device, ROCMProperties, register_kernel_mapping
from kernels.layer.device import device_text


@pytest.mark.parametrize("cls", [CUDAProperties, ROCMProperties])
def test_properties(cls):
    one = cls(75, 89)
    assert one == cls(min_capability=75, max_capability=89) and hash(one) == hash(cls(75, 89))
    assert one != cls(75, 90) and one != (75, 89)
    assert (one.min_capability, one.max_capability) == (75, 89)
    assert repr(one) == f"{cls.__name__}(min_capability=75, max_capability=89)"
    assert cls(90, 90).max_capability == 90
    assert cls(0, sys.maxsize).max_capability == sys.maxsize
    with pytest.raises(TypeError):
        cls(75)


def test_properties_of_two_kinds_differ():
    assert CUDAProperties(75, 89) != ROCMProperties(75, 89)
    assert len({CUDAProperties(75, 89), ROCMProperties(75, 89)}) == 2


@pytest.mark.parametrize("cls", [CUDAProperties, ROCMProperties])
@pytest.mark.parametrize("value", ["75", 7.5, None, True])
def test_a_capability_is_an_int(cls, value):
    with pytest.raises(TypeError, match="min_capability is .*accepted is an int"):
        cls(value, 89)
    with pytest.raises(TypeError, match="max_capability is"):
        cls(75, value)


@pytest.mark.parametrize("cls", [CUDAProperties, ROCMProperties])
def test_an_empty_range(cls):
    with pytest.raises(ValueError, match=r"min_capability \(89\) must be <= max_capability \(75\)"):
        cls(89, 75)


def test_an_empty_range_is_also_the_hub_clients_error(run_python):
    run_python("""
import huggingface_hub.errors as theirs, kernels
try:
    kernels.CUDAProperties(89, 75)
except ValueError as error:
    assert isinstance(error, theirs.StrictDataclassClassValidationError)
    assert "must be <= max_capability" in str(error), error
else:
    raise SystemExit("nothing was raised")
""")


def test_device():
    assert Device("cuda") == Device(type="cuda", properties=None) == Device("cuda", None)
    assert Device("cuda") != "cuda" and Device("cuda") != Device("rocm")
    ranged = Device(type="cuda", properties=CUDAProperties(75, 89))
    assert ranged == Device("cuda", CUDAProperties(75, 89)) != Device("cuda")
    assert {ranged: 1}[Device("cuda", CUDAProperties(75, 89))] == 1
    assert repr(ranged) == "Device(type='cuda', properties=CUDAProperties(min_capability=75, max_capability=89))"
    assert Device("foo").type == "foo"  # looked at when it is registered


@pytest.mark.parametrize("value", [Device("cuda", CUDAProperties(75, 89)), ROCMProperties(1, 2)], ids=repr)
def test_a_value_is_frozen_and_copied(value):
    name = value.__match_args__[0]
    for change in (lambda: setattr(value, name, 1), lambda: delattr(value, name), lambda: setattr(value, "other", 1)):
        with pytest.raises(AttributeError):
            change()
    assert copy.copy(value) == copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value


CONTRADICTIONS = [
    ("rocm", CUDAProperties(1, 2), ValueError, "only supported for 'cuda' devices"),
    ("cpu", CUDAProperties(1, 2), ValueError, "only supported for 'cuda' devices"),
    ("cuda", ROCMProperties(1, 2), ValueError, "only supported for 'rocm' devices"),
    ("cuda", (75, 89), TypeError, "accepted are CUDAProperties, ROCMProperties and None"),
]


@pytest.mark.parametrize(("kind", "properties", "error", "text"), CONTRADICTIONS, ids=str)
def test_properties_of_another_device(kind, properties, error, text):
    with pytest.raises(error, match=text):
        Device(kind, properties)


@pytest.mark.parametrize("device", ["foo", "cuda:0", "", "CUDA", Device("foo")], ids=repr)
def test_unknown_types_are_refused_when_registered(device):
    with pytest.raises(ValueError, match=f"Unknown device type: {getattr(device, 'type', device)}|device: is empty"):
        register_kernel_mapping({"L": {device: _Repository()}})


class _Repository:
    layer_name = "L"

    def load(self):
        raise AssertionError("nothing is loaded here")


class _Typed:
    def __init__(self, type, index=None):
        self.type, self.index = type, index


TEXTS = [
    ("cuda", None, "cuda"),
    ("cuda:1", None, "cuda:1"),
    ("cuda", "6.2", "rocm"),
    ("cuda:1", "6.2", "rocm:1"),
    ("cpu", "6.2", "cpu"),
    (Device("cuda", CUDAProperties(75, 89)), None, "cuda"),
    (Device("cuda"), "6.2", "rocm"),
    (_Typed("cuda", 3), None, "cuda:3"),
    (_Typed("cuda", 3), "6.2", "rocm:3"),
    (_Typed("mps"), None, "mps"),
    (_Typed("cpu", 0), None, "cpu:0"),
]


@pytest.mark.parametrize(("device", "hip", "text"), TEXTS, ids=str)
def test_fault_09_rocm_counts_however_the_device_is_given(device, hip, text, monkeypatch):
    import torch

    monkeypatch.setattr(torch.version, "hip", hip)
    assert device_text(device) == text
    if isinstance(device, str):
        assert device_text(torch.device(device)) == text


@pytest.mark.parametrize("device", [1, None, object(), ("cuda", 0)], ids=str)
def test_what_is_no_device(device):
    with pytest.raises(TypeError, match="device is .*accepted are a str, a torch.device"):
        device_text(device)
