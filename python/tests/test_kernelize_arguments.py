"""kernelize: what it may be asked, in which order that is checked, and what comes of it."""

import pytest
import torch
from mapped import Own, forget
from torch import nn

import kernels
from kernels import (
    CUDAProperties,
    Device,
    KernelizeFallback,
    Mode,
    kernelize,
    register_kernel_mapping,
    use_kernel_forward_from_hub,
    use_kernel_mapping,
)

N, L, D, P, M, LOAD = 0, 1, 2, 4, 8, 16


@use_kernel_forward_from_hub("L")
class Layer(nn.Module):
    def forward(self, x):
        return x + 1


class Kernel(nn.Module):
    def forward(self, x):
        return x + 2


class NoBackward(nn.Module):
    has_backward = False

    def forward(self, x):
        return x + 3


class Model(nn.Module):
    def __init__(self, device="cpu"):
        super().__init__()
        self.linear = nn.Linear(1, 1, device=device)
        self.layer = Layer()

    def forward(self, x):
        return self.layer(x)


class Broken(Own):
    def load(self):
        raise FileNotFoundError("nowhere")


@pytest.fixture(autouse=True)
def _clean():
    forget()
    yield
    forget()


def mapping(repository=None, device="cpu", mode=Mode.FALLBACK):
    return {"L": {device: {mode: repository or Own(layer=Kernel)}}}


REFUSED = [
    (dict(mode=Mode.FALLBACK), ValueError, "can only be used to register kernel mappings"),
    (dict(mode=Mode._NONE), ValueError, "mode must contain"),
    (dict(mode=Mode.TORCH_COMPILE), ValueError, "mode must contain"),
    (dict(mode=Mode(6)), ValueError, "Unsupported mode:"),
    (dict(mode=4), TypeError, "mode is 4: accepted is a Mode"),
    (dict(mode="INFERENCE"), TypeError, "mode is 'INFERENCE'"),
    (dict(mode=None), TypeError, "mode is None"),
    (dict(use_fallback=None), TypeError, "use_fallback is None: accepted are"),
    (dict(use_fallback=1), TypeError, "use_fallback is 1"),
    (dict(device="gpu"), ValueError, "Unsupported device type 'gpu'. Supported device types are: cpu, cuda, mps"),
    (dict(device=""), ValueError, "Unsupported device type ''."),
    (dict(device="cuda:x"), ValueError, "after the colon an index is expected"),
    (dict(device=3), TypeError, "device is 3: accepted are"),
    (dict(device=torch.device("meta")), ValueError, "Unsupported device type 'meta'"),
    # The order: what comes first is told first.
    (dict(mode=Mode.FALLBACK, device="gpu"), ValueError, "can only be used to register"),
    (dict(mode="x", use_fallback=1), TypeError, "mode is 'x'"),
]


@pytest.mark.parametrize(("options", "error", "text"), REFUSED, ids=str)
def test_refused(options, error, text):
    model = Model()
    before = dict(model.layer.__dict__)
    with use_kernel_mapping(mapping()):
        with pytest.raises(error, match=text):
            kernelize(model, **{"mode": Mode.INFERENCE} | options)
        with pytest.raises(error, match=text):
            kernels.plan(model, **{"mode": Mode.INFERENCE} | options)
    assert model.layer.__dict__ == before


def test_arguments_are_by_keyword():
    with pytest.raises(TypeError):
        kernelize(Model(), Mode.INFERENCE)
    with pytest.raises(TypeError, match="mode"):
        kernelize(Model())


def test_a_model_without_tensors_has_no_device():
    model = Layer()
    with use_kernel_mapping(mapping()), pytest.raises(ValueError, match="Cannot determine model device"):
        kernelize(model, mode=Mode.INFERENCE)


@pytest.mark.parametrize("model", [None, 3, nn.Linear, lambda x: x], ids=str)
def test_what_is_no_model(model):
    with pytest.raises((TypeError, ValueError)):
        kernelize(model, mode=Mode.INFERENCE, device="cpu")


DEVICES = [
    ("cpu", 2),
    ("cpu:0", 2),
    (torch.device("cpu"), 2),
    (torch.device("cpu", 0), 2),
    (Device("cpu"), 2),
    (nn.Parameter(torch.zeros(1)).device, 2),
    (None, 2),
    ("cuda", 1),
    ("cuda:1", 1),
    (torch.device("cuda:1"), 1),
    (Device("cuda", CUDAProperties(75, 89)), 1),
    ("mps", 1),
    ("metal", 1),
    ("tpu", 1),
]


