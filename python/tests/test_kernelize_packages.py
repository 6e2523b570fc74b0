"""Layers of packages in place of a model's own: native ones, and Python ones that are imported."""

import copy
import inspect
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch_models import COMPILE, INFERENCE, TRAINING

from kernels import LayerRepository, kernelize, report, unkernelize, use_kernel_forward_from_hub, use_kernel_mapping
from kernels.errors import ArgumentsError


@use_kernel_forward_from_hub("SiluAndMul")
class SiluAndMul(nn.Module):
    """Half of the input gates the other."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Its own words."""
        d = input.shape[-1] // 2
        return F.silu(input[..., :d]) * input[..., d:]


@use_kernel_forward_from_hub("LlamaRMSNorm")
class Norm(nn.Module):
    def __init__(self, size, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size))
        self.variance_epsilon = eps

    def forward(self, hidden_states):
        x = hidden_states.float()
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * x.to(hidden_states.dtype)


NATIVE = {
    "SiluAndMul": {"cpu": LayerRepository("kernels-community/activation", layer_name="SiluAndMul", version=1)},
    "LlamaRMSNorm": {"cpu": LayerRepository("kernels-community/normalization", layer_name="LlamaRMSNorm", version=1)},
}
PY_SILU = LayerRepository("kernels-test/py-silu", layer_name="SiluAndMul", trust_remote_code=True)
HOSTED = {"SiluAndMul": {"cpu": PY_SILU}}


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), Norm(16), SiluAndMul(), nn.Linear(8, 8))


def kernelized(mapping, mode=INFERENCE, **options):
    with use_kernel_mapping(mapping, inherit_mapping=False):
        return kernelize(model(), mode=mode, **options)


@pytest.fixture(scope="module")
def x(hub):
    torch.manual_seed(1)
    return torch.randn(4, 8)


@pytest.mark.parametrize("mapping", [NATIVE, HOSTED], ids=["native", "hosted"])
def test_what_comes_out_is_the_same(mapping, x):
    m = kernelized(mapping)
    records = report(m).records
    assert [r.outcome for r in records if r.layer in mapping] == ["kernel"] * len(mapping)
    assert all(r.revision for r in records if r.layer in mapping)
    with torch.no_grad():
        torch.testing.assert_close(m(x), model()(x))
    unkernelize(m)
    assert not any("forward" in vars(module) for module in m)


def test_gradients_are_the_same(x):
    m, own = kernelized(NATIVE, TRAINING), model()
    for one in (m, own):
        one(x).square().sum().backward()
    for (name, one), other in zip(m.named_parameters(), own.parameters()):
        torch.testing.assert_close(one.grad, other.grad, msg=name)


@pytest.mark.parametrize("mode", [INFERENCE, INFERENCE | COMPILE], ids=str)
def test_a_compiled_model_holds_the_kernel(mode, x):
    torch._dynamo.reset()
    m = kernelized(NATIVE, mode)
    compiled = torch.compile(m, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model()(x))


def test_changing_the_mode_to_and_fro_compiles_each_once(x):
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    m, counter = model(), CompileCounter()
    compiled = torch.compile(m, backend=counter)
    with use_kernel_mapping(NATIVE, inherit_mapping=False), torch.no_grad():
        for _ in range(10):
            for mode in (INFERENCE, TRAINING):
                kernelize(m, mode=mode)
                compiled(x)
    assert counter.frame_count <= 2


def test_the_forward_looks_like_the_original():
    m = kernelized(NATIVE)
    forward = m[2].forward
    assert inspect.signature(forward) == inspect.signature(model()[2].forward)
    assert forward.__doc__ == "Its own words." and forward.__name__ == "forward"
    assert forward.__qualname__ == SiluAndMul.forward.__qualname__
    assert forward.__annotations__ == SiluAndMul.forward.__annotations__
    assert forward.__code__ is not SiluAndMul.forward.__code__ and forward.__self__ is m[2]
    torch.testing.assert_close(m[2](input=torch.ones(1, 4)), m[2](torch.ones(1, 4)))


def test_arguments_that_do_not_fit(x):
    wide = torch.ones(2, 4, dtype=torch.float64)
    m = kernelized(NATIVE)
    torch.testing.assert_close(m[2](wide), SiluAndMul()(wide))
    strict = kernelized(NATIVE, use_fallback=False)
    with pytest.raises(ArgumentsError, match="f64"):
        strict[2](wide)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies_read_their_own_weights(way):
    m = kernelized(NATIVE)
    made = way(m)
    assert [r.outcome for r in report(made).records] == ["kernel", "kernel"]
    with torch.no_grad():
        made[1].weight.zero_()
        assert made[1](torch.ones(1, 16)).abs().max() == 0 and m[1](torch.ones(1, 16)).abs().max() > 0


def test_a_class_that_does_not_fit_the_layer():
    class Two(nn.Module):
        kernel_layer_name = "SiluAndMul"

        def forward(self, x, y):
            return x

    class ByName(nn.Module):
        kernel_layer_name = "SiluAndMul"

        def forward(self, *, x):
            return x

    for cls, text in [(Two, "different number of arguments"), (ByName, "different kind of arguments")]:
        with use_kernel_mapping(NATIVE), pytest.raises(TypeError, match=f"does not match `{cls.__name__}`: {text}"):
            kernelize(nn.Sequential(cls()), mode=INFERENCE, device="cpu")


@pytest.mark.parametrize("mapping", [NATIVE, HOSTED], ids=["native", "hosted"])
def test_a_repository_loads_a_class(mapping):
    import sys

    layer = mapping["SiluAndMul"]["cpu"].load()
    assert issubclass(layer, nn.Module) and layer.__module__ in sys.modules
    assert len(inspect.signature(layer.forward).parameters) == 2
    assert mapping["SiluAndMul"]["cpu"].load() is layer


def test_a_native_layer_runs_by_itself(x):
    layer = NATIVE["SiluAndMul"]["cpu"].load()()
    torch.testing.assert_close(layer(x), SiluAndMul()(x))
    with pytest.raises(ArgumentsError, match="f64"):
        layer(x.double())
    norm = NATIVE["LlamaRMSNorm"]["cpu"].load()()
    with pytest.raises(TypeError):
        norm(x)  # without a weight
    own = Norm(8)
    norm.weight, norm.variance_epsilon = own.weight, own.variance_epsilon
    torch.testing.assert_close(norm(x), own(x))
