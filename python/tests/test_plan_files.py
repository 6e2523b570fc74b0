"""Plans: what is in them, as a file and again from one, and applied."""

import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import kernels
from kernels import LayerRepository, LocalLayerRepository, Mode, use_kernel_forward_from_hub, use_kernel_mapping
from kernels.errors import ConflictError, FormatError

pytestmark = pytest.mark.extension


@use_kernel_forward_from_hub("SiluAndMul")
class SiluAndMul(nn.Module):
    def forward(self, x):
        d = x.shape[-1] // 2
        return F.silu(x[..., :d]) * x[..., d:]


@use_kernel_forward_from_hub("Nothing")
class Nothing(nn.Module):
    def forward(self, x):
        return x


class Model(nn.Module):
    def __init__(self, n_layers=2):
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.layers = nn.ModuleList(SiluAndMul() for _ in range(n_layers))
        self.nothing = Nothing()


@pytest.fixture
def local(build):
    repository = LocalLayerRepository(build / "packages" / "activation", layer_name="SiluAndMul")
    with use_kernel_mapping({"SiluAndMul": {"cpu": repository}}, inherit_mapping=False):
        yield


def bound(model):
    return [record.path for record in kernels.report(model).replaced]


def test_records(local, build):
    plan = kernels.plan(Model(), mode=Mode.INFERENCE | Mode.TORCH_COMPILE)._plan
    assert plan.mode == (Mode.INFERENCE | Mode.TORCH_COMPILE).value and len(plan) == 3
    first, second, third = plan.records()
    assert first["outcome"] == "kernel" and first["device"] == "cpu" and first["rule"] == "" and first["capability"] >= 1
    assert first["repository"] == str(build / "packages" / "activation") and first["level"] == "none"
    assert (first["mode"], first["mode_used"]) == ("INFERENCE|TORCH_COMPILE", "FALLBACK")
    assert {**first, "path": second["path"]} == second and second["path"] == "layers.1"
    assert (third["outcome"], third["rule"], third["mode_used"]) == ("fallback", "NO_LAYER", "") and "Nothing" in third["reason"]
    said = json.loads(plan.json())
    assert [record["path"] for record in said["modules"]] == [record["path"] for record in (first, second, third)]
    assert said["digest"] == plan.digest() and "SiluAndMul" in plan.text()


def test_trace(local):
    plan = kernels.plan(Model(), mode=Mode.INFERENCE)._plan
    for index, record in enumerate(plan.records()):
        for step in plan.trace(index):
            stage, subject, rule, reason, admits, accepted = step
            assert step.stage == stage and step.accepted is accepted and isinstance(accepted, bool)
            assert not accepted or rule == "" or reason
        assert any(step.accepted for step in plan.trace(index)) == (record["outcome"] == "kernel")
    for index in (-1, 3):
        with pytest.raises(IndexError, match=f"no record {index}: there are 3"):
            plan.trace(index)


def test_written_read_applied(local, tmp_path):
    file = tmp_path / "plan.json"
    before = kernels.plan(Model(), mode=Mode.INFERENCE)
    before.save(file)
    after = kernels.load_plan(file)
    assert after.digest == before.digest and after.mode == Mode.INFERENCE
    assert after._plan.records() == before._plan.records()
    model = Model()
    with use_kernel_mapping({}, inherit_mapping=False):  # the plan has its own
        assert after.apply(model) is model
    assert bound(model) == ["layers.0", "layers.1"]
    x = torch.randn(3, 8)
    torch.testing.assert_close(model.layers[0](x), SiluAndMul()(x))


def test_a_model_of_another_form_is_left_alone(local, tmp_path):
    plan = kernels.plan(Model(n_layers=2), mode=Mode.INFERENCE)
    for other in (Model(n_layers=1), Model(n_layers=3)):
        with pytest.raises(ConflictError):
            plan.apply(other)
        assert bound(other) == [] and "forward" not in other.layers[0].__dict__


def test_its_mapping(local, hub):
    rows = kernels.plan(Model(), mode=Mode.INFERENCE)._plan.mapping().rows()
    assert [(row[0], row[1]) for row in rows] == [("SiluAndMul", "cpu")] and rows[0][4]["path"]
    repository = LayerRepository("kernels-community/activation", layer_name="SiluAndMul", version=">=0.0.3,<0.0.5")
    with use_kernel_mapping({"SiluAndMul": {"cpu": repository}}, inherit_mapping=False):
        plan = kernels.plan(Model(), mode=Mode.TRAINING)
    ((layer, device, _, mode, source, _),) = plan._plan.mapping().rows()
    (record, *_) = plan._plan.records()
    assert (layer, device, mode) == ("SiluAndMul", "cpu", Mode.FALLBACK.value)
    assert source["repo_id"] == "kernels-community/activation" and source["revision"] == record["revision"]
    assert len(source["revision"]) == 40 and record["level"] == "transport"


BROKEN = ["", "{}", "[]", '{"mode": "INFERENCE"}', "\0", '{"mode": "NONE", "modules": []}']


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_file(tmp_path, text):
    file = tmp_path / "plan.json"
    file.write_text(text)
    with pytest.raises(FormatError, match="plan.json"):
        kernels.load_plan(file)


def test_no_file(local, tmp_path):
    with pytest.raises(FileNotFoundError, match="none.json"):
        kernels.load_plan(tmp_path / "none.json")
    with pytest.raises(OSError, match="none"):
        kernels.plan(Model(), mode=Mode.INFERENCE).save(tmp_path / "none" / "plan.json")
