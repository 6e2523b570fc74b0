"""Every layer of the packages here against its formula in f64: results, gradients, memory layouts, and its operator.

The error may be twice that of the formula in the layer's dtype, one unit in the last place, or what an f32 kernel says.
"""

import copy

import pytest
import torch
from call_layers import (
    ACTIVATIONS,
    DTYPES,
    NORMS,
    Function,
    FusedAdd,
    Layer,
    as_tuple,
    hold,
    rotary,
    rotate_half,
    rotate_pairs,
)
from torch import nn

from kernels import _kernels
from kernels._torch import autograd, operators


class Positions(nn.Module):
    """Angles are computed in f64, in both."""

    def __init__(self, rotate):
        super().__init__()
        self.rotate, self.theta = rotate, 10000.0

    def forward(self, q, k, positions):
        d = q.shape[-1]
        angle = positions[:, None, :, None].double() * self.theta ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
        angle = torch.cat((angle, angle), -1) if self.rotate is rotate_half else angle.repeat_interleave(2, -1)
        cos, sin = angle.cos().to(q.dtype), angle.sin().to(q.dtype)
        return q * cos + self.rotate(q) * sin, k * cos + self.rotate(k) * sin


def trained(make):
    return lambda dtype: make(16, dtype).requires_grad_()


def layer_norm(**options):
    return lambda dtype: nn.LayerNorm(16, eps=1e-5, **options).to(dtype)


def rows(*lead, n=1):
    return lambda dtype: tuple(torch.randn(*lead, 16).to(dtype) for _ in range(n))


def heads(dtype, length=5):
    return tuple(torch.randn(2, length, n, 16).to(dtype).transpose(1, 2) for n in (4, 2))


def angles(rotate):
    def make(dtype):
        half = torch.rand(1, 5, 8) * 6
        angle = torch.cat((half, half), -1) if rotate is rotate_half else half.repeat_interleave(2, -1)
        return (*heads(dtype), angle.cos().to(dtype), angle.sin().to(dtype))

    return make


def positions(dtype):
    return (*heads(dtype), torch.randint(0, 4000, (2, 5)))


# case: package, layer, the module for a dtype, its arguments
CASES = {
    **{name: ("activation", name, lambda d, f=f: Function(f), rows(4, 3)) for name, f in ACTIVATIONS.items()},
    **{name: ("normalization", name, trained(make), rows(4, 3)) for name, make in NORMS.items()},
    "FusedAddRMSNorm": ("normalization", "FusedAddRMSNorm", lambda d: FusedAdd(16, dtype=d), rows(4, 3, n=2)),
    "LayerNorm without bias": ("normalization", "LayerNorm", layer_norm(bias=False), rows(4, 3)),
    "rotary_pos_emb": ("rotary", "rotary_pos_emb", lambda d: rotary(rotate_half), angles(rotate_half)),
    "rotary_pos_emb_interleaved": (
        "rotary",
        "rotary_pos_emb_interleaved",
        lambda d: rotary(rotate_pairs),
        angles(rotate_pairs),
    ),
    **{
        name: ("rotary", name, lambda d, rotate=rotate: Positions(rotate), positions)
        for name, rotate in (("RotaryPositions", rotate_half), ("RotaryPositionsInterleaved", rotate_pairs))
    },
}
WITH_BACKWARD = [case for case in CASES if case != "FusedAddRMSNorm"]


def is_float(value):
    return isinstance(value, torch.Tensor) and value.is_floating_point()


class Case:
    def __init__(self, build, name, dtype):
        torch.manual_seed(0)
        package, layer, make, arguments = CASES[name]
        self.module, self.dtype = make(dtype), dtype
        self.layer = Layer(build, package, layer, self.module)
        autograd.attach(self.layer.call)
        self.args = arguments(dtype)
        self.exact = copy.deepcopy(self.module).double()

    def wide(self, args):
        """In f64. A sum of two inputs is rounded once, in both."""
        args = [arg.double() if is_float(arg) else arg for arg in args]
        if isinstance(self.module, FusedAdd):
            total = (args[0].to(self.dtype) + args[1].to(self.dtype)).double()
            args = [total, torch.zeros_like(total)]
        return args

    def hold(self, made, plain, exact):
        made, plain, exact = (tuple(one.detach() for one in as_tuple(each)) for each in (made, plain, exact))
        assert [one.shape for one in made] == [one.shape for one in plain]
        assert {one.dtype for one in made} == {self.dtype}
        same = tuple(torch.empty_like(one).copy_(each) for one, each in zip(plain, made))  # whatever the strides
        hold(same, plain, exact, self.layer.declared(self.dtype))

    def gradients(self, forward, module, args, seeds):
        n = 2 if len(args) > 2 else 1  # cos and sin are constants
        leaves = [*(arg.detach().clone().requires_grad_() for arg in args[:n]), *args[n:]]
        wanted = [*leaves[:n], *module.parameters()]
        made = as_tuple(forward(*leaves))
        return torch.autograd.grad(made, wanted, [seed.to(one.dtype) for seed, one in zip(seeds, made)])


