"""The programs of the Layers documentation, for a type checker: they are not run."""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from kernels import (
    CUDAProperties,
    Device,
    KernelizeFallback,
    LayerRepository,
    LocalLayerRepository,
    LockedLayerRepository,
    Mode,
    ROCMProperties,
    kernelize,
    register_kernel_mapping,
    replace_kernel_forward_from_hub,
    use_kernel_forward_from_hub,
    use_kernel_mapping,
)


@use_kernel_forward_from_hub("SiluAndMul")
class SiluAndMul(nn.Module):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        d = input.shape[-1] // 2
        return F.silu(input[..., :d]) * input[..., d:]


class External(nn.Module):
    hidden: int = 3


class MyModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.act = SiluAndMul()


replace_kernel_forward_from_hub(External, "External")
layer: SiluAndMul = SiluAndMul()  # the decorator keeps the class

model: MyModel = kernelize(MyModel(), mode=Mode.INFERENCE)
model = kernelize(model, mode=Mode.INFERENCE | Mode.TORCH_COMPILE)
model = kernelize(model, device="cuda", mode=Mode.TRAINING | Mode.TORCH_COMPILE, use_fallback=False)
model = kernelize(model, device=torch.device("cuda"), mode=Mode.TRAINING, use_fallback=KernelizeFallback.ALL)

register_kernel_mapping(
    {
        "SiluAndMul": {
            "cuda": LayerRepository(repo_id="kernels-community/activation", layer_name="SiluAndMul"),
            "rocm": LayerRepository("kernels-community/activation", layer_name="SiluAndMul", version=">=0.0.4,<0.1.0"),
            "cpu": LayerRepository("kernels-community/activation", layer_name="SiluAndMul", version=1),
            "mps": LayerRepository("kernels-community/activation", layer_name="SiluAndMul", revision="main"),
        }
    },
    inherit_mapping=False,
)

modes = {
    "SiluAndMul": {
        "cuda": {
            Mode.FALLBACK: LayerRepository(repo_id="kernels-community/activation", layer_name="SiluAndMul"),
            Mode.TRAINING | Mode.TORCH_COMPILE: LayerRepository(
                repo_id="kernels-community/activation-training-optimized", layer_name="SiluAndMul"
            ),
        }
    }
}
with use_kernel_mapping(modes):
    model = kernelize(model, mode=Mode.TRAINING | Mode.TORCH_COMPILE)

capabilities = {
    "SiluAndMul": {
        Device(type="cuda", properties=CUDAProperties(min_capability=75, max_capability=89)): LayerRepository(
            repo_id="kernels-community/activation", layer_name="SiluAndMul"
        ),
        Device(type="cuda", properties=CUDAProperties(min_capability=90, max_capability=sys.maxsize)): LayerRepository(
            repo_id="kernels-community/activation-hopper", layer_name="SiluAndMul"
        ),
        Device(type="rocm", properties=ROCMProperties(min_capability=90, max_capability=94)): LayerRepository(
            repo_id="kernels-community/activation", layer_name="SiluAndMul"
        ),
    }
}
with use_kernel_mapping(capabilities):
    pass

with use_kernel_mapping(
    {
        "SiluAndMul": {
            "cuda": LocalLayerRepository(
                repo_path="/home/daniel/kernels/activation", package_name="activation", layer_name="SiluAndMul"
            ),
            "rocm": LocalLayerRepository(repo_path=Path("/home/daniel/kernels/activation"), layer_name="SiluAndMul"),
            "cpu": LockedLayerRepository("kernels-community/activation", layer_name="SiluAndMul"),
        }
    },
    inherit_mapping=False,
):
    model = kernelize(model, mode=Mode.INFERENCE)
