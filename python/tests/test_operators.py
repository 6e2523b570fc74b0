"""Native layers in graphs and under dispatch modes: there is the operator, with the numbers of the own forward."""

import contextlib
import inspect

import pytest
import torch
from native_layers import (
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
from torch._dynamo.testing import CompileCounterWithBackend
from torch._dynamo.utils import counters
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from kernels import _kernels
from kernels._torch import operators
from kernels.errors import ArgumentsError

CLASSES = (SiluAndMul, SiLU, RMSNorm, FusedAddRMSNorm, LayerNorm, Rotary)
WITH_BACKWARD = tuple(cls for cls in CLASSES if cls is not FusedAddRMSNorm)


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    counters.clear()
    torch.manual_seed(0)


class Seen:
    """A backend of torch.compile that keeps the names of operators in its graphs."""

    def __init__(self, backend="aot_eager"):
        self.count = CompileCounterWithBackend(backend)

    def __call__(self, graph, inputs):
        return self.count(graph, inputs)

    @property
    def kernels(self):
        targets = [str(node.target) for graph in self.count.graphs for node in graph.graph.nodes]
        return [target for target in targets if target.startswith("kernels_")]


def assert_same(given, wanted):
    given, wanted = (made if isinstance(made, tuple) else (made,) for made in (given, wanted))
    for one, other in zip(given, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
        assert one.stride() == other.stride()


@pytest.mark.parametrize("cls", CLASSES)
def test_compiles_whole_and_twice_for_five_shapes(cls):
    module, own, _ = pair(cls, *module_args(cls))
    seen = Seen()
    compiled = torch.compile(module, fullgraph=True, backend=seen)
    for n in (3, 4, 5, 7, 9):
        args = inputs_of(cls, n=n)
        with torch.no_grad():
            assert_same(compiled(*args), own(*args))
    assert seen.count.frame_count <= 2
    assert len(seen.kernels) == seen.count.frame_count


@pytest.mark.parametrize("cls", WITH_BACKWARD)
def test_trains_in_a_graph(cls):
    module, own, call = pair(cls, *module_args(cls))
    seen = Seen()
    compiled = torch.compile(module, fullgraph=True, backend=seen)
    for n in (3, 5):
        args, same = inputs_of(cls, requires_grad=True, n=n), None
        same = tuple(arg.detach().clone().requires_grad_(arg.requires_grad) for arg in args)
        for forward, given in ((compiled, args), (own, same)):
            made = forward(*given)
            made = made if isinstance(made, tuple) else (made,)
            sum((one * one.detach().cos()).sum() for one in made).backward()
        for one, other in zip([*args, *module.parameters()], [*same, *own.parameters()], strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)
    assert seen.kernels
    assert _kernels.fallback_counts(module) == {}


def test_without_backward_a_graph_that_wants_gradients_has_the_own_forward():
    module, own, _ = pair(FusedAddRMSNorm, 8)
    seen = Seen()
    args = inputs_of(FusedAddRMSNorm, requires_grad=True)
    y, total = torch.compile(module, fullgraph=True, backend=seen)(*args)
    (y.sum() + total.sum()).backward()
    assert seen.kernels == []
    assert all(tensor.grad is not None for tensor in (*args, module.weight))


def test_inductor():
    class Block(nn.Module):
        def __init__(self, norm, act):
            super().__init__()
            self.norm, self.up, self.act = norm, nn.Linear(16, 32, bias=False), act

        def forward(self, x):
            return x + self.act(self.up(self.norm(x)))

    norm, own_norm, _ = pair(RMSNorm, 16)
    block, own = Block(norm, bind(SiluAndMul)[0]()), Block(own_norm, SiluAndMul())
    own.load_state_dict(block.state_dict())
    seen = Seen("inductor")
    compiled = torch.compile(block, fullgraph=True, backend=seen)
    for n in (2, 3, 5):
        x = torch.randn(n, 4, 16)
        torch.testing.assert_close(compiled(x), own(x), rtol=1e-5, atol=1e-5)
    assert len(seen.kernels) == 2 * seen.count.frame_count <= 4


def test_what_does_not_fit_is_traced_as_the_own_forward():
    module, own, _ = pair(RMSNorm, 8, strict=False)
    for x in (torch.randn(3, 8, dtype=torch.float64), torch.randn(8).to_sparse().to_dense()[None, :4].repeat(1, 2)):
        seen = Seen()
        compiled = torch.compile(module, fullgraph=True, backend=seen)
        with torch.no_grad():
            assert_same(compiled(x), own(x))
        assert bool(seen.kernels) == (x.dtype is torch.float32)
    module.weight = None
    with pytest.raises(TypeError):  # the own forward's error
        module(torch.randn(3, 8))


def test_strict_raises_where_it_is_traced():
    module, _, _ = pair(RMSNorm, 8, strict=True)
    with pytest.raises(Exception, match="dtype") as raised:
        torch.compile(module, fullgraph=True, backend="eager")(torch.randn(3, 8, dtype=torch.float64))
    assert "RMSNorm" in str(raised.value)
    with pytest.raises(ArgumentsError):
        module(torch.randn(3, 8, dtype=torch.float64))


# What a kernel cannot take in memory: the graph has its operator all the same, which copies.
LAYOUTS = {
    "transposed": lambda: torch.randn(8, 3).t(),
    "every second column": lambda: torch.randn(3, 16)[:, ::2],
    "expanded": lambda: torch.randn(1, 1).expand(3, 8),
    "negated": lambda: torch.randn(3, 8, dtype=torch.complex64).conj().imag,
    "zeros without memory": lambda: torch._efficientzerotensor((3, 8)),
    "channels last": lambda: torch.randn(2, 8, 3, 4).to(memory_format=torch.channels_last),
    "no rows": lambda: torch.randn(0, 8),
    "no columns to fold": lambda: torch.randn(4, 3, 8).transpose(0, 1),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("cls", [SiLU, SiluAndMul])
def test_layouts_are_the_operators_matter(cls, layout):
    module, own, call = pair(cls)
    x = LAYOUTS[layout]()
    with torch.no_grad():
        operator = operators.operator(call).forward
        wanted, given = own(x), operator(x)
        torch.testing.assert_close(given, wanted, rtol=1e-5, atol=1e-5)
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            fake = operator(mode.from_tensor(x))
        assert [s for n, s in zip(given.shape, given.stride()) if n > 1 and given.numel()] == [
            s for n, s in zip(fake.shape, fake.stride()) if n > 1 and given.numel()
        ]
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("cls", [SiLU, RMSNorm, FusedAddRMSNorm, Rotary])
def test_export(cls, strict):
    module, own, _ = pair(cls, *module_args(cls))
    args = inputs_of(cls, n=3)
    rows = torch.export.Dim("rows")
    axis = {3: 1, 4: 2}
    dims = [{axis[arg.dim()]: rows} if cls is not Rotary or arg.dim() == 4 else {1: rows} for arg in args]
    with torch.no_grad():
        exported = torch.export.export(module, args, dynamic_shapes=_by_name(own, dims), strict=strict)
    targets = [str(node.target) for node in exported.graph.nodes]
    assert sum(target.startswith("kernels_") for target in targets) == 1, targets
    args = inputs_of(cls, n=6)
    with torch.no_grad():
        assert_same(exported.module()(*args), own(*args))
    assert {name for name, _ in exported.named_parameters()} == {name for name, _ in own.named_parameters()}


def _by_name(own, dims):
    names = [name for name in inspect.signature(own.forward).parameters if name != "unsqueeze_dim"]
    return dict(zip(names, dims, strict=True))


CHECKED = {
    RMSNorm: lambda: (torch.randn(3, 8, requires_grad=True), torch.rand(8, requires_grad=True), 1e-6),
    LayerNorm: lambda: (torch.randn(3, 8, dtype=torch.bfloat16), torch.rand(8, dtype=torch.bfloat16), None, 1e-5),
    SiLU: lambda: (torch.randn(8, 3).t().requires_grad_(),),
    SiluAndMul: lambda: (torch.randn(3, 16)[:, ::2],),
    FusedAddRMSNorm: lambda: (torch.randn(3, 8), torch.randn(3, 8), torch.rand(8), 1e-6),
    Rotary: lambda: (*inputs_of(Rotary, requires_grad=True), 1),
}


@pytest.mark.parametrize("cls", CHECKED)
def test_opcheck(cls):
    operator = operators.operator(make_call(cls))
    args = CHECKED[cls]()
    torch.library.opcheck(operator.forward, args)
    if operator.backward is None:
        return
    args = tuple(arg.detach() if isinstance(arg, torch.Tensor) else arg for arg in args)
    made = operator.forward(*args)
    grads = [torch.randn_like(one) for one in (made if isinstance(made, tuple) else (made,))]
    grad_of = {param.of for param in operator.program.grad_outputs}
    needs = [isinstance(arg, torch.Tensor) and at in grad_of for at, arg in enumerate(args)]
    torch.library.opcheck(operator.backward, (*args, *grads, needs))


def test_one_operator_for_the_same_content():
    first, second = (operators.operator(make_call(RMSNorm)) for _ in range(2))
    assert first is second
    assert str(first.forward).startswith("kernels_normalization_")
    assert operators.operator(make_call(LayerNorm)) is not first


class Log(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.seen.append(str(function))
        return function(*args, **(kwargs or {}))

    @property
    def kernels(self):
        return [name.split("::")[-1].split(".")[1] for name in self.seen if name.startswith("kernels_")]


def test_modes_see_the_operators():
    module, own, _ = pair(RMSNorm, 8)
    x, same = (torch.ones(3, 8).requires_grad_() for _ in range(2))
    with Log() as log:
        module(x).pow(2).sum().backward()
    own(same).pow(2).sum().backward()
    assert log.kernels == ["LlamaRMSNorm", "LlamaRMSNorm_backward"]
    torch.testing.assert_close(x.grad, same.grad)
    torch.testing.assert_close(module.weight.grad, own.weight.grad)


def test_gradients_that_no_kernel_makes_under_modes():
    """As without modes: the own forward where one gradient is missing, an error in backward where all are."""
    module, own, _ = pair(Rotary)
    args = inputs_of(Rotary, requires_grad=True)
    args[2].requires_grad_()
    same = tuple(arg.detach().clone().requires_grad_(arg.requires_grad) for arg in args)
    with Log() as log:
        module(*args)[0].pow(2).sum().backward()
    own(*same)[0].pow(2).sum().backward()
    torch.testing.assert_close(args[2].grad, same[2].grad)
    assert log.kernels == [] and _kernels.fallback_counts(module) == {"gradients": 1}
    module, _, _ = pair(FusedAddRMSNorm, 8)
    with Log() as log:
        made = module(*inputs_of(FusedAddRMSNorm, requires_grad=True))
    assert log.kernels == ["FusedAddRMSNorm"]
    for one in made:
        with pytest.raises(RuntimeError, match="kernelize with Mode.TRAINING"):
            one.sum().backward(retain_graph=True)


@pytest.mark.parametrize("make, reason", [
    (lambda: torch.randn(3, 8, dtype=torch.float64), "dtype"),
    (lambda: nn.Parameter(torch.randn(3, 4)), "shape"),
])  # fmt: skip
def test_what_modes_send_to_the_own_forward_is_counted(make, reason):
    module, _, _ = pair(RMSNorm, 8)
    with Log(), contextlib.suppress(RuntimeError):
        module(make())
    assert _kernels.fallback_counts(module) == {reason: 1}


def test_flops_and_fake_tensors():
    from torch.utils.flop_counter import FlopCounterMode

    module, own, _ = pair(RMSNorm, 8)
    model = nn.Sequential(nn.Linear(8, 8), module)
    with FlopCounterMode(display=False) as flops:
        model(torch.randn(3, 8))
    assert flops.get_total_flops() == 2 * 3 * 8 * 8
    with FakeTensorMode() as mode:
        x = mode.from_tensor(torch.randn(3, 8))
        y = pair(RMSNorm, 8)[0](x)
    assert y.shape == (3, 8)
    assert type(y).__name__ == "FakeTensor"


def test_profilers_see_a_name():
    module, _, call = pair(SiluAndMul)
    with torch.profiler.profile() as profile, torch.no_grad():
        torch.compile(module, backend="aot_eager")(torch.randn(3, 8))
    name = operators.operator(call).name
    assert name in {event.key for event in profile.key_averages()}


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_make_fx(mode):
    module, own, _ = pair(RMSNorm, 8)

    def gradient(x):
        return torch.autograd.grad(module(x).pow(2).sum(), x)[0]

    x = torch.randn(3, 8, requires_grad=True)
    graph = make_fx(gradient, tracing_mode=mode, _allow_non_fake_inputs=True)(x)
    x = torch.randn(3, 8, requires_grad=True)
    torch.testing.assert_close(graph(x), torch.autograd.grad(own(x).pow(2).sum(), x)[0], rtol=1e-4, atol=1e-5)
    assert ("RMSNorm_backward" in graph.code) == (mode == "real")  # subclasses have the own forward


@pytest.mark.parametrize("where", ["eager", "compiled", "mode"])
@pytest.mark.parametrize("cls", [SiluAndMul, RMSNorm])
def test_transforms_of_functions_have_the_own_forward(cls, where):
    module, own, _ = pair(cls, *module_args(cls))
    x, tangent = torch.randn(2, 3, 8), torch.randn(2, 3, 8)

    def through(forward):
        def function(x, tangent):
            one = torch.func.jvp(forward, (x,), (tangent,))
            return (*one, torch.func.vmap(forward)(x), torch.func.grad(lambda x: forward(x).sum())(x))

        return function

    def dual(forward, x):
        with torch.autograd.forward_ad.dual_level():
            made = torch.autograd.forward_ad.make_dual(x, tangent)
            return torch.autograd.forward_ad.unpack_dual(forward(made))[1]

    function = through(module)
    if where == "compiled":
        function = torch.compile(function, fullgraph=True, backend="aot_eager")
    with Log() if where == "mode" else torch.enable_grad():
        given = function(x, tangent)
        lost = dual(module, x)
    for one, other in zip((*given, lost), (*through(own)(x, tangent), dual(own, x)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert given[1].abs().sum() > 0


def test_autocast():
    module, own, _ = pair(RMSNorm, 8)
    seen = Seen()
    compiled = torch.compile(module, fullgraph=True, backend=seen)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        x = torch.randn(3, 8)
        assert_same(compiled(x), own(x))
    assert seen.kernels


def test_members_are_read_when_called():
    module, own, _ = pair(RMSNorm, 8)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    x = torch.randn(3, 8)
    with torch.no_grad():
        compiled(x)
        for change in (lambda m: m.weight.mul_(2), lambda m: setattr(m, "variance_epsilon", 1.0)):
            change(module), change(own)
            assert_same(compiled(x), own(x))
        weight = torch.rand(8)
        given = torch.func.functional_call(module, {"weight": weight}, (x,))
        assert_same(given, torch.func.functional_call(own, {"weight": weight}, (x,)))
    for parametrized in (module, own):
        nn.utils.parametrize.register_parametrization(parametrized, "weight", nn.Softplus())
    with torch.no_grad():
        assert_same(torch.compile(module, backend="aot_eager")(x), own(x))
