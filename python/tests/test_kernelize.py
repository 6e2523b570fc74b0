"""Layers of Python in place of a model's own: the rules of the user's document."""

import logging
import sys

import pytest
import torch
from torch import nn
from torch_models import COMPILE, INFERENCE, TRAINING, Block, Custom, Scale, factor, kernelize_with, on_cpu, times

from kernels import (
    CUDAProperties,
    Device,
    KernelizeFallback,
    Mode,
    kernelize,
    replace_kernel_forward_from_hub,
    report,
    use_kernel_mapping,
)
from kernels.errors import LayerError, NoKernelError

WHOLE = {"has_backward": True, "can_torch_compile": True}


def model(*layers):
    return nn.Sequential(*(layers or (Scale(),)))


def test_the_model_itself_is_returned_and_changed():
    m = model(Scale(), Block())
    assert kernelize_with(m, Custom(times(7)), device="cpu") is m
    assert factor(m[0]) == factor(m[1].scale) == 7


def test_an_external_layer_is_made_extensible():
    class External(nn.Module):
        def forward(self, x):
            return x

    replace_kernel_forward_from_hub(External, "External")
    m = kernelize_with(model(External()), Custom(times(7)), name="External", device="cpu")
    assert factor(m[0]) == 7


FACTORS = {INFERENCE: 3, INFERENCE | COMPILE: 5, TRAINING: 7, TRAINING | COMPILE: 11, Mode.FALLBACK: 13}
CHAINS = {
    INFERENCE: [INFERENCE, INFERENCE | COMPILE, TRAINING, TRAINING | COMPILE, Mode.FALLBACK],
    INFERENCE | COMPILE: [INFERENCE | COMPILE, TRAINING | COMPILE, Mode.FALLBACK],
    TRAINING: [TRAINING, TRAINING | COMPILE, Mode.FALLBACK],
    TRAINING | COMPILE: [TRAINING | COMPILE, Mode.FALLBACK],
}


@pytest.mark.parametrize("mode", CHAINS, ids=str)
def test_modes_are_tried_in_order(mode):
    """Each registered mode is taken away in turn: what serves is the next one of the chain."""
    table = {m: Custom(times(f, **WHOLE)) for m, f in FACTORS.items()}
    m = model()
    for wanted in CHAINS[mode]:
        kernelize_with(m, dict(table), mode=mode, device="cpu")
        assert factor(m[0]) == FACTORS[wanted], wanted
        assert report(m).records[0].mode == str(mode).removeprefix("Mode.")
        del table[wanted]
    if table:
        kernelize_with(m, dict(table), mode=mode, device="cpu")
        assert factor(m[0]) == 2
        with pytest.raises(NoKernelError, match="No repository for `Scale` for configuration mode="):
            kernelize_with(m, dict(table), mode=mode, device="cpu", use_fallback=False)


@pytest.mark.parametrize(
    ("flags", "mode", "served"),
    [
        ({}, INFERENCE, True),
        ({}, TRAINING, True),  # a backward is assumed
        ({}, INFERENCE | COMPILE, False),  # compile support is not
        ({"can_torch_compile": True}, INFERENCE | COMPILE, True),
        ({"has_backward": False}, INFERENCE, True),
        ({"has_backward": False}, TRAINING, False),
        ({"has_backward": False, "can_torch_compile": True}, TRAINING | COMPILE, False),
    ],
)
def test_a_layer_that_cannot_do_what_is_asked(flags, mode, served):
    m = kernelize_with(model(), Custom(times(7, **flags)), mode=mode, device="cpu")
    assert factor(m[0]) == (7 if served else 2)
    if not served:
        with pytest.raises(ValueError, match="does not support mode: "):
            kernelize_with(m, Custom(times(7, **flags)), mode=mode, device="cpu", use_fallback=False)
        assert factor(m[0]) == 2


def test_a_flag_that_the_registration_promises_is_an_error():
    wrong = Custom(times(7, has_backward=False))
    for use_fallback in (True, False, KernelizeFallback.ALL):
        with pytest.raises(ValueError, match=r"does not support backward.*Was registered for"):
            kernelize_with(model(), {TRAINING: wrong}, mode=TRAINING, device="cpu", use_fallback=use_fallback)


def test_the_mode_can_be_changed_and_changed_back():
    m = model()
    with on_cpu({INFERENCE: Custom(times(3)), TRAINING: Custom(times(7))}):
        for mode, wanted in [(INFERENCE, 3), (TRAINING, 7), (INFERENCE, 3), (TRAINING | COMPILE, 2), (INFERENCE, 3)]:
            kernelize(m, mode=mode, device="cpu")
            assert factor(m[0]) == wanted


