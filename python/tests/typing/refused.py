"""What a type checker has to refuse: each line marked with a code is an error of that kind."""

from kernels import LayerRepository, Mode, kernelize, use_kernel_forward_from_hub
from torch import nn

kernelize(nn.Linear(1, 1))  # E: call-arg
kernelize(3, mode=Mode.INFERENCE)  # E: type-var
kernelize(nn.Linear(1, 1), mode="inference")  # E: arg-type
LayerRepository("kernels-community/activation", "SiluAndMul")  # E: misc,call-arg
LayerRepository(3, layer_name="SiluAndMul")  # E: arg-type
use_kernel_forward_from_hub(3)  # E: arg-type
