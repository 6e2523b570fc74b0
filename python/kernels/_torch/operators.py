"""A native layer as operators of PyTorch: what graphs hold, and what dispatch modes see.

An operator takes inputs and members by value. Whether a call fits is decided where it is traced (dtypes, dimensions,
shapes, devices). An operator in a graph has no own forward to fall back to: what differs in memory alone is copied into
order when it runs.
"""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor
from torch.autograd import forward_ad

from kernels._torch import shapes
from kernels.errors import ArgumentsError

if TYPE_CHECKING:
    from kernels import _kernels

_SCHEMAS = {"tensor": "Tensor", "int": "SymInt", "float": "float", "bool": "bool"}
_PLAIN = (torch.Tensor, torch.nn.Parameter, FakeTensor, FunctionalTensor)  # a subclass may mean anything

_lock = threading.Lock()
_operators: dict[str, "Operator"] = {}


class Operator:
    """The operators of a layer: `forward`, and `backward` when one is declared."""

    __slots__ = ("_library", "backward", "forward", "name", "program")

    def __init__(self, namespace: str, call: "_kernels.Call") -> None:
        self.program = program = shapes.parse(call.kernel.layer.json())
        self.name = f"{namespace}::{program.name}"
        # Kept: an operator is gone with its library.
        self._library = library = torch.library.Library(namespace, "FRAGMENT")
        types = [_schema(param) for param in program.inputs + program.members]
        result = ", ".join(["Tensor"] * len(program.outputs))
        self.forward = self._define("", types, result if len(program.outputs) == 1 else f"({result})")
        self.backward = None
        for device in ("CPU", "CUDA"):
            library.impl(program.name, _forward(program, call), device)
        torch.library.register_fake(self.name, _fake(program), lib=library)
        if not program.has_backward:
            return
        types += ["Tensor"] * len(program.outputs) * program.reads_outputs + ["Tensor?"] * len(program.grad_inputs)
        self.backward = self._define("_backward", [*types, "bool[]"], "Tensor[]")
        for device in ("CPU", "CUDA"):
            library.impl(program.name + "_backward", _backward(program, call), device)
        torch.library.register_fake(self.name + "_backward", _fake_backward(program), lib=library)
        torch.library.register_autograd(
            self.name, _differentiate(program, self.backward), setup_context=_save(program), lib=library
        )
        torch.library.register_autograd(self.name + "_backward", _refuse(program), lib=library)

    def _define(self, suffix: str, types: Sequence[str], result: str) -> Any:
        schema = ", ".join(f"{kind} a{at}" for at, kind in enumerate(types))
        # What is like an input has its strides: graphs may not change those.
        tag = getattr(torch.Tag, "needs_exact_strides", torch.Tag.needs_fixed_stride_order)
        name = self.program.name + suffix
        self._library.define(f"{name}({schema}) -> {result}", tags=(torch.Tag.pt2_compliant_tag, tag))
        return getattr(getattr(torch.ops, self._library.ns), name).default


def _schema(param: shapes.Param) -> str:
    return _SCHEMAS[param.kind] + ("?" if param.optional else "")


def operator(call: "_kernels.Call") -> Operator:
    """The operators of a call's layer: one for each content, registered when they are asked for first."""
    namespace = _namespace(call.kernel.kernel)
    key = f"{namespace}::{call.kernel.layer.name}"
    with _lock:
        if key not in _operators:
            _operators[key] = Operator(namespace, call)
        return _operators[key]


def _namespace(kernel: "_kernels.Kernel") -> str:
    """The same for the same content, in other processes too: exported programs name it."""
    metadata = kernel.read("metadata.json")
    digest = hashlib.sha256(metadata)
    if "digest" not in json.loads(metadata):  # of the files
        for file in kernel.files:
            digest.update(kernel.read(file))
    return re.sub(r"\W", "_", f"kernels_{kernel.name}_{digest.hexdigest()[:16]}")


# --- what runs ---


class _Members:
    """Stands for the module: a call reads members from dictionaries."""

    def __init__(self, program: shapes.Program, values: Sequence[Any]) -> None:
        self._parameters: dict[str, Any] = {}
        self._buffers: dict[str, Any] = {}
        for param, value in zip(program.members, values[len(program.inputs) :]):
            self.__dict__[param.host_name] = value


def _dense(value: Any) -> Any:
    """A copy in memory of its own, whatever strides and data the tensor has."""
    if not isinstance(value, torch.Tensor):
        return value
    return torch.empty(value.shape, dtype=value.dtype, device=value.device).copy_(value)


