"""Native calls: the right number from the kernel, or the own forward and a count; never anything else.

Each of these was taken out of the C code, and what turned red seen:
    is_neg                      test_inputs[neg-bit], test_members[neg-bit], test_run
    data without a pointer      a crash in test_inputs_that_the_own_forward_decides[freed storage]
    exact types                 test_inputs[subclass], [fake], test_members[subclass weight]
    dispatch modes              test_modes[FlopCounterMode], [make_fx], test_operator_route
    jit tracing                 test_modes[jit.trace]
    functorch                   test_vmap_over_closed_tensors
    forward-mode AD             test_modes[dual], test_operator_route
    autocast                    test_autocast
    requires_grad, grad mode    test_gradients_route
    dense gradients             test_backward
    references to members       a crash in test_members
    the deleter after an error  test_kernel_errors
    device index, strict        test_another_device, test_strict
The kernels here write the weight gradients of no rows by themselves: test_backward_zero_rows does not see whether we do.
"""

import copy
import gc
import io
import json
import pickle
import shutil
import sys
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kernels import _kernels

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


# --- the layers' formulas, as PyTorch writes them ---


class Function(nn.Module):
    def __init__(self, formula):
        super().__init__()
        self.formula = formula

    def forward(self, x):
        return self.formula(x)


def gated(act):
    return lambda x: act(x[..., : x.shape[-1] // 2]) * x[..., x.shape[-1] // 2 :]


class Norm(nn.Module):
    def __init__(self, h, eps="variance_epsilon", shift=0.0, late=False, dtype=torch.float32):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(h).to(dtype), requires_grad=False)
        setattr(self, eps, 1e-5)
        self.eps_name, self.shift, self.late = eps, shift, late

    def normal(self, x):
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + getattr(self, self.eps_name))

    def forward(self, x):
        if self.late:
            return ((self.weight.to(torch.promote_types(x.dtype, torch.float32)) + self.shift) * self.normal(x)).to(x.dtype)
        return self.weight * self.normal(x).to(x.dtype)


class FusedAdd(Norm):
    def forward(self, x, residual):
        total = x + residual
        return super().forward(total), total


def rotate_half(x):
    a, b = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    return torch.cat((-b, a), -1)


def rotate_pairs(x):
    return torch.stack((-x[..., 1::2], x[..., 0::2]), -1).flatten(-2)


def rotary(rotate):
    def forward(self, q, k, cos, sin, unsqueeze_dim=1):
        cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
        return q * cos + rotate(q) * sin, k * cos + rotate(k) * sin

    return type("Rotary", (nn.Module,), {"forward": forward})()


ACTIVATIONS = {
    "SiluAndMul": gated(F.silu),
    "GeluAndMul": gated(F.gelu),
    "GeluTanhAndMul": gated(lambda x: F.gelu(x, approximate="tanh")),
    "SiLU": F.silu,
    "GELU": F.gelu,
    "GeLU": F.gelu,
    "GeluTanh": lambda x: F.gelu(x, approximate="tanh"),
    "NewGELU": lambda x: F.gelu(x, approximate="tanh"),
    "QuickGELU": lambda x: x * torch.sigmoid(1.702 * x),
    "FastGELU": lambda x: F.gelu(x, approximate="tanh"),
}
NORMS = {
    "RMSNorm": lambda h, dtype: Norm(h, dtype=dtype),
    "LlamaRMSNorm": lambda h, dtype: Norm(h, dtype=dtype),
    "RMSNormScaleCast": lambda h, dtype: Norm(h, late=True, dtype=dtype),
    "GemmaRMSNorm": lambda h, dtype: Norm(h, "eps", 1.0, True, dtype=dtype),
    "TorchRMSNorm": lambda h, dtype: nn.RMSNorm(h, eps=1e-5).to(dtype).requires_grad_(False),
    "FusedAddRMSNorm": lambda h, dtype: FusedAdd(h, dtype=dtype),
    "LayerNorm": lambda h, dtype: nn.LayerNorm(h, eps=1e-5).to(dtype).requires_grad_(False),
}


