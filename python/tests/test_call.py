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
The kernels here write the weight gradients of no rows by themselves: test_backward_zero_rows does not see whether the
call does.
"""

import copy
import io
import pickle

import pytest
import torch
from call_layers import (  # noqa: F401
    ACTIVATIONS,
    DTYPES,
    NORMS,
    X,
    Function,
    Layer,
    Norm,
    as_tuple,
    hold,
    norm,
    rotary,
    rotate_half,
    rotate_pairs,
    silu,
    strict,
)
from torch import nn
from torch.nn import functional as F

from kernels import _kernels


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
        if name == "LayerNorm" and weight != dtype:
            continue  # PyTorch refuses it
        if name in ("RMSNorm", "TorchRMSNorm") and weight != dtype:  # classes of that name differ in what comes out
            x = torch.randn(3, 48).to(dtype)
            made, own = layer(x), module(x)
            assert made.dtype is own.dtype and torch.equal(made, own) and layer.counts == {"dtype": 1}
            continue
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
@pytest.mark.parametrize(
    "name, rotate", [("rotary_pos_emb", rotate_half), ("rotary_pos_emb_interleaved", rotate_pairs)]
)
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
    # The same, but not what the kernel says it does.
    hold(layer(*args, -3), layer.module(*args), exact, layer.declared(dtype))
    assert layer.counts == {"value": 1}


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
    *(("normalization", n, lambda d, n=n: NORMS[n](32, d)) for n in ("LlamaRMSNorm", "RMSNormScaleCast")),
])  # fmt: skip
def test_backward(build, package, name, make, dtype):
    module = make(dtype)
    layer = Layer(build, package, name, module)
    torch.manual_seed(0)
    x = torch.randn(512, 32).to(dtype)
    values = [x, *layer.call.members(module)]
    for seed in (torch.randn_like(module(x)), torch.ones((), dtype=dtype).expand(module(x).shape)):
        wide = [v.double() if isinstance(v, torch.Tensor) else v for v in values]
        exact = gradients(copy.deepcopy(module).double(), [x], wide, [seed.double()])
        plain = gradients(module, [x], values, [seed])
        made = layer.call.run_backward(values, None, [seed], [True] * len(values))
        assert len(made) == len(values) and all(m is None for m in made[len(plain) :])
        hold(tuple(made[: len(plain)]), tuple(plain), tuple(exact), layer.declared(dtype))
    only = layer.call.run_backward(values, None, [seed], [False, *[True] * (len(values) - 1)])
    assert only[0] is None


def test_backward_zero_rows(norm):
    """No row, no contribution: memory that a kernel never wrote must not show. (Freed memory is given out again.)"""
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

    kernel = _kernels.HostKernel(str(build / "packages" / "activation"), "SiLU")
    call = _kernels.Call(kernel, lambda function, x: function(x))
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
