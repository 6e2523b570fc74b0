"""Native calls with arguments and members of every sort: the right number, or the own forward and a count."""

import pytest
import torch
from call_layers import X, Function, Layer, Norm, Sub, norm, silu, strict, strides  # noqa: F401
from torch import nn

# --- inputs of every sort ---

def freed():
    x = torch.randn(6, 32)
    x.untyped_storage().resize_(0)
    return x


def inference():
    with torch.inference_mode():
        return torch.randn(6, 32)


def fake():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        return torch.randn(6, 32)


INPUTS = {
    "plain": (lambda: X, None),
    "parameter": (lambda: nn.Parameter(X, requires_grad=False), None),
    "offset": (lambda: torch.randn(9, 32)[3:], None),
    "columns": (lambda: torch.randn(6, 48)[:, 8:40], None),
    "expanded rows": (lambda: torch.randn(1, 32).expand(6, 32), None),
    "no rows": (lambda: torch.randn(0, 32), None),
    "inference": (inference, None),
    "channels of one": (lambda: torch.randn(6, 1, 32).transpose(0, 1), None),
    "transposed": (lambda: torch.randn(32, 6).t(), "layout"),
    "expanded columns": (lambda: torch.randn(6, 1).expand(6, 32), "layout"),
    "neg-bit": (lambda: torch._neg_view(X), "negated view"),
    "imag of conj": (lambda: torch.randn(6, 32, dtype=torch.complex64).conj().imag, "negated view"),
    "double": (lambda: X.double(), "dtype"),
    "complex": (lambda: torch.randn(6, 32, dtype=torch.complex64), "dtype"),
    "conj": (lambda: torch.randn(6, 32, dtype=torch.complex64).conj(), "dtype"),
    "subclass": (lambda: X.as_subclass(Sub), "tensor subclass"),
    "meta": (lambda: X.to("meta"), "a tensor without a DLPack form"),
    "fake": (fake, "tensor subclass"),
}
REFUSED_BY_BOTH = {  # the own forward may raise, too: what counts is that it decides
    "freed storage": (freed, "no data"),
    "sparse": (lambda: X.to_sparse(), "a tensor without a DLPack form"),
    "quantized": (lambda: torch.quantize_per_tensor(X, 0.1, 0, torch.qint8), "a tensor without a DLPack form"),
    "compressed rows": (lambda: X.to_sparse_csr(), "a tensor without a DLPack form"),
    "mkldnn": (lambda: X.to_mkldnn(), "a tensor without a DLPack form"),
    "nested": (lambda: torch.nested.nested_tensor([X, X]), "a tensor without a DLPack form"),
    "jagged": (lambda: torch.nested.nested_tensor([X, X], layout=torch.jagged), "tensor subclass"),
    "uninitialized": (lambda: nn.UninitializedParameter(requires_grad=False), "tensor subclass"),
    "ZeroTensor": (lambda: torch._efficientzerotensor(6, 32), "no data"),
    "functionalized": (lambda: torch._to_functional_tensor(X), "no data"),
    "number": (lambda: torch.tensor(1.0), "number of dimensions"),
    "odd": (lambda: torch.randn(6, 31), "shape"),
    "text": (lambda: "x", "kind of argument"),
    "none": (lambda: None, "kind of argument"),
    "huge": (lambda: 1 << 70, "kind of argument"),
}


def rows(table):
    """Where PyTorch throws in C++, sanitizers are left out: their runtime, preloaded, does not take it."""
    throws = "a tensor without a DLPack form"
    return [pytest.param(name, marks=[pytest.mark.extension] * (row[1] != throws)) for name, row in table.items()]


@pytest.mark.parametrize("name", rows(INPUTS))
def test_inputs(silu, name):
    make, reason = INPUTS[name]
    x = make()
    made = silu(x)
    assert silu.counts == ({reason: 1} if reason else {}) and silu.owned == len(silu.counts)
    if name in ("meta", "fake"):
        assert made.shape == (6, 16) and made.device.type == ("meta" if name == "meta" else "cpu")
    else:
        torch.testing.assert_close(made, silu.module(x), equal_nan=True)
        assert strides(made) == strides(silu.module(x))


@pytest.mark.parametrize("name", rows(REFUSED_BY_BOTH))
def test_inputs_that_the_own_forward_decides(build, name):
    make, reason = REFUSED_BY_BOTH[name]
    module = Function(lambda x: "own")
    layer = Layer(build, "activation", "SiluAndMul", module)
    assert layer(make()) == "own" and layer.counts == {reason: 1}


