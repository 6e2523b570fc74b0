"""kernels.report: what serves each layer of a model now."""

import copy
import gc
import html
import weakref

import pytest
import torch
from mapped import Own
from mapped_model import Kernel, Layer, Model, mapping
from native_layers import SiluAndMul
from torch import nn

import kernels
from kernels import LocalLayerRepository, Mode, kernelize, use_kernel_forward_from_hub, use_kernel_mapping


def test_report():
    with use_kernel_mapping(mapping(text="<b>own & mine</b>")):
        model = kernelize(Model(), mode=Mode.INFERENCE)
    report = kernels.report(model)
    (record,) = report
    assert len(report) == 1 and report.replaced == [record] and report.fallbacks == []
    assert (record.path, record.layer, record.outcome) == ("layer", "L", "kernel")
    assert "L" in repr(report) and repr(report) == str(report)
    table = report._repr_html_()
    assert "&lt;b&gt;own &amp; mine&lt;/b&gt;" in table and "<b>" not in table
    assert isinstance(report.to_dict(), dict)
    assert report.raise_if_fallback() is None
    assert kernels.report(model.layer).replaced[0].path == ""


def test_report_of_fallbacks():
    report = kernels.report(kernelize(Model(), mode=Mode.INFERENCE))
    assert not report.replaced and [record.path for record in report.fallbacks] == ["layer"]
    with pytest.raises(RuntimeError, match="1 of 1 layers ran without a kernel:\nlayer: L: "):
        report.raise_if_fallback()


def test_report_of_calls_that_fell_back(build):
    @use_kernel_forward_from_hub("SiLU")
    class SiLU(nn.Module):
        def forward(self, input):
            return nn.functional.silu(input)

    silu = kernels.LocalLayerRepository(build / "packages" / "activation", layer_name="SiLU")
    with use_kernel_mapping({"SiLU": {"cpu": silu}}):
        model = kernelize(SiLU(), mode=Mode.INFERENCE, device="cpu")
    model(torch.ones(2))
    kernels.report(model).raise_if_fallback()
    model(torch.ones(2, dtype=torch.float64))
    model(torch.ones(2, dtype=torch.float64))
    report = kernels.report(model)
    assert report.replaced[0].fallbacks == {"dtype": 2} and not report.fallbacks
    assert "dtype" in repr(report) and "2 calls: dtype" in report._repr_html_()
    with pytest.raises(RuntimeError, match="1 of 1 layers ran without a kernel:\n.*root.*: SiLU: 2 calls: dtype"):
        report.raise_if_fallback()


def said(model):
    return [(r.rule, r.reason, r.admits) for r in kernels.report(model)]


def test_why_a_layer_runs_its_own_forward():
    @use_kernel_forward_from_hub("Why")
    class Why(nn.Module):
        def forward(self, x):
            return x + 1

    model = nn.Sequential(nn.Linear(1, 1), Why())
    never = ("", "was not kernelized", "")
    assert said(model) == [never]
    with use_kernel_mapping({}, inherit_mapping=False):
        kernelize(model, mode=Mode.INFERENCE)
    (no_layer,) = said(model)
    rule, reason, admits = no_layer
    assert rule == "NO_LAYER" and "`Why`" in reason and "Why" in admits
    # On submodules and copies too, as text and as a table.
    assert said(model[1]) == said(copy.deepcopy(model)) == said(nn.Sequential(Why())) == [no_layer]
    report = kernels.report(model)
    assert f"on cpu: its own forward: NO_LAYER: {reason} (would be admitted by {admits})" in repr(report)
    assert all(html.escape(text) in report._repr_html_() for text in no_layer)
    assert report.to_dict()["modules"][0]["rule"] == "NO_LAYER"
    with pytest.raises(RuntimeError, match="Why: No layer mapping"):
        report.raise_if_fallback()

    # A later one replaces what was said; a dry run says nothing; a kernel clears it.
    with use_kernel_mapping({"Why": {"cuda": Own(layer=Kernel)}}, inherit_mapping=False):
        kernels.plan(model, mode=Mode.INFERENCE)
        assert said(model) == [no_layer]
        kernelize(model, mode=Mode.INFERENCE)
    assert said(model)[0][0] == "NO_DEVICE" == said(model[1])[0][0]
    with use_kernel_mapping({"Why": {"cpu": Own(layer=Kernel)}}, inherit_mapping=False):
        kernelize(model, mode=Mode.INFERENCE)
    kernels.unkernelize(model)
    assert said(model) == [never]


