"""The layers of this package as PyTorch modules, through the functions of its library. Made by `kernels pack`."""

import json

import torch
from torch import nn

from . import _library

_DTYPES = {"bool": torch.bool, "u8": torch.uint8, "i8": torch.int8, "i16": torch.int16, "i32": torch.int32,
           "i64": torch.int64, "f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64}
_KINDS = {"tensor": "Tensor", "int": "int", "float": "float", "bool": "bool"}


def _dtype(name):
    return _DTYPES[name] if name in _DTYPES else getattr(torch, {"u": "uint", "f": "float"}[name[0]] + name[1:])


def _laid_out(param, tensor):
    """The tensor as the signature wants it in memory: itself, or a contiguous copy."""
    layout = param.get("layout")
    last = tensor.dim() > 0 and tensor.stride(-1) == 1
    if (layout == "strided" and last) or (layout == "rows" and last and tensor.dim() <= 2):
        return tensor.detach()
    return tensor.detach().contiguous()


class _Call:
    """What one call has bound: values by name, and the symbols of their dimensions."""

    def __init__(self, layer, params, values):
        self.values, self.symbols, self.batch, self.device = {}, {}, (), None
        for param, value in zip(params, values):
            if "equals" in param and value != param["equals"]:
                raise ValueError(f"{layer}: {param['name']} is {value}, accepted is {param['equals']}")
            if isinstance(value, torch.Tensor):
                value = _laid_out(param, value)
                self.device = self.device or value.device
                self._bind(layer, param, value.shape)
            self.values[param["name"]] = value

    def _bind(self, layer, param, shape):
        dims = param.get("dims", [])
        n_batch = len(shape) - (len(dims) - 1) if "..." in dims else 0
        if n_batch < 0 or ("..." not in dims and dims and len(dims) != len(shape)):
            raise ValueError(f"{layer}: {param['name']} has {len(shape)} dimensions")
        at = 0
        for dim in dims:
            if dim == "...":
                self.batch = tuple(shape[at:at + n_batch])
                at += n_batch
                continue
            if "symbol" in dim and dim["symbol"] not in self.symbols:
                self.symbols[dim["symbol"]] = (shape[at] - dim["add"]) // dim["mul"]
            at += 1

    def _extent(self, dim):
        return dim["add"] + (dim["mul"] * self.symbols[dim["symbol"]] if "symbol" in dim else 0)

    def _dtype(self, rule):
        if "one_of" in rule:
            return _dtype(rule["one_of"][0])
        tensors = [self.values[name] for name in ([rule["of"]] if "of" in rule else rule["promote"])]
        dtypes = [tensor.dtype for tensor in tensors if tensor is not None]
        result = dtypes[0]
        for other in dtypes[1:]:
            result = torch.promote_types(result, other)
        return result

    def make(self, params):
        """Room for results; of a gradient whose tensor is none: an empty one, which stands for none."""
        for param in params:
            if "of" in param and self.values[param["of"]] is None:
                self.values[param["name"]] = None
            elif "like" in param:
                self.values[param["name"]] = torch.empty_like(self.values[param["like"]])
            else:
                shape = []
                for dim in param["dims"]:
                    shape += self.batch if dim == "..." else [self._extent(dim)]
                self.values[param["name"]] = torch.empty(shape, dtype=self._dtype(param["dtype"]), device=self.device)
        results = [self.values[param["name"]] for param in params]
        return [torch.empty(0, device=self.device) if result is None else result for result in results]

    def run(self, call):
        _library.get_function(call["function"])(
            *[self.values[arg["name"]] if "name" in arg else arg["value"] for arg in call["args"]])


def _define(program_id, program):
    """Two operators of PyTorch, forward and backward, which torch.compile and autograd know what to do with."""
    layer, backward = program["name"], program["backward"]
    params, outputs = program["inputs"] + program["members"], program["outputs"]
    types = [_KINDS[param["kind"]] + ("?" if param.get("optional") else "") for param in params]

    def results(*values):
        call = _Call(layer, params, values)
        made = call.make(outputs)
        return call, made[0] if len(made) == 1 else tuple(made)

    def forward(*values):
        call, made = results(*values)
        call.run(program["call"])
        return made

    schema = ", ".join(f"{kind} a{i}" for i, kind in enumerate(types))
    returns = "Tensor" if len(outputs) == 1 else "(" + ", ".join(["Tensor"] * len(outputs)) + ")"
    operator = torch.library.custom_op(f"{program_id}::{layer}", forward, mutates_args=(),
                                       schema=f"({schema}) -> {returns}")
    operator.register_fake(lambda *values: results(*values)[1])
    if backward is None:
        return operator

    grads_in, grads_out = backward["grad_inputs"], backward["grad_outputs"]
    saves_outputs = any(arg.get("name") == output["name"] for arg in backward["call"]["args"] for output in outputs)
    saved_outputs = outputs if saves_outputs else []
    everything = params + [{"name": param["name"]} for param in saved_outputs] + [
        {"name": param["name"], "layout": "dense"} for param in grads_in]

    def gradients(*values):
        call = _Call(layer, everything, values)
        return call, call.make(grads_out)

    def run_backward(*values):
        call, made = gradients(*values)
        call.run(backward["call"])
        return made

    more = ["Tensor"] * len(saved_outputs) + ["Tensor?"] * len(grads_in)
    schema = ", ".join(f"{kind} a{i}" for i, kind in enumerate(types + more))
    backward_operator = torch.library.custom_op(f"{program_id}::{layer}_backward", run_backward, mutates_args=(),
                                                schema=f"({schema}) -> Tensor[]")
    backward_operator.register_fake(lambda *values: gradients(*values)[1])

    def save(ctx, inputs, output):
        made = (output if isinstance(output, tuple) else (output,)) if saves_outputs else ()
        tensors = [value if isinstance(value, torch.Tensor) else None for value in inputs]
        ctx.save_for_backward(*tensors, *made)
        ctx.scalars = [None if isinstance(value, torch.Tensor) else value for value in inputs]
        results_now = output if isinstance(output, tuple) else (output,)
        ctx.shapes = [(tuple(result.shape), result.dtype, result.device) for result in results_now]

    def differentiate(ctx, *grads):
        saved = ctx.saved_tensors
        values = [saved[i] if scalar is None else scalar for i, scalar in enumerate(ctx.scalars)]
        by_name = {output["name"]: (grad, shape) for output, grad, shape in zip(outputs, grads, ctx.shapes)}
        flowing = []
        for param in grads_in:
            grad, (shape, dtype, device) = by_name[param["of"]]
            if grad is None and not param.get("optional"):
                grad = torch.zeros(shape, dtype=dtype, device=device)
            flowing.append(grad)
        made = backward_operator(*values, *saved[len(params):], *flowing)
        given = {param["of"]: grad for param, grad in zip(grads_out, made)}
        return tuple(given.get(param["name"]) if isinstance(value, torch.Tensor) else None
                     for param, value in zip(params, values))

    operator.register_autograd(differentiate, setup_context=save)
    return operator