def test_arguments(silu, strict):
    x = torch.randn(2, 32)
    want = silu.module(x)
    torch.testing.assert_close(silu(x=x), want)
    assert silu.owned == 0
    for args, keywords in [((), {}), ((x, x), {}), ((), {"y": x}), ((x,), {"x": x})]:
        with pytest.raises(TypeError):
            silu(*args, **keywords)
    assert silu.counts == {"number of arguments": 4}
    with pytest.raises(TypeError, match="without a module"):
        silu.function()


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: X.double(), "kernel layer SiluAndMul: argument x: dtype f64, accepted f16|bf16|f32"),
        (lambda: torch.randn(6, 31), "argument x: shape [6, 31], dimension 1 is 31, accepted 2*d: a multiple of 2"),
        (freed, "argument x: no data behind shape [6, 32]"),
        (lambda: X.as_subclass(Sub), "x: tensor subclass, accepted plain tensors and numbers"),
        (lambda: torch._neg_view(X), "negated view, accepted plain tensors and numbers"),
    ],
)
def test_strict(strict, make, text):
    with pytest.raises(Exception) as raised:
        strict(make())
    assert text in str(raised.value) and strict.owned == 0 and strict.counts == {}
    assert type(raised.value).__module__ == "kernels.errors"


def test_inference_mode(silu, norm):
    with torch.inference_mode():
        made = silu(X)
        assert made.is_inference() and not made.requires_grad
        norm.module.weight.requires_grad_()
        assert norm(torch.randn(2, 16)).is_inference()
    assert silu.owned == norm.owned == 0


# --- members ---


def parametrized(module):
    nn.utils.parametrize.register_parametrization(module, "weight", nn.Identity())


def weight_norm(module):
    module.weight = nn.Parameter(module.weight.detach().as_subclass(Sub), requires_grad=False)


def deleted(module):
    module.kept = module.weight
    del module.weight
    type(module).weight = property(lambda self: self.kept)


def class_attribute(module):
    del module.variance_epsilon
    type(module).variance_epsilon = 1e-5


def set_weight(value):
    def change(module):
        module.weight = value

    return change


MEMBERS = {
    "replaced": (set_weight(nn.Parameter(torch.full((16,), 3.0), requires_grad=False)), None),
    "data": (lambda m: setattr(m.weight, "data", torch.full((16,), 2.0)), None),
    "double": (lambda m: m.double(), "dtype"),
    "half": (lambda m: m.half(), None),
    "parametrized": (parametrized, "member missing"),
    "subclass weight": (weight_norm, "tensor subclass"),
    "deleted": (deleted, "member missing"),
    "class attribute": (class_attribute, "member missing"),
    "scalar": (lambda m: setattr(m, "variance_epsilon", 1), None),
    "tensor for a scalar": (lambda m: setattr(m, "variance_epsilon", torch.tensor(1e-5)), "kind of argument"),
    "neg-bit": (set_weight(nn.Parameter(torch._neg_view(torch.ones(16)), requires_grad=False)), "negated view"),
    "buffer": (lambda m: (m.__delattr__("weight"), m.register_buffer("weight", torch.full((16,), 2.0))), None),
    "plain attribute": (lambda m: (m.__delattr__("weight"), setattr(m, "weight", torch.full((16,), 2.0))), None),
    "wrong size": (set_weight(nn.Parameter(torch.ones(1), requires_grad=False)), "shape"),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_members(build, name):
    change, reason = MEMBERS[name]
    cls = type("Norm", (Norm,), {})  # what a row does to the class is its own
    layer = Layer(build, "normalization", "LlamaRMSNorm", cls(16))
    layer.module.requires_grad_(False)
    x = torch.randn(3, 16)
    layer(x)
    change(layer.module)
    torch.testing.assert_close(layer(x), layer.module(x), rtol=1e-5, atol=1e-5)
    assert layer.counts == ({reason: 1} if reason else {})
    if reason in (None, "dtype", "shape"):
        values = layer.call.members(layer.module)
        assert values[0] is layer.module.weight and values[1] == layer.module.variance_epsilon
    elif reason in ("member missing", "tensor subclass"):
        assert layer.call.members(layer.module) is None


def test_swap_tensors(norm):
    weight, x = nn.Parameter(torch.full((16,), 5.0), requires_grad=False), torch.randn(2, 16)
    norm(x)
    torch.utils.swap_tensors(norm.module.weight, weight)
    torch.testing.assert_close(norm(x), norm.module(x))
    assert norm.owned == 0


def test_functional_call(norm):
    x, weight = torch.randn(2, 16), torch.full((16,), 7.0)
    norm.module.forward = lambda x: norm(x)
    made = torch.func.functional_call(norm.module, {"weight": weight}, (x,))
    torch.testing.assert_close(made, weight * norm.module.normal(x))