def _like(wanted: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    return made if wanted.stride() == made.stride() else wanted.copy_(made)


def _forward(program: shapes.Program, call: "_kernels.Call") -> Callable[..., Any]:
    n_inputs = len(program.inputs)

    def run(values: Sequence[Any]) -> Any:
        try:
            return call.run(_Members(program, values), *values[:n_inputs])
        except ArgumentsError:  # of a kernel that must not fall back: here it does not
            return NotImplemented

    def forward(*values: Any) -> Any:
        made = run(values)
        if made is not NotImplemented:
            return made
        made = run([_dense(value) for value in values])
        if made is NotImplemented:
            raise _unfit(program, values)
        # Strides that are like an input's are those that were promised when the call was traced.
        bound = shapes.bind(program, values)
        made = made if isinstance(made, tuple) else (made,)
        made = tuple(_like(shapes.make(param, bound), one) for param, one in zip(program.outputs, made))
        return made if len(made) > 1 else made[0]

    return forward


def _backward(program: shapes.Program, call: "_kernels.Call") -> Callable[..., list[torch.Tensor]]:
    def backward(*values: Any) -> list[torch.Tensor]:
        given, outputs, grads, needs = _split(program, values)
        made = call.run_backward(given, outputs, grads, needs)
        if made is None:
            lists = [_dense(value) for value in given], [_dense(value) for value in outputs or ()] or None
            made = call.run_backward(*lists, [_dense(grad) for grad in grads], needs)
            if made is None:
                raise _unfit(program, given)
            bound = shapes.bind(program, given)
            of = {param.of: param for param in program.grad_outputs}
            made = [one if one is None else _like(shapes.make(of[at], bound), one) for at, one in enumerate(made)]
        return [made[at] for at, need in enumerate(needs) if need]

    return backward


def _split(program: shapes.Program, values: Sequence[Any]) -> tuple[Any, Any, Any, Any]:
    """What backward takes: inputs and members; results, or None; gradients; which ones are needed."""
    n_values = len(program.inputs) + len(program.members)
    grads = len(values) - 1 - len(program.grad_inputs)
    return values[:n_values], values[n_values:grads] or None, values[grads:-1], values[-1]


def _unfit(program: shapes.Program, values: Sequence[Any]) -> RuntimeError:
    reason = shapes.bind(program, values).reason or "no kernel call"
    return RuntimeError(f"layer {program.name}: {reason}: the operator's kernel does not take these arguments")


# --- what is traced ---


def _insist(condition: Any) -> bool:
    torch._check(condition)
    return True


def _bind(program: shapes.Program, values: Sequence[Any]) -> shapes.Bound:
    bound = shapes.bind(program, values, _insist)
    if bound.reason:
        raise _unfit(program, values)
    return bound


def _fake(program: shapes.Program) -> Callable[..., Any]:
    def fake(*values: Any) -> Any:
        bound = _bind(program, values)
        made = tuple(shapes.make(param, bound) for param in program.outputs)
        return made if len(made) > 1 else made[0]

    return fake


def _fake_backward(program: shapes.Program) -> Callable[..., list[torch.Tensor]]:
    of = {param.of: param for param in program.grad_outputs}

    def fake(*values: Any) -> list[torch.Tensor]:
        given, _, _, needs = _split(program, values)
        bound = _bind(program, given)
        return [shapes.make(of[at], bound) for at, need in enumerate(needs) if need]

    return fake


def _save(program: shapes.Program) -> Callable[..., None]:
    def save(ctx: Any, inputs: Sequence[Any], output: Any) -> None:
        keep(ctx, program, inputs, output)

    return save


def keep(ctx: Any, program: shapes.Program, values: Sequence[Any], made: Any) -> None:
    """What backward reads: tensors as saved ones, so that writing into them is noticed, and nothing of the module."""
    results = made if isinstance(made, tuple) else (made,)
    if program.scalars:
        ctx.scalars = [values[at] for at in program.scalars]
        values = [values[at] for at in program.tensors]
    ctx.save_for_backward(*values, *(results if program.reads_outputs else ()))
    ctx.set_materialize_grads(False)
    for result in results:
        if not result.is_floating_point():
            ctx.mark_non_differentiable(*(result for result in results if not result.is_floating_point()))
            return


def kept(ctx: Any, program: shapes.Program, grads: Sequence[Any]) -> tuple[list[Any], Any, list[Any]]:
    """What was kept: inputs and members; results or None. Then gradients in the order in which backward takes them."""
    saved, n_tensors = ctx.saved_tensors, len(program.tensors)
    values = list(saved[:n_tensors])
    for at, scalar in zip(program.scalars, ctx.scalars if program.scalars else ()):
        values.insert(at, scalar)
    return values, saved[n_tensors:] or None, [grads[param.of - len(values)] for param in program.grad_inputs]


def _differentiate(program: shapes.Program, backward: Any) -> Callable[..., tuple[Any, ...]]:
    def differentiate(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        values, outputs, grads_in = kept(ctx, program, grads)
        needs = list(ctx.needs_input_grad[: len(values)])
        return tuple(spread(backward(*values, *(outputs or ()), *grads_in, needs), needs))

    return differentiate


def spread(made: Sequence[Any], needs: Sequence[bool]) -> list[Any]:
    """Gradients at the places where they are needed, None elsewhere."""
    left = iter(made)
    return [next(left) if need else None for need in needs]


def _refuse(program: shapes.Program) -> Callable[..., None]:
    def refuse(ctx: Any, *grads: Any) -> None:
        raise NotImplementedError(
            f"layer {program.name}: a gradient of its gradient was asked for in a graph; accepted outside torch.compile"
        )

    return refuse


# --- what decides ---


def is_differentiable(program: shapes.Program, values: Sequence[Any]) -> bool:
    """Backward makes every gradient that is wanted."""
    for at in program.undeclared:
        value = values[at]
        if value is not None and value.requires_grad:
            return False
    return True


def is_transformed() -> bool:
    """A functorch transform or a level of forward-mode differentiation is active: operators know nothing of either."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def find_member(module: Any, name: str) -> dict[str, Any] | None:
    """The dictionary of the module that has a member; None where only the own forward knows: of a parametrization."""
    for place in (module.__dict__, module._parameters, module._buffers):
        if name in place:
            return place
    return None


def complete(program: shapes.Program, args: Sequence[Any], members: Sequence[Any]) -> tuple[Any, ...]:
    """Inputs, with defaults for those that were left out, then members."""
    return (*args, *(param.default for param in program.inputs[len(args) :]), *members)


def device_type(call: "_kernels.Call") -> str:
    """The device of a call's kernel as PyTorch calls it."""
    device = call.kernel.device
    return {"rocm": "cuda", "metal": "mps"}.get(device, device)


def chooser(call: "_kernels.Call", program: shapes.Program) -> Callable[[Any, Sequence[Any]], tuple[Any, str]]:
    """What decides of a call, as choose(module, args): the operator's arguments, or None and why there are none."""
    device, is_strict = device_type(call), call.kernel.strict
    is_neutral = call.kernel.layer.autocast == "neutral"

    def read(module: Any, args: Sequence[Any]) -> tuple[Any, str]:
        members: tuple[Any, ...] = ()
        for param in program.members:
            place = find_member(module, param.host_name)
            if place is None:
                return None, "member missing"
            members = (*members, place[param.host_name])
        values = complete(program, args, members)
        for value in values:
            if isinstance(value, torch.Tensor) and type(value) not in _PLAIN:
                return None, "tensor subclass"
        return values, shapes.bind(program, values, bool, device).reason

    def choose(module: Any, args: Sequence[Any]) -> tuple[Any, str]:
        if is_transformed():
            return None, "function transform"
        if not is_neutral and torch.is_autocast_enabled(device):
            return None, "autocast"
        values, reason = read(module, args)
        if reason and is_strict:
            raise ArgumentsError(f"kernel layer {program.name}: {reason}: not what its signature accepts")
        return (None, reason) if reason else (values, "")

    return choose


def compiled(call: "_kernels.Call") -> Callable[..., Any]:
    """The forward that torch.compile and torch.export trace, called as forward(module, *args). The operators are
    registered when it is traced first."""
    own = call.own
    if not call.kernel.layer.can_torch_compile:
        return own
    made: list[Callable[..., Any]] = []

    def register() -> bool:  # what is traced cannot: this is run
        if not made:
            made.append(_traced(call))
        return True

    # As torch.compiler.assume_constant_result does, which imports torch._dynamo: seconds where nothing is compiled.
    register._dynamo_marked_constant = True  # type: ignore[attr-defined]

    def forward(module: Any, *args: Any) -> Any:
        register()
        return made[0](module, *args)

    return forward


def _traced(call: "_kernels.Call") -> Callable[..., Any]:
    layer = operator(call)
    program, run, own, choose = layer.program, layer.forward, call.own, chooser(call, layer.program)

    def forward(module: Any, *args: Any) -> Any:
        values, _ = choose(module, args)
        if values is None or (torch.is_grad_enabled() and not is_differentiable(program, values)):
            return own(module, *args)
        return run(*values)

    return forward