class Layer:
    """A call, and a module that it serves."""

    def __init__(self, build, package, name, module, **options):
        self.module, self.owned = module, 0
        own = type(module).forward

        def counted(*args, **keywords):
            self.owned += 1
            return own(*args, **keywords)

        self.call = _kernels.Call(_kernels.HostKernel(str(build / "packages" / package), name, **options), counted)
        self.function = self.call.function

    def __call__(self, *args, **keywords):
        return self.function(self.module, *args, **keywords)

    def declared(self, dtype):
        """What a float32 kernel says of itself; of few elements, eager's largest error says little."""
        return self.call.kernel.layer.tolerance("f32") if dtype == torch.float32 else 0.0

    @property
    def counts(self):
        return _kernels.fallback_counts(self.module)


@pytest.fixture
def silu(build):
    return Layer(build, "activation", "SiluAndMul", Function(ACTIVATIONS["SiluAndMul"]))


@pytest.fixture
def norm(build):
    return Layer(build, "normalization", "LlamaRMSNorm", Norm(16))


@pytest.fixture
def strict(build):
    return Layer(build, "activation", "SiluAndMul", Function(ACTIVATIONS["SiluAndMul"]), strict=True)


@pytest.fixture
def changed(build, tmp_path):
    """changed(**fields): SiluAndMul of a package that says something else of it; None: nothing."""

    def change(**fields):
        package = shutil.copytree(build / "packages" / "activation", tmp_path / "packages" / "activation")
        (metadata,) = package.glob("build/*/metadata.json")
        text = json.loads(metadata.read_text())
        said = text["layers"]["SiluAndMul"]
        text["layers"]["SiluAndMul"] = {k: v for k, v in {**said, **fields}.items() if v is not None}
        metadata.write_text(json.dumps(text))
        return Layer(tmp_path, "activation", "SiluAndMul", Function(ACTIVATIONS["SiluAndMul"]))

    return change


# --- values ---


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


def strides(tensor):
    """Those that mean something."""
    return [stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size != 1]


def hold(made, eager, exact, declared=0.0):
    """Error at most twice eager's in that dtype, or one unit in the last place; `declared`: of the largest number."""
    for kernel, plain, oracle in zip(as_tuple(made), as_tuple(eager), as_tuple(exact), strict=True):
        assert (kernel.dtype, kernel.shape, strides(kernel)) == (plain.dtype, plain.shape, strides(plain))
        assert not kernel.requires_grad and not kernel.is_inference()
        ulp = torch.finfo(kernel.dtype).eps * oracle.abs()
        most = (2 * (plain.double() - oracle).abs().max()).clamp_min(declared * float(oracle.abs().max()))
        allowed = torch.maximum(most, ulp.clamp_min(torch.finfo(kernel.dtype).tiny))
        wrong = (kernel.double() - oracle).abs() > allowed
        assert not wrong.any(), f"{int(wrong.sum())} of {wrong.numel()} elements"


@pytest.mark.extension
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(build, name, dtype):
    layer = Layer(build, "activation", name, Function(ACTIVATIONS[name]))
    for shape in [(1, 64), (3, 5, 34), (7, 130), (64,)]:
        x = (3 * torch.randn(shape)).to(dtype)
        hold(layer(x), layer.module(x), layer.module(x.double()), layer.declared(dtype))
    assert layer.owned == 0 and layer.counts == {}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NORMS)
def test_norms(build, name, dtype):
    for weight in {torch.float32, dtype}:
        module = NORMS[name](48, weight)
        layer = Layer(build, "normalization", name, module)
        if name in ("LayerNorm", "TorchRMSNorm") and weight != dtype:
            continue  # PyTorch refuses the first, and its versions differ on the second
        for shape in [(1, 48), (3, 5, 48)]:
            args = [torch.randn(shape).to(dtype) for _ in range(2 if name == "FusedAddRMSNorm" else 1)]
            if name == "FusedAddRMSNorm":  # the sum is rounded once, in both
                total = args[0] + args[1]
                exact = (Norm.forward(copy.deepcopy(module).double(), total.double()), total.double())
            else:
                exact = copy.deepcopy(module).double()(*(arg.double() for arg in args))
            hold(layer(*args), module(*args), exact, layer.declared(dtype))
        assert layer.owned == 0 and layer.counts == {}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name, rotate", [("rotary_pos_emb", rotate_half), ("rotary_pos_emb_interleaved", rotate_pairs)])
