"""The layers of the example kernels: the same arithmetic as the models' own, so that only the report tells which one ran."""

import torch
from torch import nn
from torch.nn import functional as F


class SiluAndMul(nn.Module):
    can_torch_compile = True
    has_backward = True

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        half = input.shape[-1] // 2
        return F.silu(input[..., :half]) * input[..., half:]


class SiluAndMulInferenceOnly(nn.Module):
    """For inference: no backward, no torch.compile."""

    can_torch_compile = False
    has_backward = False

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        half = input.shape[-1] // 2
        with torch.no_grad():
            return F.silu(input[..., :half]) * input[..., half:]


class SiluAndMulEager(nn.Module):
    """With backward, without torch.compile."""

    can_torch_compile = False
    has_backward = True

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        half = input.shape[-1] // 2
        return F.silu(input[..., :half]) * input[..., half:]
