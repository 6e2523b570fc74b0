"""Small models with extensible layers, and repositories that load themselves: no package and no hub is needed."""

import pytest
import torch
from torch import nn

from kernels import Mode, kernelize, unkernelize, use_kernel_forward_from_hub, use_kernel_mapping, use_kernelized_func

INFERENCE, TRAINING = Mode.INFERENCE, Mode.TRAINING
COMPILE = Mode.TORCH_COMPILE


@use_kernel_forward_from_hub("Scale")
class Scale(nn.Module):
    """Times two; kernels of the tests take other factors, so that what ran can be read from the result."""

    def forward(self, x):
        return x * 2


@use_kernel_forward_from_hub("Weighted")
class Weighted(nn.Module):
    def __init__(self, weight=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([weight]))

    def forward(self, x):
        return x * self.weight


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2, bias=False)
        self.scale = Scale()

    def forward(self, x):
        return self.scale(self.linear(x))


def times(factor, *, has_backward=None, can_torch_compile=None):
    """A layer of Python for Scale."""

    class Times(nn.Module):
        def forward(self, x):
            return x * factor

    Times.__name__ = Times.__qualname__ = f"Times{factor}"
    if has_backward is not None:
        Times.has_backward = has_backward
    if can_torch_compile is not None:
        Times.can_torch_compile = can_torch_compile
    return Times


class Weights(nn.Module):
    """A layer of Python for Weighted: what it gives shows whose weight it read."""

    can_torch_compile = True

    def forward(self, x):
        return x * self.weight * 100


class Custom:
    """A repository that loads itself; it counts how often."""

    def __init__(self, layer, layer_name="Layer", error=None):
        self.layer, self.layer_name, self.error, self.loads = layer, layer_name, error, 0

    def load(self):
        self.loads += 1
        if self.error is not None:
            raise self.error
        return self.layer

    def __str__(self):
        return "custom"


def on_cpu(entry, name="Scale"):
    """A scope with that entry alone."""
    return use_kernel_mapping({name: {"cpu": entry}}, inherit_mapping=False)


def kernelize_with(model, entry, *, name="Scale", mode=INFERENCE, **options):
    with on_cpu(entry, name):
        return kernelize(model, mode=mode, **options)


def factor(module):
    """What a Scale multiplies by now."""
    return module(torch.ones(1)).item()


@use_kernel_forward_from_hub("double")
def double(x):
    """Twice."""
    return x * 2


@use_kernelized_func(double)
class Calls(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, x):
        return double(x)


@pytest.fixture
def functions():
    """`double` is one object of the process: its own forward again afterwards."""
    yield
    unkernelize(nn.Sequential(Calls()))
