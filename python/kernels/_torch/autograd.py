"""Gradients of a native layer outside of graphs: the kernel's forward and backward as one node of autograd."""

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from kernels._torch import operators, shapes

if TYPE_CHECKING:
    from kernels import _kernels


class _Layer:
    """What is the same for every call of a layer's node."""

    def __init__(self, call: "_kernels.Call", program: shapes.Program, run_backward: Callable[..., Any]) -> None:
        self.program, self.own, self.run_backward = program, call.own, run_backward
        self.count = call.count
        self.device = operators.device_type(call)
        # Its name is what graphs of autograd show.
        node: type[_Node] = type(program.name, (_Node,), {"layer": self})
        # apply(of_call, *values), without what torch.autograd.Function does for functorch: that has been asked.
        self.apply = super(torch.autograd.Function, node).apply


class _Node(torch.autograd.Function):
    """Takes the results, which have been computed: a call that does not fit never comes here."""

    layer: _Layer

    @staticmethod
    def forward(ctx: Any, of_call: tuple[Any, Any], *values: Any) -> Any:
        layer = ctx._forward_cls.layer
        ctx.module, made = of_call
        operators.keep(ctx, layer.program, values, made)
        device = layer.device
        ctx.autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        return made

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        layer, needs, made = ctx._forward_cls.layer, ctx.needs_input_grad[1:], None
        values, outputs, grads_in = operators.kept(ctx, layer.program, grads)
        if not torch.is_grad_enabled():
            made = layer.run_backward(values, outputs, grads_in, needs)
        if made is None:  # refused by the kernel, or gradients of gradients
            layer.count(ctx.module, "gradients")
            made = _recompute(ctx, layer, values, grads, needs)
        return (None, *made)


def _recompute(
    ctx: Any, layer: _Layer, values: list[Any], grads: Sequence[Any], needs: Sequence[bool]
) -> list[Any]:
    """Through the own forward: what has gradients of gradients, and takes whatever the kernel's backward does not."""
    program, create_graph = layer.program, torch.is_grad_enabled()
    autocast = torch.autocast(layer.device, ctx.autocast) if ctx.autocast else contextlib.nullcontext()
    with torch.enable_grad(), autocast:
        # Each is a variable of its own: one may have been computed from another.
        values = [_leaf(value, need, create_graph) for value, need in zip(values, needs)]
        module = _with_members(program, ctx.module, values)
        made = layer.own(module, *values[: len(program.inputs)])
        made = made if isinstance(made, tuple) else (made,)
        pairs = [(result, grad) for result, grad in zip(made, grads) if grad is not None and result.requires_grad]
        if not pairs:
            return [None] * len(needs)
        wanted = [value for value, need in zip(values, needs) if need]
        found = iter(
            torch.autograd.grad(
                [result for result, _ in pairs],
                wanted,
                [grad for _, grad in pairs],
                create_graph=create_graph,
                allow_unused=True,
            )
        )
    return [next(found) if need else None for need in needs]


def _leaf(value: Any, needed: bool, connected: bool) -> Any:
    if not needed:
        return value
    return value.view_as(value) if connected else value.detach().requires_grad_()


def _with_members(program: shapes.Program, module: Any, values: Sequence[Any]) -> Any:
    """The module as it was in forward: a shallow copy with the members' values of then."""
    if not program.members:
        return module
    copy = object.__new__(type(module))
    copy.__dict__.update(module.__dict__)
    for name in ("_parameters", "_buffers"):
        copy.__dict__[name] = dict(module.__dict__[name])
    for param, value in zip(program.members, values[len(program.inputs) :]):
        place = operators.find_member(copy, param.host_name)
        if place is not None:
            place[param.host_name] = value
    return copy


def autograd(call: "_kernels.Call") -> Callable[..., Any]:
    """What gives a result its gradients, called as autograd((module, result), *inputs, *members)."""
    program = shapes.parse(call.kernel.layer.json())
    if program.has_backward:
        return _Layer(call, program, call.run_backward).apply
    return lambda of_call, *values: _without_backward(call, of_call[1])


def _without_backward(call: "_kernels.Call", made: Any) -> Any:
    """A kernel for inference serves a module whose results have gradients: they raise when they are asked for."""
    kernel = call.kernel
    text = f"{kernel.text} has no backward for {kernel.layer_name}: kernelize with Mode.TRAINING to train the model"
    results = made if isinstance(made, tuple) else (made,)
    floats = [result.requires_grad_() for result in results if result.is_floating_point()]
    if not floats:
        return made
    delayed = torch._C._functions.DelayedError(text.encode(), len(floats))(*floats)
    left = iter(delayed if isinstance(delayed, tuple) else (delayed,))
    results = tuple(next(left) if result.is_floating_point() else result for result in results)
    return results if isinstance(made, tuple) else results[0]


def operator(call: "_kernels.Call") -> Callable[..., Any]:
    """The forward when a dispatch mode is active, called as operator(module, *args): the mode sees the operator."""
    layer = operators.operator(call)
    program, own, choose = layer.program, call.own, operators.chooser(call, layer.program)

    def run_backward(values: Any, outputs: Any, grads: Any, needs: list[bool]) -> list[Any]:
        return operators.spread(layer.backward(*values, *(outputs or ()), *grads, needs), needs)

    node = _Layer(call, program, run_backward)

    def forward(module: Any, *args: Any) -> Any:
        values, reason = choose(module, args)
        if values is None:
            call.count(module, reason)
            return own(module, *args)
        wanted = torch.is_grad_enabled() and any(isinstance(v, torch.Tensor) and v.requires_grad for v in values)
        if wanted and program.has_backward and not operators.is_differentiable(program, values):
            call.count(module, "gradients")
            return own(module, *args)
        with torch.no_grad():
            made = layer.forward(*values)
        if not wanted:
            return made
        return node.apply((module, made), *values) if program.has_backward else _without_backward(call, made)

    return forward


def attach(call: "_kernels.Call") -> None:
    """Gives a call what PyTorch needs beside the kernel. Operators are registered when the first one is asked for."""

    def first_autograd(*args: Any) -> Any:
        call.autograd = autograd(call)
        return call.autograd(*args)

    def first_operator(module: Any, *args: Any) -> Any:
        call.operator = operator(call)
        return call.operator(module, *args)

    call.autograd, call.operator = first_autograd, first_operator
