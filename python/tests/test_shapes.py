"""A layer's program in Python against the one in C: thousands of random calls, the same verdicts, the same results."""

import collections
import random

import pytest
import torch
from native_layers import pack

from kernels import _kernels
from kernels._torch import shapes

# Members, signature, arguments of the call.
LAYERS = {
    "Halves": (
        "",
        "(x: f32|f16|bf16|f64 rows[..., 2*d], w?: any [d]) -> (y: promote(x, w) [..., d], z: like x)",
        "x, w, y, z",
    ),
    "Numbers": (
        "",
        "(x: any strided[b, s, d], n: int == 1 = 1, e: float = 0.5, f: bool = true) -> (y: x.dtype [d, b])",
        "x, n, e, f, y",
    ),
    "Choices": (
        "",
        "(q: any strided[b, h, s, d], c: any strided[b|1, s, d+1|d]) -> (o: like q, p: promote(q, c) [s, 3])",
        "q, c, o, p",
    ),
    "Both": (
        "",
        "(x: any [a, ..., 3*b+2], y: any [..., b-1|4]) -> (r: promote(x, y) [b-1, ..., a], s: bool [2*a])",
        "x, y, r, s",
    ),
    "Three": ("", "(x: any [...], y: any [...], z?: any []) -> (r: promote(x, y, z) [...])", "x, y, z, r"),
    "Members": (
        "weight?: any [h], eps: float = 1e-6, k: int == 2",
        "(x: any [..., h]) -> (y: promote(x, weight) [..., h])",
        "x, y",
    ),
    "Deep": ("", "(x: any [...], y: any [a, b]) -> (r: x.dtype [b, ..., a, 1])", "x, y, r"),
}
SOURCE = "int __tvm_ffi_nothing(void *self, const void *args, int n, void *result) { return 0; }"
# What memory alone decides: the evaluator says nothing of it.
OF_MEMORY = ("layout", "no data", "size overflows", "a tensor without a DLPack form", "negated view")
CALLS = 1500


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    layers = {
        name: {"members": members, "signature": signature, "forward": f"nothing({arguments})"}
        for name, (members, signature, arguments) in LAYERS.items()
    }
    return pack(tmp_path_factory.mktemp("shapes"), "shapes", layers, SOURCE)


class Module:
    def __init__(self, members):
        self._parameters, self._buffers = {}, {}
        self.__dict__.update(members)


def random_shape(rng, param, sizes, batch):
    """One that often fits: from the forms of the parameter, with an extent or a dimension changed now and then."""
    extents = [
        max(form.mul * sizes.setdefault(form.symbol, rng.choice((0, 1, 2, 3, 4, 5, 8))) + form.add, 0)
        for form in (rng.choice(forms) for forms in param.before + param.after)
    ]
    at = len(param.before)
    shape = [*extents[:at], *(batch if param.batched else ()), *extents[at:]]
    if rng.random() < 0.2 and shape:
        shape[rng.randrange(len(shape))] = rng.choice((0, 1, 2, 4, 6))
    if rng.random() < 0.1:
        shape = rng.choice((shape[1:], [2, *shape], [], [2] * 9))
    return shape


def random_tensor(rng, shape, dtype):
    """With all kinds of strides."""
    how, rank = rng.random(), len(shape)
    if how < 0.2 and rank:
        order = rng.sample(range(rank), rank)
        return torch.zeros([shape[i] for i in order], dtype=dtype).permute([order.index(i) for i in range(rank)])
    if how < 0.3 and rank:
        return torch.zeros([*shape[:-1], 2 * shape[-1]], dtype=dtype)[..., : shape[-1]]
    if how < 0.35:
        return torch.zeros([1] * rank, dtype=dtype).expand(shape)
    return torch.zeros(shape, dtype=dtype)


