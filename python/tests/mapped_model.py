"""A model with a layer that adds one, and a kernel that adds two."""

from mapped import Own
from torch import nn

from kernels import use_kernel_forward_from_hub


@use_kernel_forward_from_hub("L")
class Layer(nn.Module):
    def forward(self, x):
        return x + 1


class Kernel(nn.Module):
    def forward(self, x):
        return x + 2


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.layer = Layer()

    def forward(self, x):
        return self.layer(x)


def mapping(**options):
    """Of its layer to the kernel; options of the repository."""
    return {"L": {"cpu": Own(layer=Kernel, **options)}}