def test_every_layer_is_here(build):
    here = {(package, layer) for package, layer, *_ in CASES.values()}
    found = set()
    for package, layer in dict(here).items():  # one of each
        kernel = _kernels.HostKernel(str(build / "packages" / package), layer).kernel
        found |= {(package, name) for name in kernel.layers}
    assert found == here


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_results(build, name, dtype):
    case = Case(build, name, dtype)
    with torch.no_grad():
        case.hold(case.layer(*case.args), case.module(*case.args), case.exact(*case.wide(case.args)))
    assert case.layer.owned == 0 and case.layer.counts == {}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", WITH_BACKWARD)
def test_gradients(build, name, dtype):
    case = Case(build, name, dtype)
    args = case.args if len(case.args) > 1 else [torch.randn(32, 3, 16).to(dtype)]
    with torch.no_grad():
        seeds = [torch.randn_like(one) for one in as_tuple(case.module(*args))]
    made = case.gradients(case.layer, case.module, args, seeds)
    assert case.layer.owned == 0 and case.layer.counts == {}
    plain = case.gradients(case.module, case.module, args, seeds)
    exact = case.gradients(case.exact, case.exact, case.wide(args), seeds)
    case.hold(made, plain, exact)


def offset(x):
    return torch.cat((x.new_full((1, *x.shape[1:]), 9.0), x))[1:]


def columns(x):
    return torch.cat((x, x), -1)[..., : x.shape[-1]]


# How the arguments lie in memory. Those of FITS have one stride between rows, and the kernel takes them; others it may
# leave to the own forward.
FITS = ("offset", "some columns", "no rows", "inference")
LAYOUTS = {
    "offset": offset,
    "some columns": columns,
    "one row for all": lambda x: x[:1].expand(x.shape),
    "no rows": lambda x: x[:0],
    "transposed rows": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "transposed columns": lambda x: x.transpose(-1, -2).contiguous().transpose(-1, -2),
    "every second column": lambda x: x.repeat_interleave(2, -1)[..., ::2],
    "one number": lambda x: x[..., :1].expand(x.shape),
    "inference": lambda x: x,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CASES)
def test_layouts(build, name, layout):
    case = Case(build, name, torch.float32)
    n = 2 if len(case.args) > 1 else 1  # cos, sin and positions are as they are
    make, rest = LAYOUTS[layout], case.args[n:]
    if layout == "no rows":
        rest = [arg[:0] if arg.shape[0] > 1 else arg for arg in rest]
    with torch.inference_mode(layout == "inference"), torch.set_grad_enabled(False):
        args = [*(make(arg) for arg in (torch.clone(arg) for arg in case.args[:n])), *rest]
        made, plain = as_tuple(case.layer(*args)), as_tuple(case.module(*args))
        for one, other in zip(made, plain, strict=True):
            assert one.is_inference() == (layout == "inference") and one.shape == other.shape
            torch.testing.assert_close(one.clone(), other.clone(), rtol=2e-5, atol=1e-5)
    assert case.layer.counts == {} or (layout not in FITS and case.layer.counts == {"layout": 1})


@pytest.mark.parametrize("name", CASES)
def test_storage_that_was_freed(build, name):
    case = Case(build, name, torch.float32)
    case.args[0].untyped_storage().resize_(0)
    call = _kernels.Call(case.layer.call.kernel, lambda *_: "own")
    with torch.no_grad():
        assert call.function(case.module, *case.args) == "own"
    assert case.layer.counts == {"no data": 1}


@pytest.mark.parametrize("name", CASES)
def test_opcheck(build, name):
    case = Case(build, name, torch.float32)
    operator = operators.operator(case.layer.call)
    members = case.layer.call.members(case.module)
    values = operators.complete(operator.program, case.args, members)
    torch.library.opcheck(operator.forward, tuple(v.detach() if isinstance(v, torch.Tensor) else v for v in values))
    if operator.backward is None:
        return
    of = {param.of for param in operator.program.grad_outputs}
    values = tuple(v.detach().requires_grad_(at in of) if is_float(v) else v for at, v in enumerate(values))
    torch.library.opcheck(operator.forward, values)
    values = tuple(v.detach() if is_float(v) else v for v in values)
    grads = [torch.randn_like(one) for one in as_tuple(operator.forward(*values))]
    needs = [is_float(v) and at in of for at, v in enumerate(values)]
    torch.library.opcheck(operator.backward, (*values, *grads, needs))
