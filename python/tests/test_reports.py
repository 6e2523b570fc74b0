"""kernels.report: what serves each layer of a model now."""

import pytest
import torch
from mapped import Own
from torch import nn

import kernels
from kernels import Mode, kernelize, use_kernel_forward_from_hub, use_kernel_mapping


@use_kernel_forward_from_hub("L")
class Layer(nn.Module):
    def forward(self, x):
        return x + 1


class Kernel(nn.Module):
    def forward(self, x):
        return x + 2


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.layer = Layer()

    def forward(self, x):
        return self.layer(x)


def mapping(**options):
    return {"L": {"cpu": Own(layer=Kernel, **options)}}


def test_report():
    with use_kernel_mapping(mapping(text="<b>own & mine</b>")):
        model = kernelize(Model(), mode=Mode.INFERENCE)
    report = kernels.report(model)
    (record,) = report
    assert len(report) == 1 and report.replaced == [record] and report.fallbacks == []
    assert (record.path, record.layer, record.outcome) == ("layer", "L", "kernel")
    assert "L" in repr(report) and repr(report) == str(report)
    html = report._repr_html_()
    assert "&lt;b&gt;own &amp; mine&lt;/b&gt;" in html and "<b>" not in html
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