def random_call(rng, program):
    """Arguments, then members by name, of which some are left out or of the wrong kind."""
    dtypes = [torch.float32, torch.float16]
    if rng.random() < 0.4:
        dtypes = [shapes.DTYPES[name] for name in rng.sample(sorted(shapes.DTYPES), rng.choice((1, 2, 4)))]
    sizes, batch = {"": 0}, [rng.choice((0, 1, 2, 3)) for _ in range(rng.choice((0, 1, 2)))]
    values = []
    for param in program.inputs + program.members:
        if rng.random() < 0.05:
            values.append(rng.choice((None, 1, 2, 0.5, False, torch.zeros(4))))
        elif param.kind == "tensor":
            values.append(random_tensor(rng, random_shape(rng, param, sizes, batch), rng.choice(dtypes)))
        else:
            values.append({"int": rng.choice((1, 2)), "float": 0.5, "bool": True}[param.kind])
    args = values[: len(program.inputs)]
    if rng.random() < 0.1:
        args = args[:-1]
    if rng.random() < 0.02:
        args.append(1)
    return args, {param.host_name: value for param, value in zip(program.members, values[len(program.inputs) :])}


def layout(tensor):
    """Strides only where they lead to elements."""
    strides = [stride for extent, stride in zip(tensor.shape, tensor.stride()) if extent > 1 and tensor.numel()]
    return tensor.dtype, tensor.shape, strides


def refusal(call, module, args):
    """What C says: the results, or the reason."""
    before = _kernels.fallback_counts(module)
    made = call.run(module, *args)
    if made is not NotImplemented:
        return made if isinstance(made, tuple) else (made,), ""
    after = _kernels.fallback_counts(module)
    return None, next(reason for reason in after if after[reason] != before.get(reason, 0))


@pytest.mark.parametrize("name", LAYERS)
def test_the_same_as_the_core(package, name):
    call = _kernels.Call(_kernels.HostKernel(str(package), name), lambda *args: None)
    program = shapes.parse(call.kernel.layer.json())
    rng, seen = random.Random(name), collections.Counter()
    for number in range(CALLS):
        args, members = random_call(rng, program)
        module = Module(members)
        made, reason = refusal(call, module, args)
        if reason == "layout":  # once more, with nothing to say of it: what comes after is asked, too
            args = [a.contiguous() if isinstance(a, torch.Tensor) else a for a in args]
            members = {k: v.contiguous() if isinstance(v, torch.Tensor) else v for k, v in members.items()}
            made, reason = refusal(call, Module(members), args)
        seen[reason] += 1
        if reason in OF_MEMORY:
            continue
        if len(args) > len(program.inputs):
            assert reason == "number of arguments"
            continue
        values = [*args, *(param.default for param in program.inputs[len(args) :]), *members.values()]
        bound = shapes.bind(program, args if reason == "number of arguments" else values, bool, "cpu")
        shown = [(v.dtype, v.shape, v.stride()) if isinstance(v, torch.Tensor) else v for v in values]
        shown = f"call {number}: {shown}, {len(args)} arguments"
        assert bound.reason == reason, shown
        for param, one in zip(program.outputs, made or ()):
            wanted = shapes.make(param, bound)
            assert layout(wanted) == layout(one), shown
    assert seen[""] > CALLS / 8, seen  # the draw has to hit
    assert len(seen) > 3, seen


def test_extents_stay_symbols(package):
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

    call = _kernels.Call(_kernels.HostKernel(str(package), "Halves"), lambda *args: None)
    program = shapes.parse(call.kernel.layer.json())
    mode = FakeTensorMode(shape_env=ShapeEnv())
    context = StatelessSymbolicContext([DimDynamic.DYNAMIC] * 3)
    x = mode.from_tensor(torch.zeros(5, 3, 8), symbolic_context=context)
    bound = shapes.bind(program, (x, None), bool, "cpu")
    assert not bound.reason
    y, z = (shapes.make(param, bound) for param in program.outputs)
    assert [str(extent) for extent in y.shape] == [str(x.shape[0]), str(x.shape[1]), f"({x.shape[2]}//2)"]
    assert [str(extent) for extent in z.shape] == [str(extent) for extent in x.shape]
    assert [int(extent) for extent in y.shape] == [5, 3, 4]