def test_rotary(build, name, rotate, batch, dtype):
    layer = Layer(build, "rotary", name, rotary(rotate))
    q, k = torch.randn(2, 7, 4, 16).to(dtype).transpose(1, 2), torch.randn(2, 7, 2, 16).to(dtype).transpose(1, 2)
    angle = torch.rand(batch, 7, 8) * 6
    angle = torch.cat((angle, angle), -1) if rotate is rotate_half else angle.repeat_interleave(2, -1)
    args = q, k, angle.cos().to(dtype), angle.sin().to(dtype)
    exact = layer.module(*(arg.double() for arg in args))
    made, eager = layer(*args), layer.module(*args)
    hold(made, tuple(torch.empty_like(t).copy_(e) for t, e in zip((q, k), eager)), exact, layer.declared(dtype))
    assert all(map(torch.equal, layer(*args, unsqueeze_dim=1), made))
    assert layer.owned == 0 and layer.counts == {}
    hold(layer(*args, -3), layer.module(*args), exact, layer.declared(dtype))  # the same, but not what the kernel says it does
    assert layer.counts == {"value": 1}


# --- inputs of every sort ---

X = torch.randn(6, 32)


def freed():
    x = torch.randn(6, 32)
    x.untyped_storage().resize_(0)
    return x


def inference():
    with torch.inference_mode():
        return torch.randn(6, 32)


class Sub(torch.Tensor):
    pass


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
REFUSED_BY_BOTH = {  # the own forward raises, too: what counts is that nothing else happens
    "freed storage": (freed, "no data"),
    "sparse": (lambda: X.to_sparse(), "a tensor without a DLPack form"),
    "quantized": (lambda: torch.quantize_per_tensor(X, 0.1, 0, torch.qint8), "a tensor without a DLPack form"),
    "odd": (lambda: torch.randn(6, 31), "shape"),
    "text": (lambda: "x", "kind of argument"),
    "none": (lambda: None, "kind of argument"),
    "huge": (lambda: 1 << 70, "kind of argument"),
}


def rows(table):
    """Without those at which PyTorch throws in C++, which AddressSanitizer's runtime does not take in a preloaded interpreter."""
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


# --- what PyTorch does to a call ---


def flops(layer, x):
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False):
        return layer(x)


def make_fx(layer, x):
    from torch.fx.experimental.proxy_tensor import make_fx

    return make_fx(lambda x: layer(x))(x)(x)


def jit(layer, x):
    traced = torch.jit.trace(lambda x: layer(x), (torch.zeros_like(x),), check_trace=False)
    return traced(x)


def dual(layer, x):
    import torch.autograd.forward_ad as fw

    with fw.dual_level():
        made = layer(fw.make_dual(x, torch.ones_like(x)))
        primal, tangent = fw.unpack_dual(made)
    assert tangent.abs().sum() > 0
    return primal


def jvp(layer, x):
    primal, tangent = torch.func.jvp(lambda x: layer(x), (x,), (torch.ones_like(x),))
    assert tangent.abs().sum() > 0
    return primal


def func_grad(layer, x):
    torch.testing.assert_close(
        torch.func.grad(lambda x: layer(x).sum())(x), torch.func.grad(lambda x: layer.module(x).sum())(x)
    )
    return layer.module(x)


MODES = {
    "FlopCounterMode": (flops, "dispatch mode"),
    "make_fx": (make_fx, None),
    "jit.trace": (jit, "jit tracing"),
    "dual": (dual, "forward-mode AD"),
    "jvp": (jvp, None),
    "func.grad": (func_grad, None),
    "vmap": (lambda layer, x: torch.vmap(lambda x: layer(x))(x), None),
}


@pytest.mark.parametrize("name", MODES)
def test_modes(silu, name):
    use, reason = MODES[name]
    x = torch.randn(6, 32)
    torch.testing.assert_close(use(silu, x), silu.module(x))
    assert silu.owned >= 1 and sum(silu.counts.values()) == silu.owned
    assert reason is None or set(silu.counts) == {reason}
    before = silu.owned
    silu(x)
    assert silu.owned == before


