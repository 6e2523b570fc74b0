"""Gradients in eager mode: those of the own forward in f64, whoever asks for them and however often."""

import itertools
import threading

import pytest
import torch
from native_layers import (
    LAYERS,
    FusedAddRMSNorm,
    LayerNorm,
    RMSNorm,
    Rotary,
    SiLU,
    SiluAndMul,
    bind,
    inputs_of,
    make_call,
    module_args,
    pair,
)
from torch import nn
from torch.utils.checkpoint import checkpoint

from kernels import _kernels

CLASSES = (SiluAndMul, SiLU, RMSNorm, LayerNorm, Rotary)
# Of gradients against those in f64, relative to the largest one: what is declared for the forward, and sums of rows.
TOLERANCES = {torch.float32: 3e-5, torch.float16: 6e-3, torch.bfloat16: 5e-2}


def tensors_of(module, args):
    return [*args, *module.parameters()]


def results_of(made):
    return made if isinstance(made, tuple) else (made,)


def in_f64(own, args):
    """The module and arguments again, in f64, with the same tensors asking for gradients."""
    double = type(own)(*module_args(type(own))).double()
    double.load_state_dict(own.state_dict())
    for one, other in zip(double.parameters(), own.parameters(), strict=True):
        one.requires_grad_(other.requires_grad)
    given = tuple(
        arg.detach().double().requires_grad_(arg.requires_grad) if arg.is_floating_point() else arg for arg in args
    )
    return double, given


def backward(module, args, weights):
    made = results_of(module(*args))
    pairs = [(one, w.to(one.dtype)) for one, w in zip(made, weights, strict=True) if w is not None]
    torch.autograd.backward([one for one, _ in pairs], [w for _, w in pairs])
    return made