@pytest.mark.parametrize(("device", "added"), DEVICES, ids=str)
def test_devices(device, added):
    with use_kernel_mapping(mapping()):
        model = Model()
        assert kernelize(model, mode=Mode.INFERENCE, device=device) is model
    assert model(0) == added
    assert type(model) is Model


def test_cuda_is_rocm_where_pytorch_runs_on_rocm(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.2")
    with use_kernel_mapping(mapping(device="rocm")):
        for device in ("cuda", torch.device("cuda", 0), Device("cuda")):
            assert kernelize(Model(), mode=Mode.INFERENCE, device=device)(0) == 2
    text = "No layer mapping for `L` with device type"
    with use_kernel_mapping(mapping(device="cuda")), pytest.raises(ValueError, match=text):
        kernelize(Model(), mode=Mode.INFERENCE, device="cuda", use_fallback=False)


def test_the_values_are_the_cores():
    members = ["NO_LAYER", "NO_DEVICE", "NO_COMPATIBLE_PROPERTIES", "NO_COMPATIBLE_MODE", "CANNOT_LOAD"]
    assert [KernelizeFallback[name].value for name in members] == [L, D, P, M, LOAD]
    assert KernelizeFallback.NONE.value == N
    assert KernelizeFallback.DEFAULT == ~KernelizeFallback.CANNOT_LOAD
    assert KernelizeFallback.ALL == KernelizeFallback.DEFAULT | KernelizeFallback.CANNOT_LOAD


# What is registered, what is asked for, the case that lets it pass, and the words of the error without it.
CASES = {
    "NO_LAYER": ({}, "cpu", Mode.INFERENCE, "No layer mapping for `L`"),
    "NO_DEVICE": (mapping(device="cuda"), "cpu", Mode.INFERENCE, "No layer mapping for `L` with device type"),
    "NO_COMPATIBLE_PROPERTIES": (
        mapping(device=Device("cuda", CUDAProperties(999, 999))),
        "cuda",
        Mode.INFERENCE,
        "with the right properties",
    ),
    "NO_COMPATIBLE_MODE": (
        mapping(mode=Mode.INFERENCE),
        "cpu",
        Mode.TRAINING,
        "No repository for `L` for configuration mode=",
    ),
    "CANNOT_LOAD": (mapping(Broken()), "cpu", Mode.INFERENCE, "nowhere"),
}


@pytest.mark.parametrize("name", CASES)
def test_fallback(name):
    registered, device, mode, text = CASES[name]
    case = KernelizeFallback[name]
    with use_kernel_mapping(registered, inherit_mapping=False):
        for allowed in (case, KernelizeFallback.ALL, *([True] if case in KernelizeFallback.DEFAULT else [])):
            model = kernelize(Model(), mode=mode, device=device, use_fallback=allowed)
            assert model(0) == 1
        for allowed in (False, KernelizeFallback.NONE, ~case, *([] if case in KernelizeFallback.DEFAULT else [True])):
            model = Model()
            with pytest.raises((ValueError, FileNotFoundError), match=text):
                kernelize(model, mode=mode, device=device, use_fallback=allowed)
            assert model(0) == 1 and "forward" not in model.layer.__dict__


def test_a_layer_without_backward():
    with use_kernel_mapping(mapping(Own(layer=NoBackward))):
        assert kernelize(Model(), mode=Mode.INFERENCE)(0) == 3
        assert kernelize(Model(), mode=Mode.TRAINING)(0) == 1
        with pytest.raises(ValueError, match="does not support mode"):
            kernelize(Model(), mode=Mode.TRAINING, use_fallback=False)


def test_the_mapping_of_the_scope_counts():
    register_kernel_mapping(mapping(Own(layer=Kernel)))
    model = Model()
    assert kernelize(model, mode=Mode.INFERENCE)(0) == 2
    with use_kernel_mapping(mapping(Own(layer=NoBackward))):
        assert kernelize(model, mode=Mode.INFERENCE)(0) == 3
    with use_kernel_mapping({}, inherit_mapping=False):
        assert kernelize(model, mode=Mode.INFERENCE)(0) == 1
    assert kernelize(model, mode=Mode.INFERENCE)(0) == 2
    assert kernels.unkernelize(model) is model and model(0) == 1


def test_a_repository_is_loaded_once():
    loads = []

    class Counting(Own):
        def load(self):
            loads.append(1)
            return Kernel

    with use_kernel_mapping(mapping(Counting())):
        for _ in range(3):
            with use_kernel_mapping({}):
                kernelize(Model(), mode=Mode.INFERENCE)
    assert len(loads) == 1


def test_repositories_of_both_eras():
    from types import SimpleNamespace as Space

    class Module(Own):
        def load(self):
            module = type(kernels)("a_kernel")
            module.layers = Space(L=Kernel)
            return module

    with use_kernel_mapping(mapping(Module())):
        assert kernelize(Model(), mode=Mode.INFERENCE)(0) == 2


# --- conditions, functions, repositories with a load of their own ---


class Sized(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        return x + 1


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.small, self.large = Sized(1), Sized(9)


def test_a_condition_is_asked_for_each_instance():
    marked = type("Marked", (Sized,), {})
    use_kernel_forward_from_hub("L", condition=lambda module: module.size > 5)(marked)
    model = Two()
    model.small.__class__ = model.large.__class__ = marked
    with use_kernel_mapping(mapping()):
        kernelize(model, mode=Mode.INFERENCE, device="cpu")
        assert (model.small(0), model.large(0)) == (1, 2)
        small, large = kernels.report(model)
        assert (small.outcome, large.outcome) == ("fallback", "kernel")
        assert "condition" in small.reason
        model.small.size, model.large.size = 9, 1
        kernelize(model, mode=Mode.INFERENCE, device="cpu")
        assert (model.small(0), model.large(0)) == (2, 1)


@use_kernel_forward_from_hub("f")
def function(x, *, y=1):
    """Adds."""
    return x + y


class FunctionKernel(nn.Module):
    def forward(self, x, *, y=1):
        return x + y + 10


@kernels.use_kernelized_func(function)
class Calls(nn.Module):
    def forward(self, x):
        return function(x, y=2)


def test_functions_that_a_class_calls():
    model = Calls()
    with use_kernel_mapping({"f": {"cpu": Own("f", layer=FunctionKernel)}}):
        kernelize(model, mode=Mode.INFERENCE, device="cpu")
    try:
        assert model(0) == 12 and function(0) == 11
        assert [record.layer for record in kernels.report(model).replaced] == ["f"]
        assert (function.__name__, function.__doc__) == ("function", "Adds.")
    finally:
        kernels.unkernelize(model)
    assert model(0) == 2 and function(0) == 1 and "forward" not in function.__dict__


def test_functions_that_are_submodules():
    model = nn.Sequential(function, Layer())
    with use_kernel_mapping({"f": {"cpu": Own("f", layer=FunctionKernel)}} | mapping()):
        kernelize(model, mode=Mode.INFERENCE, device="cpu")
    try:
        assert model(0) == 13
    finally:
        kernels.unkernelize(model)
    assert model(0) == 2


def test_repositories_that_load_in_their_own_way():
    class Special(kernels.LayerRepository):
        def load(self):
            return Kernel

    with use_kernel_mapping(mapping(Special("a/b", layer_name="L", version=1))):
        model = kernelize(Model(), mode=Mode.INFERENCE)
    assert model(0) == 2
    (record,) = kernels.report(model)
    assert "a/b" in record.repository


WRONG_LAYERS = [
    (int, "is not a Torch layer"),
    (type("Bad", (nn.Module,), {"__init__": lambda self: None}), "must not override nn.Module constructor"),
    (type("Bad", (Kernel,), {"helper": 1}), "must not contain additional members compared to `Layer`"),
    (type("Bad", (nn.Module,), {"forward": lambda self: 1}), "does not match `Layer`: different number of arguments"),
    (type("Bad", (nn.Module,), {"forward": lambda self, *x: 1}), "does not match `Layer`: different kind of arguments"),
]


@pytest.mark.parametrize(("layer", "text"), WRONG_LAYERS, ids=[text for _, text in WRONG_LAYERS])
def test_layers_that_contradict_the_class(layer, text):
    from kernels.layer import _validate_layer

    with pytest.raises(TypeError, match=f"my own.*{text}"):
        _validate_layer(check_cls=Layer, cls=layer, repo=Own())
    model = Model()
    with use_kernel_mapping(mapping(Own(layer=layer))), pytest.raises(TypeError, match=f"my own.*{text}"):
        kernelize(model, mode=Mode.INFERENCE, use_fallback=KernelizeFallback.ALL)
    assert model(0) == 1 and "forward" not in model.layer.__dict__
    assert _validate_layer(check_cls=Layer, cls=Kernel, repo=Own()) is None
