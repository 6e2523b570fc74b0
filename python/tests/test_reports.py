"""kernels.report: what serves each layer of a model now."""

import pytest
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
    with pytest.raises(RuntimeError, match="1 of 1 layers have no kernel:\nlayer: L: "):
        report.raise_if_fallback()
