"""A model with a native layer, which another process can import."""

from torch import nn
from torch.nn import functional as F

from kernels import LocalLayerRepository, Mode, kernelize, use_kernel_forward_from_hub, use_kernel_mapping


@use_kernel_forward_from_hub("SavedSiluAndMul")
class Act(nn.Module):
    def forward(self, x):
        d = x.shape[-1] // 2
        return F.silu(x[..., :d]) * x[..., d:]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = Act()

    def forward(self, x):
        return self.act(x)


def kernelized(package):
    """With the kernel of a package directory."""
    repository = LocalLayerRepository(package, layer_name="SiluAndMul")
    with use_kernel_mapping({"SavedSiluAndMul": {"cpu": repository}}, inherit_mapping=False):
        return kernelize(Model(), mode=Mode.INFERENCE, device="cpu", use_fallback=False)