def test_the_device_is_that_of_the_tensors():
    m = kernelize_with(Block(), Custom(times(7)))
    assert factor(m.scale) == 7


def test_a_model_without_tensors_wants_a_device():
    with pytest.raises(ValueError, match="Cannot determine model device"):
        kernelize_with(model(), Custom(times(7)))
    assert factor(kernelize_with(model(), Custom(times(7)), device=torch.device("cpu"))[0]) == 7


FALLBACKS = [
    (KernelizeFallback.NO_LAYER, "Other", {"cpu": Custom(times(7))}, "cpu", "No layer mapping for `Scale`"),
    (KernelizeFallback.NO_DEVICE, "Scale", {"xpu": Custom(times(7))}, "cpu", "with device type `cpu`"),
    (
        KernelizeFallback.NO_COMPATIBLE_PROPERTIES,
        "Scale",
        {Device("cuda", CUDAProperties(1, 2)): Custom(times(7))},
        "cuda",
        "with the right properties",
    ),
    (KernelizeFallback.NO_COMPATIBLE_MODE, "Scale", {"cpu": {TRAINING | COMPILE: Custom(times(7))}}, "cpu", "mode="),
]


@pytest.mark.parametrize(("case", "name", "devices", "device", "text"), FALLBACKS, ids=lambda v: str(v)[:40])
def test_cases_of_falling_back(case, name, devices, device, text):
    mode = TRAINING if case is not KernelizeFallback.NO_COMPATIBLE_MODE else INFERENCE | COMPILE
    if case is KernelizeFallback.NO_COMPATIBLE_MODE:
        devices = {"cpu": {INFERENCE: Custom(times(7))}}
    with use_kernel_mapping({name: devices}, inherit_mapping=False):
        for allowed in (True, case, KernelizeFallback.ALL):
            m = kernelize(model(), mode=mode, device=device, use_fallback=allowed)
            assert factor(m[0]) == 2
            record = report(m).records[0]
            assert record.outcome == "fallback"
        for refused in (False, KernelizeFallback.DEFAULT & ~case, KernelizeFallback.NONE):
            with pytest.raises(NoKernelError, match=text):
                kernelize(model(), mode=mode, device=device, use_fallback=refused)


class Broken(Exception):
    pass


def test_what_loading_raises_passes_through():
    error = Broken("no such thing")
    with pytest.raises(Broken) as raised:
        kernelize_with(model(), Custom(None, error=error), device="cpu")
    assert raised.value is error
    m = kernelize_with(model(), Custom(None, error=error), device="cpu", use_fallback=KernelizeFallback.ALL)
    assert factor(m[0]) == 2


def test_an_interruption_is_no_case_of_falling_back():
    with pytest.raises(KeyboardInterrupt):
        interrupted = Custom(None, error=KeyboardInterrupt())
        kernelize_with(model(), interrupted, device="cpu", use_fallback=KernelizeFallback.ALL)


def test_an_error_that_was_forgiven_is_not_raised_later():
    @replace_as("Second")
    class Second(nn.Module):
        def forward(self, x):
            return x

    with use_kernel_mapping({"Scale": {"cpu": Custom(None, error=Broken("first"))}}, inherit_mapping=False):
        with pytest.raises(NoKernelError, match="No layer mapping for `Second`"):
            m = model(Scale(), Second())
            kernelize(m, mode=INFERENCE, device="cpu", use_fallback=KernelizeFallback.CANNOT_LOAD)


def replace_as(name):
    def decorate(cls):
        replace_kernel_forward_from_hub(cls, name)
        return cls

    return decorate


# --- what contradicts the class ---


class NoLayer:
    def forward(self, x):
        return x


class WithConstructor(nn.Module):
    def __init__(self):
        super().__init__()

    def forward(self, x):
        return x


class WithMember(nn.Module):
    helper = 3

    def forward(self, x):
        return x


class WithMethod(nn.Module):
    def forward(self, x):
        return x

    def help(self):
        return 1


class TooMany(nn.Module):
    def forward(self, x, y):
        return x


class OtherKind(nn.Module):
    def forward(self, *, x):
        return x


