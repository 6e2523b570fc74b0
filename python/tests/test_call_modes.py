"""Native calls under what PyTorch does to a call: tracing, transforms, modes, gradients, autocast (test_call.py)."""

import pytest
import torch
from call_layers import X, changed, norm, silu  # noqa: F401

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
