"""The layers: those that serve, and below them those that a class or a mode must refuse."""

import torch
from torch import nn

from .ops import rms_norm, silu_and_mul


class SiluAndMul(nn.Module):
    has_backward = True
    can_torch_compile = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return silu_and_mul(x)


class RMSNorm(nn.Module):
    weight: torch.Tensor
    variance_epsilon: float

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return rms_norm(hidden_states, self.weight, self.variance_epsilon)


class NoBackward(nn.Module):
    has_backward = False
    can_torch_compile = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return silu_and_mul(x)


class NoCompile(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return silu_and_mul(x)


class OwnConstructor(nn.Module):
    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return silu_and_mul(x)


class OwnMember(nn.Module):
    def helper(self) -> None:
        pass

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return silu_and_mul(x)


class OtherNumber(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return silu_and_mul(x)


class OtherKind(nn.Module):
    def forward(self, *, x: torch.Tensor) -> torch.Tensor:
        return silu_and_mul(x)


class NoLayer:
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return silu_and_mul(x)