def test_vmap_over_closed_tensors(silu):
    """Plain tensors under a transform are its constants: kernels know nothing of the transform."""
    x = torch.randn(6, 32)
    torch.vmap(lambda i: silu(x) + i)(torch.arange(3.0))
    assert silu.counts == {"function transform": 1}


def test_operator_route(silu):
    seen = []
    silu.call.operator = lambda module, *args: seen.append((module, args)) or "operator"
    assert flops(silu, X) == "operator" and seen == [(silu.module, (X,))]
    assert flops(lambda x: silu(x=x), X) == "operator" and len(seen) == 2 and silu.owned == 0
    assert isinstance(silu(X), torch.Tensor)
    dual(silu, torch.randn(2, 32))  # before the operator
    assert len(seen) == 2


def test_gradients_route(silu, norm):
    x = torch.randn(2, 32, requires_grad=True)
    assert silu(x).requires_grad and silu.counts == {"gradients": 1}  # without a node of autograd
    seen = []
    silu.call.autograd = lambda module, *args: seen.append(args) or "node"
    assert silu(x) == "node" and silu(x=x) == "node" and len(seen) == 2
    with torch.no_grad():
        assert not silu(x).requires_grad
    assert silu(x.detach()).requires_grad is False and len(seen) == 2
    norm.module.weight.requires_grad_()  # of a member
    assert norm(torch.randn(2, 16)).requires_grad and norm.counts == {"gradients": 1}


@pytest.mark.parametrize("declared", ["neutral", "lower", None])
def test_autocast(changed, declared):
    layer = changed(autocast=declared)
    assert layer.call.kernel.layer.autocast == (declared or "")
    with torch.autocast("cpu", torch.bfloat16):
        layer(X)
    assert layer.counts == ({} if declared == "neutral" else {"autocast": 1})
    layer(X)
    with torch.autocast("cuda", torch.bfloat16):  # of another device
        layer(X)
    assert layer.owned == len(layer.counts)


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


# --- backward ---


def gradients(module, args, values, seed):
    """Eager's, in the dtype of the arguments: of inputs, then members."""
    leaves = [v.detach().clone().requires_grad_() if isinstance(v, torch.Tensor) else v for v in values]
    made = as_tuple(module(*leaves[: len(args)]) if len(leaves) == len(args) else torch.func.functional_call(
        module, {"weight": leaves[len(args)]}, tuple(leaves[: len(args)])))  # fmt: skip
    wanted = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    return torch.autograd.grad(made, wanted, seed)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("package, name, make", [
    *(("activation", name, lambda d, name=name: Function(ACTIVATIONS[name])) for name in ACTIVATIONS),
    *(("normalization", name, lambda d, name=name: NORMS[name](32, d)) for name in ("LlamaRMSNorm", "RMSNormScaleCast")),
])  # fmt: skip
def test_backward(build, package, name, make, dtype):
    module = make(dtype)
    layer = Layer(build, package, name, module)
    torch.manual_seed(0)
    x = torch.randn(512, 32).to(dtype)
    values = [x, *layer.call.members(module)]
    for seed in (torch.randn_like(module(x)), torch.ones((), dtype=dtype).expand(module(x).shape)):
        exact = gradients(copy.deepcopy(module).double(), [x], [v.double() if isinstance(v, torch.Tensor) else v for v in values],
                          [seed.double()])  # fmt: skip
        plain = gradients(module, [x], values, [seed])
        made = layer.call.run_backward(values, None, [seed], [True] * len(values))
        assert len(made) == len(values) and all(m is None for m in made[len(plain) :])
        hold(tuple(made[: len(plain)]), tuple(plain), tuple(exact), layer.declared(dtype))
    only = layer.call.run_backward(values, None, [seed], [False, *[True] * (len(values) - 1)])
    assert only[0] is None


def test_backward_zero_rows(norm):
    """No row, no contribution: the memory that the kernel never wrote must not show. (Freed memory is given out again.)"""
    values = [torch.randn(0, 16), *norm.call.members(norm.module)]
    for _ in range(20):
        torch.full((16,), 9.0)
        dx, dw, none = norm.call.run_backward(values, None, [torch.randn(0, 16)], [True, True, False])
        assert dx.shape == (0, 16) and none is None and torch.equal(dw, torch.zeros(16))


