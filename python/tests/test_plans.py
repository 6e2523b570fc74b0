"""kernels.plan: decided, shown, saved, applied."""

import pytest
import torch
from mapped import Own
from mapped_model import Model, mapping
from torch import nn

import kernels
from kernels import Mode, use_kernel_forward_from_hub, use_kernel_mapping


def test_plan():
    with use_kernel_mapping(mapping()):
        model = Model()
        plan = kernels.plan(model, mode=Mode.INFERENCE)
        assert model(0) == 1 and "forward" not in model.layer.__dict__
        assert [record.outcome for record in plan] == ["kernel"] and plan.mode is Mode.INFERENCE
        assert plan.digest == kernels.plan(Model(), mode=Mode.INFERENCE).digest
        assert plan.digest != kernels.plan(Model(), mode=Mode.INFERENCE, device="cuda").digest
        assert plan.apply(model) is model
        assert model(0) == 2
        with pytest.raises(ValueError):
            plan.save("/nonexistent/plan.json")  # of repositories of one's own


def test_a_plan_in_a_file(hub, tmp_path):
    @use_kernel_forward_from_hub("SiluAndMul")
    class SiluAndMul(nn.Module):
        def forward(self, x):
            d = x.shape[-1] // 2
            return nn.functional.silu(x[..., :d]) * x[..., d:]

    repository = kernels.LayerRepository("kernels-community/activation", layer_name="SiluAndMul", version=1)
    with use_kernel_mapping({"SiluAndMul": {"cpu": repository}}):
        plan = kernels.plan(SiluAndMul(), mode=Mode.INFERENCE, device="cpu")
    file = tmp_path / "plan.json"
    plan.save(file)
    again = kernels.load_plan(file)
    assert again.digest == plan.digest and list(again)[0].repository == "kernels-community/activation"
    x = torch.randn(4, 64)
    model, own = SiluAndMul(), SiluAndMul()
    assert again.apply(model) is model
    assert [record.outcome for record in kernels.report(model)] == ["kernel"]
    torch.testing.assert_close(model(x), own(x))
    with pytest.raises(FileNotFoundError):
        kernels.load_plan(tmp_path / "none.json")
    file.write_text("{}")
    with pytest.raises(ValueError):
        kernels.load_plan(file)


def test_a_plan_that_would_come_out_otherwise(hub):
    from kernels.errors import ConflictError

    @use_kernel_forward_from_hub("SiLU")
    class Own(nn.Module):
        def forward(self, input):
            return nn.functional.silu(input)

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = Own(), Own()

    repository = kernels.LayerRepository("kernels-community/activation", layer_name="SiLU", version=1)
    with use_kernel_mapping({"SiLU": {"cpu": repository}}):
        plan = kernels.plan(Own(), mode=Mode.INFERENCE, device="cpu")
    model = Two()
    with pytest.raises(ConflictError):
        plan.apply(model)
    assert not kernels.report(model).replaced
    assert "forward" not in model.one.__dict__ and "forward" not in model.two.__dict__


def test_a_plan_is_shown():
    with use_kernel_mapping(mapping(text="a <script>")):
        plan = kernels.plan(Model(), mode=Mode.INFERENCE)
    assert "1 with a kernel" in repr(plan)
    assert "<script>" not in plan._repr_html_() and plan._repr_html_().startswith("<table>")
    assert len(plan.to_dict()["modules"]) == len(plan) == len(plan.replaced) == 1


def test_reports_are_no_plans():
    report = kernels.report(Model())
    assert not hasattr(report, "apply")
    with pytest.raises(ValueError):
        kernels.plans.Plan(report._plan).apply(Model())
