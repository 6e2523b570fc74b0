"""torch.export of a model of transformers with kernels: the program has one operator a layer, and is saved and loaded."""

import pytest
import torch
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
