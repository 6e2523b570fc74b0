"""torch.export of a model of transformers with kernels: the program has one operator a layer, and is saved and loaded."""

import pytest
import torch
from conftest import TESTS
from tiny_llama import TOKENS, assert_close, mapping, tiny  # noqa: F401

from kernels import Mode, kernelize, report, unkernelize


class Norms(torch.nn.Module):
    """What of a Llama is exported: one layer's norms and its MLP, and the last norm."""

    def __init__(self):
        super().__init__()
        model = tiny().model
        self.first, self.mlp, self.last = model.layers[0].input_layernorm, model.layers[0].mlp, model.norm

    def forward(self, x):
        return self.last(x + self.mlp(self.first(x)))


@pytest.mark.parametrize("strict", [True, False])
def test_export(strict, tmp_path):
    x = torch.randn(2, 5, 64)
    with torch.no_grad():
        wanted, wanted_longer = Norms()(x), Norms()(x.repeat(1, 3, 1))
        model = kernelize(Norms(), mode=Mode.INFERENCE | Mode.TORCH_COMPILE)
        assert len(report(model).replaced) == 3
        program = torch.export.export(model, (x,), dynamic_shapes={"x": {1: torch.export.Dim("length", min=2)}}, strict=strict)
        unkernelize(model)
        ours = [str(node.target) for node in program.graph.nodes if str(node.target).startswith("kernels")]
        assert len(ours) == 3, program.graph
        torch.export.save(program, tmp_path / "program.pt2")
        for one in (program, torch.export.load(tmp_path / "program.pt2")):
            assert_close(one.module()(x), wanted)
            assert_close(one.module()(x.repeat(1, 3, 1)), wanted_longer)
    assert {name for name, _ in program.named_parameters()} == {name for name, _ in Norms().named_parameters()}


@pytest.mark.parametrize("strict", [True, False])
def test_export_of_a_whole_model(strict):
    """Without a cache, as exporters ask for it."""

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = tiny(use_cache=False)

        def forward(self, tokens):
            return self.model(input_ids=tokens).logits

    with torch.no_grad():
        wanted = Logits()(TOKENS)
        model = kernelize(Logits(), mode=Mode.INFERENCE | Mode.TORCH_COMPILE)
        program = torch.export.export(model, (TOKENS,), strict=strict)
        unkernelize(model)
        assert_close(program.module()(TOKENS), wanted)
    ours = [str(node.target) for node in program.graph.nodes if str(node.target).startswith("kernels")]
    assert len(ours) >= 7, sorted(set(ours))


EXPORTED = """
import sys, torch, kernels
from native_layers import SiluAndMul
from kernels import LocalLayerRepository, Mode, kernelize, replace_kernel_forward_from_hub, use_kernel_mapping
way, package, path = sys.argv[1:]
x = torch.linspace(-3, 3, 32).reshape(2, 16)
def kernelized():
    class Act(SiluAndMul):
        pass
    replace_kernel_forward_from_hub(Act, "Exported")
    with use_kernel_mapping({"Exported": {"cpu": LocalLayerRepository(package, layer_name="SiluAndMul")}}):
        return kernelize(torch.nn.Sequential(Act()), mode=Mode.INFERENCE | Mode.TORCH_COMPILE, device="cpu")
with torch.no_grad():
    if way == "save":
        torch.export.save(torch.export.export(kernelized(), (x,)), path)
    elif way == "kernelize":
        kernelized()
    else:
        kernels.get_local_kernel(package).layers.SiluAndMul
    torch.testing.assert_close(torch.export.load(path).module()(x), SiluAndMul()(x))
"""


@pytest.mark.parametrize("way", ["kernelize", "layers"])
def test_a_program_runs_in_another_process_that_has_the_kernel(build, run_python, tmp_path, way):
    package, path = build / "packages" / "activation", tmp_path / "program.pt2"
    for one in ("save", way):
        code = f"import sys; sys.path.insert(0, {str(TESTS)!r})\n{EXPORTED}"
        run_python(code, one, package, path, timeout=120)
