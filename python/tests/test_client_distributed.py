"""FSDP2 and DDP on two processes of gloo: kernels see gathered weights, gradients arrive."""

import pytest
import torch

WORKER = """
import os, sys
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F
import kernels
from kernels import LayerRepository, Mode, kernelize, register_kernel_mapping, use_kernel_forward_from_hub

rank, kind, store = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
torch.set_num_threads(1)


@use_kernel_forward_from_hub("RMSNorm")
class RMSNorm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.variance_epsilon = 1e-6

    def forward(self, hidden_states):
        x = hidden_states.float()
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * x.to(hidden_states.dtype)


@use_kernel_forward_from_hub("SiluAndMul")
class SiluAndMul(nn.Module):
    def forward(self, x):
        d = x.shape[-1] // 2
        return F.silu(x[..., :d]) * x[..., d:]


register_kernel_mapping({
    "RMSNorm": {"cpu": LayerRepository("kernels-community/normalization", layer_name="RMSNorm", revision="v0.0.4")},
    "SiluAndMul": {"cpu": LayerRepository("kernels-community/activation", layer_name="SiluAndMul", revision="v0.0.4")},
})


def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), RMSNorm(32), nn.Linear(32, 32), SiluAndMul(), RMSNorm(16))


def wrap(model):
    if kind.startswith("fsdp"):
        from torch.distributed.fsdp import fully_shard
        for layer in model:
            if any(True for _ in layer.parameters()):
                fully_shard(layer)
        return fully_shard(model)
    return nn.parallel.DistributedDataParallel(model)


def train(with_kernels):
    model = make()
    if with_kernels and kind != "fsdp-after":
        kernelize(model, mode=Mode.TRAINING)
        kernels.report(model).raise_if_fallback()
    model = wrap(model)
    if with_kernels and kind == "fsdp-after":
        kernelize(model, mode=Mode.TRAINING, device="cpu")
        kernels.report(model).raise_if_fallback()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    generator = torch.Generator().manual_seed(rank)
    for _ in range(4):
        loss = model(torch.randn(8, 16, generator=generator)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if with_kernels:
        counts = [kernels._kernels.fallback_counts(module) for module in model.modules()]
        assert not any(counts), counts
    return losses


plain, kernelized = train(False), train(True)
assert all(abs(a - b) < 1e-4 * abs(a) for a, b in zip(plain, kernelized)), (plain, kernelized)
print("equal", plain, kernelized, flush=True)
dist.barrier()
dist.destroy_process_group()
os._exit(0)  # threads of PyTorch's may outlive the interpreter and abort the process; the losses are what is asked here
"""


@pytest.mark.parametrize("kind", ["ddp", "fsdp", "fsdp-after"])
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch is built without torch.distributed")
def test_two_ranks(run_python, tmp_path, kind):
    from concurrent.futures import ThreadPoolExecutor

    run_python("import kernels; kernels.get_kernel('kernels-community/activation', revision='v0.0.4');"
               "kernels.get_kernel('kernels-community/normalization', revision='v0.0.4')")
    with ThreadPoolExecutor(2) as both:
        ranks = [both.submit(run_python, WORKER, rank, kind, tmp_path / "store", env={"GLOO_SOCKET_IFNAME": "lo"}) for rank in (0, 1)]
    for rank in ranks:
        assert "equal" in rank.result().stdout
