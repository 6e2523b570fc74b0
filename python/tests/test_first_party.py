"""First-party layers under classes whose calls they must leave to the own forward: the results are those of the class, in value and type."""

import pytest
import torch
from conftest import BUILD
from torch import nn

import kernels
from kernels import LocalLayerRepository, Mode, kernelize, replace_kernel_forward_from_hub, use_kernel_forward_from_hub, use_kernel_mapping


class LayerNorm(nn.LayerNorm):
    def forward(self, input):
        return super().forward(input)


class TorchRMSNorm(nn.RMSNorm):
    def forward(self, x):
        return super().forward(x)


@use_kernel_forward_from_hub("RMSNorm")
class CastLast(nn.Module):
    """As Olmo 2 has it: the result has the type of the input."""

    def __init__(self, size, dtype):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(size, dtype=dtype) + 0.5)
        self.variance_epsilon = 1e-6

    def forward(self, hidden_states):
        x = hidden_states.float()
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return (self.weight * x).to(hidden_states.dtype)


@use_kernel_forward_from_hub("rotary_pos_emb")
class Rotary(nn.Module):
    def forward(self, q, k, cos, sin, unsqueeze_dim=1):
        cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)

        def half(x):
            return torch.cat((-x[..., x.shape[-1] // 2:], x[..., : x.shape[-1] // 2]), -1)

        return q * cos + half(q) * sin, k * cos + half(k) * sin


replace_kernel_forward_from_hub(LayerNorm, "LayerNorm")
replace_kernel_forward_from_hub(TorchRMSNorm, "TorchRMSNorm")

PACKAGES = {"LayerNorm": "normalization", "TorchRMSNorm": "normalization", "RMSNorm": "normalization", "rotary_pos_emb": "rotary"}


def angles(size, dtype):
    return torch.rand(1, 3, size, dtype=dtype), torch.rand(1, 3, size, dtype=dtype)


CALLS = {
    "LayerNorm over two dimensions": (lambda: LayerNorm((4, 8)), (torch.randn(3, 4, 8),)),
    "LayerNorm over two dimensions without weight": (lambda: LayerNorm((4, 8), elementwise_affine=False, eps=1e-5), (torch.randn(3, 4, 8),)),
    "LayerNorm without weight": (lambda: LayerNorm(8, elementwise_affine=False), (torch.randn(3, 8),)),
    "RMSNorm over two dimensions without weight": (lambda: TorchRMSNorm((4, 8), eps=1e-5, elementwise_affine=False), (torch.randn(3, 4, 8),)),
    "RMSNorm of bf16 with a weight of f32": (lambda: CastLast(8, torch.float32), (torch.randn(3, 8).bfloat16(),)),
    "torch's RMSNorm of f16 with a weight of f32": (lambda: TorchRMSNorm(8, eps=1e-5), (torch.randn(3, 8).half(),)),
    "rotary of an odd head": (Rotary, (torch.randn(1, 2, 3, 5), torch.randn(1, 2, 3, 5), *angles(5, torch.float32))),
    "rotary of bf16 by angles of f32": (Rotary, (torch.randn(1, 2, 3, 4).bfloat16(), torch.randn(1, 2, 3, 4).bfloat16(), *angles(4, torch.float32))),
}


@pytest.mark.parametrize("name", CALLS)
def test_left_to_the_own_forward(name):
    make, inputs = CALLS[name]
    module = make()
    wanted = module(*inputs)
    layer = type(module).kernel_layer_name
    repository = LocalLayerRepository(str(BUILD / "packages" / PACKAGES[layer]), layer_name=layer)
    with use_kernel_mapping({layer: {"cpu": repository}}, inherit_mapping=False):
        kernelize(module, mode=Mode.TRAINING, device="cpu")
    assert kernels.report(module).replaced
    got = module(*inputs)
    for a, b in zip(got if isinstance(got, tuple) else (got,), wanted if isinstance(wanted, tuple) else (wanted,)):
        assert a.dtype == b.dtype and torch.equal(a, b)
    assert sum(kernels._kernels.fallback_counts(module).values()) == 1
