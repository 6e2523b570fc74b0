"""A layer's program (docs/layers.md, "As data") on tensors of any kind: do they fit, and what are the results?

The core answers this for real tensors, in C. Here is the same for those without memory, whose extents may be symbols:
what is said of an extent is a comparison, never its value. Layouts and data are not looked at: the operator asks them
when it runs.

The functions are traced by torch.compile: they raise nothing and use plain loops over tuples.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

DTYPES = {
    "bool": torch.bool, "u8": torch.uint8,
    "i8": torch.int8, "i16": torch.int16, "i32": torch.int32, "i64": torch.int64,
    "f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64,
    "u16": torch.uint16, "u32": torch.uint32, "u64": torch.uint64,
    "f8_e4m3fn": torch.float8_e4m3fn, "f8_e4m3fnuz": torch.float8_e4m3fnuz, "f8_e5m2": torch.float8_e5m2,
    "f8_e5m2fnuz": torch.float8_e5m2fnuz, "f8_e8m0fnu": getattr(torch, "float8_e8m0fnu", None),
}  # fmt: skip
_WIDE = (torch.uint16, torch.uint32, torch.uint64)  # promoted with floats alone
_RANK_MAX = 8


class Form(NamedTuple):
    """An extent: mul * symbol + add; a number when mul is 0."""

    mul: int
    symbol: str
    add: int


class Param(NamedTuple):
    """What is known of an input, member, result or gradient. Numbers are indices among inputs, members and results."""

    name: str
    host_name: str
    kind: str
    optional: bool
    has_default: bool
    default: Any
    has_constant: bool
    constant: Any
    of: int  # what a gradient is of; -1: no gradient
    like: int  # shape and dtype of that one; -1: from what follows
    strides_like: bool
    dtypes: tuple[torch.dtype, ...]  # one of these; empty: as promoted
    promoted: tuple[int, ...]
    before: tuple[tuple[Form, ...], ...]  # dimensions before "...", each one of its forms
    after: tuple[tuple[Form, ...], ...]
    batched: bool


class Program(NamedTuple):
    """A layer, as its program says."""

    name: str
    inputs: tuple[Param, ...]
    members: tuple[Param, ...]
    outputs: tuple[Param, ...]
    grad_inputs: tuple[Param, ...]
    grad_outputs: tuple[Param, ...]
    reads_outputs: bool  # backward does
    has_backward: bool
    tensors: tuple[int, ...]  # among inputs and members
    scalars: tuple[int, ...]
    undeclared: tuple[int, ...]  # tensors that backward makes no gradient of


class Bound(NamedTuple):
    """What the values of a call that fits have told; of one that does not, the reason, as the core counts it."""

    reason: str
    values: tuple[Any, ...] = ()
    symbols: dict[str, Any] = {}
    batch: tuple[Any, ...] = ()


def parse(text: str) -> Program:
    """The program from what `_kernels.Layer.json` gives."""
    layer = json.loads(text)
    backward = layer["backward"]
    inputs, members, outputs = layer["inputs"], layer["members"], layer["outputs"]
    grads = (backward["grad_inputs"], backward["grad_outputs"]) if backward else ([], [])
    index = {param["name"]: at for at, param in enumerate(inputs + members + outputs)}
    named = {arg.get("name") for arg in backward["call"]["args"]} if backward else set()
    lists = [tuple(_param(param, index) for param in params) for params in (inputs, members, outputs, *grads)]
    reads_outputs = any(param["name"] in named for param in outputs)
    tensors = tuple(at for at, param in enumerate(inputs + members) if param["kind"] == "tensor")
    scalars = tuple(at for at in range(len(inputs + members)) if at not in tensors)
    undeclared = tuple(at for at in tensors if at not in {param.of for param in lists[-1]})
    return Program(layer["name"], *lists, reads_outputs, backward is not None, tensors, scalars, undeclared)


def _param(param: dict[str, Any], index: dict[str, int]) -> Param:
    rule, dims = param.get("dtype", {}), param.get("dims", [])
    forms = [dim if dim == "..." else tuple(map(_form, dim.get("one_of", [dim]))) for dim in dims]
    at = forms.index("...") if "..." in forms else len(forms)
    return Param(
        param["name"], param.get("host_name", param["name"]), param["kind"], param.get("optional", False),
        "default" in param, param.get("default"),
        "equals" in param, param.get("equals"), index[param["of"]] if "of" in param else -1,
        index[param["like"]] if "like" in param else -1, param.get("layout") == "like",
        tuple(DTYPES[name] for name in rule.get("one_of", ()) if DTYPES.get(name)),
        tuple(index[name] for name in ([rule["of"]] if "of" in rule else rule.get("promote", ()))),
        tuple(forms[:at]), tuple(forms[at + 1 :]), "..." in forms,
    )  # fmt: skip


def _form(form: dict[str, Any]) -> Form:
    return Form(form.get("mul", 0), form.get("symbol", ""), form["add"])


def bind(
    program: Program, values: Sequence[Any], holds: Callable[[Any], bool] = bool, device_type: str = ""
) -> Bound:
    """Holds inputs, then members, against the program; missing ones at the end are their defaults.

    `holds` decides a comparison of extents. device_type: where tensors must be; any, but the same for all, when empty.
    """
    params = program.inputs + program.members
    if len(values) > len(params):
        return Bound("number of arguments")
    for param in program.inputs[len(values) :]:
        if not param.has_default and not param.optional:
            return Bound("number of arguments")
    given: tuple[Any, ...] = ()
    symbols: dict[str, Any] = {}
    batch: Any = None
    device = None
    for at, param in enumerate(params):
        value = values[at] if at < len(values) else param.default
        if value is None and at >= len(program.inputs):
            value = param.default
        given = (*given, value)
        if value is None:
            if not param.optional:
                return Bound("member missing" if at >= len(program.inputs) else "kind of argument")
            continue
        if param.kind != "tensor":
            reason = _check_scalar(param, value)
            if reason:
                return Bound(reason)
            continue
        if not isinstance(value, torch.Tensor):
            return Bound("kind of argument")
        dtypes = param.dtypes or (promote(given, param.promoted),)
        if value.dtype not in dtypes:
            return Bound("dtype")
        if value.device != device if device is not None else device_type not in ("", value.device.type):
            return Bound("device")
        device = value.device
        reason, batch = _bind_shape(param, value.shape, symbols, batch, holds)
        if reason:
            return Bound(reason)
    bound = Bound("", given, symbols, batch or ())
    for param in program.outputs:
        if param.like < 0:
            reason = _check_result(param, bound, holds)
            if reason:
                return Bound(reason)
    return bound


def _check_result(param: Param, bound: Bound, holds: Callable[[Any], bool]) -> str:
    if not param.dtypes and promote(bound.values, param.promoted) is None:
        return "dtype"
    if len(param.before) + len(param.after) + (len(bound.batch) if param.batched else 0) > _RANK_MAX:
        return "number of dimensions"
    for forms in param.before + param.after:
        if forms[0].add < 0 and not holds(_extent(forms[0], bound.symbols) >= 0):
            return "shape"
    return ""


def _check_scalar(param: Param, value: Any) -> str:
    is_bool, is_int = isinstance(value, bool), isinstance(value, (int, torch.SymInt))
    if param.kind == "bool":
        fits = is_bool
    elif param.kind == "int":
        fits = is_int and not is_bool
    else:
        fits = not is_bool and (is_int or isinstance(value, (float, torch.SymFloat)))
    if not fits:
        return "kind of argument"
    return "value" if param.has_constant and value != param.constant else ""


def _bind_shape(param: Param, shape: Any, symbols: dict[str, Any], batch: Any, holds: Any) -> tuple[str, Any]:
    n_before, n_after = len(param.before), len(param.after)
    n_batch = len(shape) - n_before - n_after
    if len(shape) > _RANK_MAX or n_batch < 0 or (n_batch > 0 and not param.batched):
        return "number of dimensions", batch
    for i in range(n_after - 1, -1, -1):
        if not _fit(param.after[i], shape[n_before + n_batch + i], symbols, holds):
            return "shape", batch
    if param.batched:
        these = tuple(shape[n_before : n_before + n_batch])
        if batch is None:
            batch = these
        elif len(batch) != n_batch:
            return "number of dimensions", batch
        for extent, other in zip(these, batch):
            if not holds(extent == other):
                return "shape", batch
    for i in range(n_before - 1, -1, -1):
        if not _fit(param.before[i], shape[i], symbols, holds):
            return "shape", batch
    return "", batch


def _fit(forms: tuple[Form, ...], extent: Any, symbols: dict[str, Any], holds: Any) -> bool:
    if len(forms) > 1:
        for form in forms[:-1]:
            if extent == _extent(form, symbols):
                return True
        return holds(extent == _extent(forms[-1], symbols))
    mul, symbol, add = forms[0]
    if mul == 0 or symbol in symbols:
        return holds(extent == _extent(forms[0], symbols))
    if add > 0 and not holds(extent >= add):
        return False
    if mul > 1 and not holds((extent - add) % mul == 0):
        return False
    symbols[symbol] = (extent - add) // mul if mul > 1 else extent - add
    return True


def _extent(form: Form, symbols: dict[str, Any]) -> Any:
    return form.mul * symbols[form.symbol] + form.add if form.mul else form.add


def promote(values: Sequence[Any], indices: Sequence[int]) -> torch.dtype | None:
    """torch.result_type of several tensors, where none counts nothing; None where torch refuses."""
    dims = scalars = None
    for index in indices:
        value = values[index]
        if value is None:
            continue
        if value.dim():
            dims = _promote(dims, value.dtype)
        else:
            scalars = _promote(scalars, value.dtype)
    if dims is False or scalars is False:
        return None
    # A tensor without dimensions decides only by a higher category: a float among integers, a number among booleans.
    if dims is not None and scalars is not None and dims is not torch.bool:
        if dims.is_floating_point or not scalars.is_floating_point:
            return dims
    return _promote(dims, scalars) or None


def _promote(a: Any, b: Any) -> Any:
    if a is None or b is None or a == b:
        return b if a is None else a
    if a is False or a.is_floating_point != b.is_floating_point:
        wide = a is not False and (a if a.is_floating_point else b)
        return wide if wide and wide.itemsize > 1 else False
    if a.is_floating_point:
        return False if a.itemsize == 1 or b.itemsize == 1 else torch.promote_types(a, b)
    return False if a in _WIDE or b in _WIDE else torch.promote_types(a, b)


def make(param: Param, bound: Bound) -> torch.Tensor:
    """Room for a result of a call that fits: one of program.outputs, or of program.grad_outputs."""
    if param.like >= 0:
        return torch.empty_like(bound.values[param.like])
    dtype = param.dtypes[0] if param.dtypes else promote(bound.values, param.promoted)
    extents = [_extent(forms[0], bound.symbols) for forms in param.before + param.after]
    at = len(param.before)
    shape = [*extents[:at], *(bound.batch if param.batched else ()), *extents[at:]]
    # Of a tensor, not of a device: what it is without memory, the result is too.
    like = next((value for value in bound.values if isinstance(value, torch.Tensor)), torch.empty(0))
    return like.new_empty(shape, dtype=dtype)
