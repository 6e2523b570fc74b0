"""Kernelized models, as users have them, under torch.compile, checkpoints and DistributedDataParallel."""

import pytest
import torch
from conftest import BUILD
from native_layers import RMSNorm, SiluAndMul
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

import kernels
from kernels import LocalLayerRepository, Mode, kernelize, replace_kernel_forward_from_hub, use_kernel_mapping

INFERENCE, TRAINING, COMPILE = Mode.INFERENCE, Mode.TRAINING, Mode.TORCH_COMPILE


class Norm(RMSNorm):
    pass


class Act(SiluAndMul):
    pass


replace_kernel_forward_from_hub(Norm, "CompiledNorm")
replace_kernel_forward_from_hub(Act, "CompiledAct")


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up, self.act, self.down = Norm(8), nn.Linear(8, 16), Act(), nn.Linear(8, 8)

    def forward(self, x):
        return x + self.down(self.act(self.up(self.norm(x))))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(3))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def mapped():
    layers = {"CompiledNorm": ("normalization", "RMSNorm"), "CompiledAct": ("activation", "SiluAndMul")}
    return use_kernel_mapping(
        {
            name: {"cpu": LocalLayerRepository(str(BUILD / "packages" / package), layer_name=layer)}
            for name, (package, layer) in layers.items()
        },
        inherit_mapping=False,
    )


def models(mode):
    """A kernelized model, and the same without kernels."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    own, model = Model(), Model()
    model.load_state_dict(own.state_dict())
    with mapped():
        kernelize(model, mode=mode, use_fallback=False)
    assert len(kernels.report(model).replaced) == 6
    return model, own


@pytest.mark.parametrize("mode", [INFERENCE, INFERENCE | COMPILE, TRAINING | COMPILE])
def test_a_model_is_one_graph_with_its_kernels(mode):
    model, own = models(mode)
    backend = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    for n in (2, 3, 5):
        x, same = (torch.randn(n, 8, generator=torch.Generator().manual_seed(n)).requires_grad_() for _ in range(2))
        compiled(x).pow(2).sum().backward()
        own(same).pow(2).sum().backward()
        torch.testing.assert_close(x.grad, same.grad, rtol=1e-4, atol=1e-5)
    for (name, one), other in zip(model.named_parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4, msg=name)
    names = [str(node.target) for graph in backend.graphs for node in graph.graph.nodes]
    assert sum(name.startswith("kernels_") for name in names) == 6 * backend.frame_count
    assert backend.frame_count <= 2


def test_switching_between_modes_compiles_once_for_each():
    model, own = models(INFERENCE | COMPILE)
    backend = CompileCounterWithBackend("eager")
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    x = torch.randn(4, 8)
    with torch.no_grad(), mapped():
        for turn in range(10):
            kernelize(model, mode=(TRAINING if turn % 2 else INFERENCE) | COMPILE)
            torch.testing.assert_close(compiled(x), own(x), rtol=1e-5, atol=1e-5)
    assert backend.frame_count <= 2


def test_undone_models_compile_as_before():
    model, own = models(INFERENCE | COMPILE)
    backend = CompileCounterWithBackend("eager")
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    x = torch.randn(4, 8)
    with torch.no_grad():
        compiled(x)
        kernels.unkernelize(model)
        torch.testing.assert_close(compiled(x), own(x))
    names = [str(node.target) for node in backend.graphs[-1].graph.nodes]
    assert backend.frame_count == 2 and not any(name.startswith("kernels_") for name in names)


def test_gradients_arrive_in_every_process(tmp_path):
    """DistributedDataParallel of one process: its hooks run on the parameters of kernelized layers."""
    model, own = models(TRAINING)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        parallel = nn.parallel.DistributedDataParallel(model)
        for _ in range(2):
            x = torch.randn(4, 8)
            parallel(x).pow(2).sum().backward()
            own(x).pow(2).sum().backward()
        for (name, one), other in zip(model.named_parameters(), own.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4, msg=name)
    finally:
        torch.distributed.destroy_process_group()


def test_exported_programs_run_with_their_kernels(tmp_path):
    model, own = models(INFERENCE | COMPILE)
    x = torch.randn(4, 8)
    with torch.no_grad():
        torch.export.save(torch.export.export(model, (x,)), tmp_path / "program.pt2")
    program = torch.export.load(tmp_path / "program.pt2")
    torch.testing.assert_close(program.module()(x), own(x), rtol=1e-5, atol=1e-5)
