"""Kernels beside what else is set on modules: accelerate, hooks, LoRA, parametrizations, functional calls."""

import functools

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from torch_models import Block, Custom, Scale, Weighted, Weights, factor, kernelize_with, times

from kernels import report, unkernelize


def weighted(*weights):
    return nn.Sequential(*(Weighted(w) for w in weights))


def kernelize_weights(model, **options):
    return kernelize_with(model, Custom(Weights), name="Weighted", **options)


# --- accelerate ---


def test_beneath_a_hook_of_accelerate():
    from accelerate import cpu_offload

    m = weighted(2.0, 3.0)
    cpu_offload(m, execution_device=torch.device("cpu"))
    assert m[0].weight.device.type == "meta"
    kernelize_weights(m)
    assert [r.device for r in report(m).records] == ["cpu", "cpu"]
    assert factor(m[0]) == 200 and factor(m) == 60000
    unkernelize(m)
    assert factor(m) == 6
    assert isinstance(m[0].forward, functools.partial) and hasattr(m[0], "_old_forward")


def test_a_hook_that_is_removed_leaves_the_kernel():
    from accelerate.hooks import remove_hook_from_module
    from accelerate import dispatch_model

    m = dispatch_model(nn.Sequential(weighted(2.0), weighted(3.0)), {"0": "cpu", "1": "cpu"}, force_hooks=True)
    kernelize_weights(m)
    assert factor(m) == 60000
    remove_hook_from_module(m, recurse=True)
    assert factor(m) == 60000 and [r.outcome for r in report(m).records] == ["kernel", "kernel"]
    unkernelize(m)
    assert factor(m) == 6 and "forward" not in vars(m[0][0])


def test_a_hook_that_is_added_to_a_kernel():
    from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module

    class Add(ModelHook):
        def post_forward(self, module, output):
            return output + 1

    m = kernelize_weights(weighted(2.0))
    add_hook_to_module(m[0], Add())
    assert factor(m[0]) == 201
    kernelize_weights(m)
    assert factor(m[0]) == 201
    unkernelize(m)
    assert factor(m[0]) == 3
    remove_hook_from_module(m[0])
    assert factor(m[0]) == 2


def test_a_wrapper_that_nobody_knows_is_named():
    m = weighted(2.0, 3.0)
    m[0].forward = functools.partial(torch.add, other=1)
    kernelize_weights(m)
    assert factor(m[0]) == 2 and factor(m[1]) == 300
    record = report(m).records[0]
    assert record.outcome == "left alone" and "partial of" in record.reason and "add" in record.reason


# --- hooks of PyTorch ---


def test_hooks_run_once_and_in_order():
    m, ran = weighted(2.0), []
    m[0].register_forward_pre_hook(lambda *_: ran.append("before"))
    m[0].register_forward_hook(lambda *_: ran.append("after"))
    m[0].register_full_backward_hook(lambda *_: ran.append("backward"))
    kernelize_weights(m)
    m(torch.ones(1, requires_grad=True)).sum().backward()
    assert ran == ["before", "after", "backward"]
    assert m[0].weight.grad.item() == 100


# --- what changes modules and their classes ---


class LoRA(nn.Module):
    def __init__(self, base):
        super().__init__()
        self.base, self.up = base, nn.Parameter(torch.tensor([1.0]))

    def forward(self, x):
        return self.base(x) + x * self.up


def test_lora_around_a_kernel_before_and_after():
    m = weighted(2.0)
    m[0] = LoRA(m[0])
    kernelize_weights(m)
    assert factor(m) == 201
    m = kernelize_weights(weighted(2.0))
    m[0] = LoRA(m[0])
    assert factor(m) == 201
    unkernelize(m)
    assert factor(m) == 3


class Double(nn.Module):
    def forward(self, weight):
        return weight * 2


def test_a_parametrization_before_and_after():
    """It makes a subclass with the same forward; what a layer of Python reads is the parametrized weight."""
    m = weighted(2.0)
    parametrize.register_parametrization(m[0], "weight", Double())
    kernelize_weights(m)
    assert factor(m) == 400
    m = kernelize_weights(weighted(2.0))
    parametrize.register_parametrization(m[0], "weight", Double())
    assert factor(m) == 400
    assert report(m).records[0].outcome == "kernel"
    parametrize.remove_parametrizations(m[0], "weight", leave_parametrized=False)
    assert factor(m) == 200
    unkernelize(m)
    assert factor(m) == 2


def test_weight_norm():
    class Dense(nn.Linear):
        kernel_layer_name = "Dense"

        def forward(self, x):
            return nn.functional.linear(x, self.weight, self.bias)

    class Kernel(nn.Module):
        def forward(self, x):
            return nn.functional.linear(x, self.weight, self.bias) * 100

    m = nn.Sequential(parametrizations.weight_norm(Dense(3, 3)))
    x = torch.randn(2, 3)
    wanted = m(x)
    kernelize_with(m, Custom(Kernel), name="Dense")
    torch.testing.assert_close(m(x), wanted * 100)


def test_a_functional_call_gives_its_own_weights():
    m = kernelize_weights(weighted(2.0))
    made = torch.func.functional_call(m, {"0.weight": torch.tensor([5.0])}, torch.ones(1))
    assert made.item() == 500 and factor(m) == 200


def test_a_model_that_is_moved_and_cast():
    m = kernelize_weights(weighted(2.0)).double()
    assert m(torch.ones(1, dtype=torch.float64)).dtype is torch.float64


def test_a_subclass_with_the_forward_of_the_marked_class_is_replaced():
    class Sub(Weighted):
        pass

    assert factor(kernelize_weights(nn.Sequential(Sub(2.0)))) == 200


def test_fully_sharded_modules(tmp_path):
    """FSDP2 makes subclasses; one process is enough to see them."""
    dist = torch.distributed
    if not dist.is_available() or not dist.is_gloo_available():
        pytest.skip("PyTorch without gloo")
    from torch.distributed.fsdp import fully_shard

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        mesh = dist.device_mesh.init_device_mesh("cpu", (1,))
        m = nn.Sequential(Block(), Block())
        for block in m:
            fully_shard(block, mesh=mesh)
        kernelize_with(m, Custom(times(7)), device="cpu")
        own = [factor(block.scale) for block in m]
        assert own == [7, 7] and type(m[0]).__name__ != "Block"
        m(torch.ones(1, 2)).sum().backward()
    finally:
        dist.destroy_process_group()


def test_a_compiled_module_around_the_model():
    m = nn.Sequential(Scale())
    outer = torch.compile(m, backend="eager")
    kernelize_with(outer, Custom(times(7, can_torch_compile=True)), device="cpu")
    assert report(outer).records[0].path == "_orig_mod.0"
    assert factor(outer) == 7
    unkernelize(outer)
    assert factor(outer) == 2