def test_backward_refuses(silu):
    x = torch.randn(2, 32)
    assert silu.call.run_backward([x], None, [torch.randn(2, 15)], [True]) is None
    assert silu.call.run_backward([x.double()], None, [torch.randn(2, 16)], [True]) is None
    made = silu.call.run_backward([x], None, [torch._neg_view(torch.ones(2, 16))], [True])
    torch.testing.assert_close(made, silu.call.run_backward([x], None, [-torch.ones(2, 16)], [True]))
    (none,) = silu.call.run_backward([x], None, [None], [True])
    assert torch.equal(none, torch.zeros_like(x))
    for bad in [([], None, [x], [True]), ([x], [], [x], [True]), ([x], None, [], [True]), ([x], None, [x], [])]:
        with pytest.raises(TypeError, match="run_backward: 0"):
            silu.call.run_backward(*bad)


# --- the parts ---


def test_run(silu, strict):
    torch.testing.assert_close(silu.call.run(silu.module, X), silu.module(X))
    assert silu.call.run(silu.module, X.double()) is NotImplemented and silu.counts == {"dtype": 1}
    assert silu.call.run(silu.module, torch._neg_view(X)) is NotImplemented
    assert silu.call.run(silu.module, X, X) is NotImplemented and silu.owned == 0
    with pytest.raises(Exception, match="dtype f64"):
        strict.call.run(strict.module, X.double())


def test_counts(silu):
    silu.call.count(silu.module, "a reason")
    silu(X.double()), silu(X.double())
    assert silu.counts == {"a reason": 1, "dtype": 2}
    copied = copy.deepcopy(silu.module)
    assert _kernels.fallback_counts(copied) == {}
    silu.call.count(copied, "x")
    assert _kernels.fallback_counts(copied) == {"x": 1} and silu.counts == {"a reason": 1, "dtype": 2}
    module = nn.Linear(1, 1)
    silu.call.count(module, "x")
    assert _kernels.fallback_counts(pickle.loads(pickle.dumps(module))) == {}
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    assert _kernels.fallback_counts(torch.load(file, weights_only=False)) == {}


def test_functions(build):
    """The forward of a function: the function object stands for the module."""

    def act(x):
        return F.silu(x)

    call = _kernels.Call(_kernels.HostKernel(str(build / "packages" / "activation"), "SiLU"), lambda function, x: function(x))
    torch.testing.assert_close(call.function(act, X), act(X))
    assert call.function(act, X.double()).dtype == torch.float64
    assert _kernels.fallback_counts(act) == {"dtype": 1} and call.members(act) == ()


def test_host_kernel(silu):
    kernel = silu.call.kernel
    assert (kernel.layer_name, kernel.device, kernel.device_index, kernel.strict) == ("SiluAndMul", "cpu", -1, False)
    assert (kernel.mode, kernel.level, kernel.hosted, kernel.revision) == (4, "none", None, "")
    assert kernel.layer.name == "SiluAndMul" and "tvm-ffi" in kernel.variant and kernel.repository == kernel.text
    with pytest.raises(TypeError):
        _kernels.Call(kernel, 1)
    with pytest.raises(TypeError, match="accepted a HostKernel"):
        _kernels.Call(1, print)


def test_another_device(build):
    layer = Layer(build, "activation", "SiluAndMul", Function(ACTIVATIONS["SiluAndMul"]), device_index=1)
    layer(X)
    assert layer.counts == {"device": 1}
    named = Layer(build, "activation", "SiluAndMul", Function(ACTIVATIONS["SiluAndMul"]), device_index=1, strict=True)
    with pytest.raises(Exception, match="on device 0 of its type, accepted device 1, which the code was chosen for"):
        named(X)


# --- memory and threads ---