def assert_gradients(module, args, own, same, dtype):
    for one, other in zip(tensors_of(module, args), tensors_of(own, same), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            assert one.grad.dtype == one.dtype and one.grad.shape == one.shape
            scale = other.grad.abs().max().clamp(min=1e-3)
            assert (one.grad.double() - other.grad).abs().max() <= TOLERANCES[dtype] * scale


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("cls", CLASSES)
def test_every_subset_of_what_wants_gradients(cls, dtype):
    bound, _ = bind(cls)
    n_inputs = len(inputs_of(cls))
    n_differentiable = 2 if cls is Rotary else n_inputs
    n_members = len(list(bound(*module_args(cls)).parameters()))
    for wanted in itertools.product((False, True), repeat=n_differentiable + n_members):
        if not any(wanted):
            continue
        torch.manual_seed(1)
        module = bound(*module_args(cls)).to(dtype)
        args = inputs_of(cls, dtype)
        for tensor, want in zip([*args[:n_differentiable], *module.parameters()], wanted, strict=True):
            tensor.requires_grad_(want)
        own, same = in_f64(module_of_own(cls, module), args)
        weights = [torch.randn_like(one) if one.requires_grad else None for one in results_of(own(*same))]
        for one in backward(module, args, weights):
            assert one.grad_fn.name() == f"{LAYERS[cls][1]}Backward"
        assert _kernels.fallback_counts(module) == {}
        backward(own, same, weights)
        assert_gradients(module, args, own, same, dtype)


def module_of_own(cls, module):
    own = cls(*module_args(cls)).to(next(iter(module.parameters()), torch.empty(0)).dtype)
    own.load_state_dict(module.state_dict())
    for one, other in zip(own.parameters(), module.parameters(), strict=True):
        one.requires_grad_(other.requires_grad)
    return own


# How a gradient comes in: y -> the scalar that backward is called on.
ENDS = {
    "expanded": lambda y: y.sum(),
    "transposed": lambda y: (y.transpose(0, -1).contiguous() * y.detach().cos().transpose(0, -1)).sum(),
    "of another dtype": lambda y: y.double().pow(2).sum(),
    "of a slice": lambda y: y[..., ::2].pow(2).sum(),
    "negated": lambda y: -(y * y.detach()).sum(),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("cls", [SiluAndMul, SiLU, RMSNorm])
def test_gradients_of_any_kind_come_in(cls, end):
    module, own, _ = pair(cls, *module_args(cls))
    args = inputs_of(cls, requires_grad=True)
    same = tuple(arg.detach().clone().requires_grad_() for arg in args)
    ENDS[end](module(*args)).backward()
    ENDS[end](own(*same)).backward()
    for one, other in zip(tensors_of(module, args), tensors_of(own, same), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_one_of_two_results():
    module, own, _ = pair(Rotary)
    for index in (0, 1):
        args = inputs_of(Rotary, requires_grad=True)
        same = tuple(arg.detach().clone().requires_grad_(arg.requires_grad) for arg in args)
        module(*args)[index].pow(2).sum().backward()
        own(*same)[index].pow(2).sum().backward()
        for one, other in zip(args[:2], same[:2]):
            torch.testing.assert_close(
                torch.zeros_like(one) if one.grad is None else one.grad,
                torch.zeros_like(other) if other.grad is None else other.grad,
            )
        assert _kernels.fallback_counts(module) == {}


def test_a_gradient_that_no_kernel_makes_has_the_own_forward():
    module, own, _ = pair(Rotary)
    args = inputs_of(Rotary, requires_grad=True)
    args[2].requires_grad_()
    same = tuple(arg.detach().clone().requires_grad_(arg.requires_grad) for arg in args)
    module(*args)[0].pow(2).sum().backward()
    own(*same)[0].pow(2).sum().backward()
    torch.testing.assert_close(args[2].grad, same[2].grad)
    assert _kernels.fallback_counts(module) == {"gradients": 1}


def test_fallbacks_of_calls_that_want_gradients_are_counted_once():
    module, own, _ = pair(RMSNorm, 8)
    x = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)
    module(x).sum().backward()
    assert _kernels.fallback_counts(module) == {"dtype": 1} and x.grad is not None
    call = make_call(RMSNorm)
    parametrized = nn.utils.parametrize.register_parametrization(RMSNorm(8), "weight", nn.Identity())
    call.function(parametrized, torch.randn(3, 8)).sum().backward()
    assert _kernels.fallback_counts(parametrized) == {"member missing": 1}


@pytest.mark.parametrize("cls", CLASSES)
def test_gradients_of_gradients(cls):
    module, own, _ = pair(cls, *module_args(cls))
    args = inputs_of(cls, requires_grad=True)
    same = tuple(arg.detach().clone().requires_grad_(arg.requires_grad) for arg in args)
    found = []
    for forward, given in ((module, args), (own, same)):
        wanted = [tensor for tensor in tensors_of(forward, given) if tensor.requires_grad]
        loss = sum(one.pow(3).sum() for one in results_of(forward(*given)))
        first = torch.autograd.grad(loss, wanted, create_graph=True)
        second = torch.autograd.grad(sum(one.pow(2).sum() for one in first), wanted)
        found.append((*first, *second))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_gradients_of_gradients_where_one_argument_comes_from_another():
    """The weight is a function of x: what flows through it is not counted twice."""
    module, own, _ = pair(RMSNorm, 8)
    found = []
    for forward in (module, own):
        torch.manual_seed(3)
        x = torch.randn(3, 8, requires_grad=True)
        del forward.weight
        forward._buffers["weight"] = x[0] * 2
        first = torch.autograd.grad(forward(x).pow(2).sum(), x, create_graph=True)[0]
        found.append((first, torch.autograd.grad(first.pow(2).sum(), x)[0]))
    assert _kernels.fallback_counts(module) == {"gradients": 1}
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_only_saved_tensors_are_read():
    """What the module holds after forward does not matter, and writing into what was saved is noticed."""
    module, own, _ = pair(RMSNorm, 8)
    found = []
    for forward in (module, own):
        torch.manual_seed(3)
        x = torch.randn(3, 8, requires_grad=True)
        weight = forward.weight
        loss = forward(x).pow(2).sum()
        forward.weight, forward.variance_epsilon = nn.Parameter(torch.full((8,), 100.0)), 1e3
        for graph in (True, False):
            found.append(torch.autograd.grad(loss, (x, weight), create_graph=graph, retain_graph=True))
    for one, other in zip(found[0] + found[1], found[2] + found[3], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    loss = module(x).sum()
    with torch.no_grad():
        module.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_without_backward_the_result_raises_when_it_is_asked_for():
    module, own, _ = pair(FusedAddRMSNorm, 8)
    args = inputs_of(FusedAddRMSNorm, requires_grad=True)
    y, total = module(*args)
    assert _kernels.fallback_counts(module) == {}
    assert y.requires_grad and total.requires_grad
    torch.testing.assert_close(y, own(*args)[0], rtol=1e-5, atol=1e-5)
    for one in (y, total):
        with pytest.raises(RuntimeError, match="kernelize with Mode.TRAINING"):
            one.sum().backward(retain_graph=True)
    with torch.no_grad():
        assert not module(*args)[0].requires_grad


def test_nothing_wants_gradients():
    module, _, _ = pair(RMSNorm, 8)
    with torch.no_grad():
        assert module(torch.randn(3, 8, requires_grad=True)).grad_fn is None
    module.requires_grad_(False)
    assert not module(torch.randn(3, 8)).requires_grad
    with torch.inference_mode():
        assert module(torch.randn(3, 8)).is_inference()


@pytest.mark.parametrize("shape", [(0, 8), (2, 0, 8)])
def test_no_rows(shape):
    module, _, _ = pair(RMSNorm, 8)
    x = torch.randn(shape, requires_grad=True)
    module(x).sum().backward()
    assert x.grad.shape == shape
    assert module.weight.grad.tolist() == [0.0] * 8


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints(reentrant):
    norm, own_norm, _ = pair(RMSNorm, 8)
    act = bind(SiluAndMul)[0]()
    linear = nn.Linear(8, 16)
    found = []
    for blocks in (nn.Sequential(norm, linear, act), nn.Sequential(own_norm, linear, SiluAndMul())):
        torch.manual_seed(0)
        x = torch.randn(3, 8, requires_grad=True)
        linear.zero_grad()
        checkpoint(blocks, x, use_reentrant=reentrant).pow(2).sum().backward()
        found.append((x.grad, blocks[0].weight.grad, linear.weight.grad.clone()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_hooks_run_in_order_and_once():
    module, own, _ = pair(RMSNorm, 8)
    found = []
    for forward in (module, own):
        seen = []
        forward.register_forward_pre_hook(lambda *_, seen=seen: seen.append("forward pre"))
        forward.register_forward_hook(lambda *_, seen=seen: seen.append("forward"))
        forward.register_full_backward_pre_hook(lambda *_, seen=seen: seen.append("backward pre"))
        forward.register_full_backward_hook(lambda *_, seen=seen: seen.append("backward"))
        forward.weight.register_hook(lambda grad, seen=seen: seen.append("weight"))
        forward.weight.register_post_accumulate_grad_hook(lambda p, seen=seen: seen.append("accumulated"))
        x = torch.randn(3, 8, requires_grad=True)
        forward(x).sum().backward()
        found.append(seen)
    assert sorted(found[0]) == sorted(found[1])
    assert found[0][:3] == ["forward pre", "forward", "backward pre"]


def test_saved_tensor_hooks_see_what_is_saved():
    module, _, _ = pair(RMSNorm, 8)
    packed = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t) or len(packed) - 1, packed.__getitem__):
        y = module(torch.randn(3, 8, requires_grad=True))
    assert [tuple(t.shape) for t in packed] == [(3, 8), (8,)]
    y.sum().backward()
    assert module.weight.grad is not None


def test_a_backward_that_the_kernel_refuses_is_the_own_forwards_and_counted():
    """What comes back of the saved tensors has the negative bit: the kernel would read other numbers."""
    module, own, _ = pair(RMSNorm, 8)
    x = torch.randn(3, 8, requires_grad=True)
    same = x.detach().clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: -t.detach(), torch._neg_view):
        y = module(x)
    y.pow(2).sum().backward()
    own(same).pow(2).sum().backward()
    torch.testing.assert_close(x.grad, same.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(module.weight.grad, own.weight.grad, rtol=1e-4, atol=1e-5)
    assert _kernels.fallback_counts(module) == {"gradients": 1}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_and_scaled_losses(dtype):
    norm, own_norm, _ = pair(RMSNorm, 8)
    linear = nn.Linear(8, 8)
    found = []
    for forward in (norm, own_norm):
        scaler = torch.amp.GradScaler("cpu", init_scale=128.0)
        optimizer = torch.optim.SGD([*forward.parameters(), *linear.parameters()], lr=0.0)
        torch.manual_seed(0)
        x = torch.randn(3, 8)
        with torch.autocast("cpu", dtype):
            loss = forward(linear(x)).float().pow(2).mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        found.append((forward.weight.grad.clone(), linear.weight.grad.clone()))
        optimizer.zero_grad()
    assert _kernels.fallback_counts(norm) == {}
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=5e-2, atol=2e-2)


def test_training_reaches_the_loss_of_the_own_forward():
    norm, own_norm, _ = pair(RMSNorm, 8)
    act = bind(SiluAndMul)[0]()
    losses = []
    for first, second in ((norm, act), (own_norm, SiluAndMul())):
        torch.manual_seed(0)
        model = nn.Sequential(first, nn.Linear(8, 16), second, nn.Linear(8, 1))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        x = torch.randn(64, 8)
        for _ in range(20):
            loss = (model(x) - x.sum(-1, keepdim=True).tanh()).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert losses[0] < 0.5


def test_threads():
    module, own, _ = pair(RMSNorm, 64)
    failures = []

    def work(seed):
        generator = torch.Generator().manual_seed(seed)
        for _ in range(30):
            x = torch.randn(5, 64, generator=generator, requires_grad=True)
            given = torch.autograd.grad(module(x).pow(2).sum(), x)[0]
            if not torch.allclose(given, torch.autograd.grad(own(x).pow(2).sum(), x)[0], rtol=1e-3, atol=1e-4):
                failures.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_attached_when_asked():
    call = make_call(RMSNorm)
    before = call.autograd
    module = RMSNorm(8)
    call.function(module, torch.randn(3, 8)).sum().backward()
    assert call.autograd is not before
    assert module.weight.grad is not None
