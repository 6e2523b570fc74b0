"""A model whose classes a process without kernels can import, to load a file with it."""

from torch import nn


class Scale(nn.Module):
    kernel_layer_name = "Scale"

    def __init__(self, weight=1.0):
        super().__init__()
        import torch

        self.weight = nn.Parameter(torch.tensor([weight]))

    def forward(self, x):
        return x * self.weight


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = Scale(2.0), Scale(3.0)
        self.again = self.first

    def forward(self, x):
        return self.second(self.first(x))