CONTRADICTIONS = [
    (NoLayer, TypeError, "is not a Torch layer"),
    (7, TypeError, "is not a Torch layer"),
    (WithConstructor, TypeError, r"`custom`, layer `Layer` must not override nn.Module constructor"),
    (WithMember, TypeError, "must not contain additional members compared to `Scale`: helper"),
    (WithMethod, TypeError, "must not contain additional members compared to `Scale`: help"),
    (TooMany, TypeError, r"Forward.*`custom`, layer `Layer` does not match `Scale`: different number of arguments"),
    (OtherKind, TypeError, r"Forward.*`custom`, layer `Layer` does not match `Scale`: different kind of arguments"),
]


@pytest.mark.parametrize(("layer", "kind", "text"), CONTRADICTIONS, ids=lambda v: getattr(v, "__name__", None))
@pytest.mark.parametrize("use_fallback", [True, False, KernelizeFallback.ALL], ids=str)
def test_a_layer_that_contradicts_the_class(layer, kind, text, use_fallback):
    m = model(Scale(), Scale())
    with pytest.raises(kind, match=text) as raised:
        kernelize_with(m, Custom(layer), device="cpu", use_fallback=use_fallback)
    assert isinstance(raised.value, LayerError) and isinstance(raised.value, ValueError)
    assert factor(m[0]) == 2 and "forward" not in vars(m[0])


def test_annotations_are_no_members():
    class Annotated(nn.Module):
        weight: torch.Tensor

        def forward(self, x):
            return x * 7

    assert factor(kernelize_with(model(), Custom(Annotated), device="cpu")[0]) == 7


# --- repositories of the host's own ---


def test_a_module_with_layers_is_accepted(monkeypatch):
    """Repositories written for early releases load the kernel's module."""
    kernel, layers = type(sys)("kernel"), type(sys)("kernel.layers")
    kernel.layers, layers.Layer = layers, times(7)
    assert factor(kernelize_with(model(), Custom(kernel), device="cpu")[0]) == 7
    with pytest.raises(ValueError, match="Layer `Missing` not found in kernel repo custom"):
        kernelize_with(model(), Custom(kernel, "Missing"), device="cpu")
    with pytest.raises(ValueError, match="does not define any layers"):
        kernelize_with(model(), Custom(layers), device="cpu")


def test_two_names_of_one_layer_are_told_apart():
    layer, m = times(7), model()
    for name in ("First", "Second", "First"):
        kernelize_with(m, Custom(layer, name), device="cpu")
        assert report(m).records[0].layer_name == name


# --- what is said ---


def test_each_kernel_is_logged_once(caplog):
    with caplog.at_level(logging.INFO, "kernels"):
        with on_cpu(Custom(times(7))):
            kernelize(model(Scale(), Scale(), Block()), mode=INFERENCE)
    assert [r.getMessage() for r in caplog.records if r.name == "kernels"] == [
        "Using layer `Layer` from repo `custom`, layer `Layer` for 3 modules"
    ]


def test_an_equal_decision_writes_and_says_nothing(caplog):
    m = model(Scale(), Block())
    with on_cpu(Custom(times(7))):
        kernelize(m, mode=INFERENCE)
        before = [dict(vars(module)) for module in m.modules()]
        caplog.clear()
        with caplog.at_level(logging.DEBUG, "kernels"):
            for _ in range(3):
                kernelize(m, mode=INFERENCE)
    assert not [r for r in caplog.records if r.name == "kernels" and r.levelno >= logging.INFO]
    after = [vars(module) for module in m.modules()]
    assert all(one[key] is other[key] for one, other in zip(before, after) for key in other if key in one)
    assert [one.keys() for one in before] == [other.keys() for other in after]


def test_falling_back_is_logged_when_it_changes_something(caplog):
    m = kernelize_with(model(), Custom(times(7)), device="cpu")
    with caplog.at_level(logging.INFO, "kernels"):
        kernelize_with(m, Custom(times(7, has_backward=False)), mode=TRAINING, device="cpu")
    assert any("using fallback" in r.getMessage() for r in caplog.records)
    assert factor(m[0]) == 2


def test_a_condition_is_asked_for_each_instance():
    class Chosen(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.size = size

        def forward(self, x):
            return x * 2

    replace_kernel_forward_from_hub(Chosen, "Chosen", condition=lambda module: module.size > 1)
    m = model(Chosen(1), Chosen(2))
    with on_cpu(Custom(times(7)), "Chosen"):
        kernelize(m, mode=INFERENCE, device="cpu")
        assert (factor(m[0]), factor(m[1])) == (2, 7)
        shown = report(m).records
        assert "condition" in shown[0].reason and shown[1].outcome == "kernel"
        m[1].size = 0  # declined since: its kernel is given back
        kernelize(m, mode=INFERENCE, device="cpu")
    assert (factor(m[0]), factor(m[1])) == (2, 2)