def test_why_is_of_the_class_that_was_met():
    """A subclass has its own reasons, and a class that is gone leaves none behind."""

    @use_kernel_forward_from_hub("Base")
    class Base(nn.Module):
        def forward(self, x):
            return x

    class Sub(Base):
        pass

    with use_kernel_mapping({}, inherit_mapping=False):
        kernelize(Base(), mode=Mode.INFERENCE, device="cpu")
    assert said(Base())[0][0] == "NO_LAYER" and said(Sub())[0][1] == "was not kernelized"
    gone = weakref.ref(Sub)
    with use_kernel_mapping({}, inherit_mapping=False):
        kernelize(Sub(), mode=Mode.INFERENCE, device="cpu")
    del Sub
    gc.collect()
    assert gone() is None


def test_the_device_of_a_kernel():
    """Of the kernel, where the module has no tensors."""
    with use_kernel_mapping(mapping()):
        model = kernelize(Layer(), mode=Mode.INFERENCE, device="cpu")
    assert kernels.report(model).records[0].device == "cpu" and "L on cpu" in repr(kernels.report(model))


class Subclass(torch.Tensor):
    pass


def twice(module, x):
    (first,) = torch.autograd.grad(module(x.requires_grad_()).pow(2).sum(), x, create_graph=True)
    first.sum().backward()


@pytest.mark.parametrize(
    "call, reason",
    [
        (lambda module, x: module(x.as_subclass(Subclass)), "tensor subclass"),
        (lambda module, x: torch.vmap(module)(x), "function transform"),
        (lambda module, x: torch.func.jvp(module, (x,), (x,)), "function transform"),
        (lambda module, x: module(torch._neg_view(x)), "negated view"),
        (lambda module, x: torch.jit.trace(module, x, check_trace=False), "jit tracing"),
        (lambda module, x: module(x.to("meta")), "a tensor without a DLPack form"),
        (twice, "gradients"),
    ],
)
def test_calls_that_pytorch_hides_from_a_kernel_are_reported(build, call, reason):
    @use_kernel_forward_from_hub("Hidden")
    class Act(SiluAndMul):
        pass

    module = Act()
    native = LocalLayerRepository(build / "packages" / "activation", layer_name="SiluAndMul")
    with use_kernel_mapping({"Hidden": {"cpu": native}}):
        kernelize(module, mode=Mode.TRAINING, device="cpu")
    call(module, torch.rand(2, 8))
    report = kernels.report(module)
    assert report.replaced[0].fallbacks == {reason: 1} and report.to_dict()["modules"][0]["fallbacks"] == {reason: 1}
    with pytest.raises(RuntimeError, match=f"1 calls: {reason}"):
        report.raise_if_fallback()


def test_a_report_and_an_undo_need_no_device():
    with use_kernel_mapping(mapping()):
        model = kernelize(Model(), mode=Mode.INFERENCE).to("meta")
    assert [record.outcome for record in kernels.report(model)] == ["kernel"]
    kernels.unkernelize(model)
    assert not kernels.report(model).replaced


@pytest.mark.parametrize("name", ["report", "unkernelize"])
def test_what_is_no_model_is_told_by_the_function_that_was_called(name):
    with pytest.raises(TypeError, match=f"{name}: a torch.nn.Module is required, not 3"):
        getattr(kernels, name)(3)