@pytest.mark.extension
def test_references(silu, norm):
    x, y = torch.randn(2, 32), torch.randn(2, 16)
    wrong = y.double()
    things = [x, y, wrong, silu.module, norm.module, norm.module.weight, silu.call, silu.call.own, None, True]

    def once():
        silu(x), norm(y), silu(x=x), norm(wrong), silu.call.run(silu.module, x)
        norm.call.run_backward([y, *norm.call.members(norm.module)], None, [y], [True, True, False])
        norm.call.run_backward([y, *norm.call.members(norm.module)], None, [wrong], [True, True, False])

    once()
    gc.collect()
    before, objects = [sys.getrefcount(thing) for thing in things[:-2]], len(gc.get_objects())
    for _ in range(1000):
        once()
    gc.collect()
    assert [sys.getrefcount(thing) for thing in things[:-2]] == before
    assert len(gc.get_objects()) <= objects + 20


def memory(field):
    """Of this process, in bytes: 0 is what is mapped, 1 what is resident."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[field]) * 4096


def test_constant_memory(silu):
    x, wrong = torch.randn(64, 512), torch.randn(2, 32).double()
    for _ in range(200):
        silu(x), silu(wrong)
    before = memory(1)
    for _ in range(10_000):
        silu(x), silu(wrong)
    assert memory(1) - before < 8 << 20


def test_kernel_errors(changed):
    """What a kernel raises is an error, not a reason to fall back; the results that nobody gets are freed."""
    layer = changed(forward="silu(y, x)")  # which refuses results of another shape
    x = torch.randn(64, 8192)  # a megabyte of results

    def once():
        with pytest.raises(Exception, match="kernel layer SiluAndMul: silu: .*shape") as raised:
            layer(x)
        assert type(raised.value).__module__ == "kernels.errors"
        with pytest.raises(Exception, match="kernel layer SiluAndMul: silu"):
            layer.call.run(layer.module, x)

    once()
    before = memory(0)  # nobody writes what leaks
    for _ in range(200):
        once()
    assert memory(0) - before < 64 << 20
    assert layer.owned == 0 and layer.counts == {}


def test_forked_child(run_python, build):
    """A child that was forked beside a parent whose threads are warm calls, too."""
    run_python(
        """
import ctypes, os, sys, torch
from kernels import _kernels
numbers = lambda y: ctypes.string_at(y.data_ptr(), 4 * y.numel())
call = _kernels.Call(_kernels.HostKernel(sys.argv[1], "SiluAndMul"), print)
x, module = torch.randn(512, 2048), torch.nn.Identity()
with torch.no_grad():
    want = numbers(call.function(module, x))
    child = os.fork()
    if child == 0:  # PyTorch's own threads hang here
        os._exit(0 if numbers(call.function(module, x)) == want else 1)
assert os.waitpid(child, 0)[1] == 0
""",
        build / "packages" / "activation",
        timeout=60,
    )


def test_call_is_collected(build):
    import weakref

    class Own:
        def __call__(self, module, x):
            return x

    own = Own()
    call = _kernels.Call(_kernels.HostKernel(str(build / "packages" / "activation"), "SiLU"), own)
    call.autograd = lambda module, x: call  # a cycle
    gone = weakref.ref(own)
    del own, call
    gc.collect()
    assert gone() is None


def run_threads(work, n=4):
    failures = []

    def guarded():
        try:
            work()
        except BaseException as failure:  # noqa: BLE001
            failures.append(failure)

    threads = [threading.Thread(target=guarded) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def test_threads(silu):
    small, large = torch.randn(2, 32), torch.randn(512, 2048)  # with the GIL, and without
    want = silu(small), silu(large)

    def work():
        for _ in range(50):
            assert torch.equal(silu(small), want[0]) and torch.equal(silu(large), want[1])

    run_threads(work)
    assert silu.owned == 0


def test_threads_replace_members(build):
    """A member that another thread replaces while the kernel reads it lives until the kernel is done."""
    layer = Layer(build, "normalization", "LlamaRMSNorm", Norm(4096))
    x, done = torch.randn(256, 4096), threading.Event()

    def replace():
        while not done.is_set():
            layer.module.weight = nn.Parameter(torch.full((4096,), 2.0), requires_grad=False)

    layer.module.weight = nn.Parameter(torch.full((4096,), 2.0), requires_grad=False)
    want = layer(x)
    other = threading.Thread(target=replace)
    other.start()
    try:
        for _ in range(100):
            assert torch.equal(layer(x), want)
    finally:
        done.set()
        other.join()
    assert layer.owned == 0
