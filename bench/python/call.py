#!/usr/bin/env python3
"""call.py BUILD: what a call of a native layer costs in PyTorch, on the CPU, one thread.

Each layer runs four ways: kernelized; as its class is ("eager"); and the package's functions as an author would give them to PyTorch with
torch.library ("operator": define and impl, of a Python function that allocates the result by torch.empty and calls the function that tvm_ffi
loaded; with gradients also register_autograd). `above_ns` is the time of a call less that of a module whose forward returns its argument.
Prints one JSON line a figure; each is the least of many short rounds, which take turns.
"""

import json
import os
import pathlib
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"
BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build/release").resolve()
sys.path.insert(0, str(BUILD / "python"))

import torch  # noqa: E402
import tvm_ffi  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from kernels import LocalLayerRepository, Mode, kernelize, report, use_kernel_forward_from_hub, use_kernel_mapping  # noqa: E402

ROUNDS, ROUND_NS = int(os.environ.get("KN_BENCH_ROUNDS", "400")), 150_000
EPSILON = 1e-6


class Identity(nn.Module):
    def forward(self, x):
        return x


@use_kernel_forward_from_hub("SiluAndMul")
class SiluAndMul(nn.Module):
    def forward(self, x):
        d = x.shape[-1] // 2
        return F.silu(x[..., :d]) * x[..., d:]


@use_kernel_forward_from_hub("LlamaRMSNorm")
class RMSNorm(nn.Module):
    def __init__(self, h, trained):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(h), requires_grad=trained)
        self.variance_epsilon = EPSILON

    def forward(self, hidden_states):
        x = hidden_states.float()
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * x.to(hidden_states.dtype)


@use_kernel_forward_from_hub("SiluAndMul")
class Refused(nn.Module):
    """Called with what the kernel does not take: what the refusal costs, beside an own forward that costs nothing."""

    def forward(self, x):
        return x


def kernelized(module, mode=Mode.INFERENCE):
    packages = BUILD / "packages"
    mapping = {
        "SiluAndMul": {"cpu": LocalLayerRepository(packages / "activation", layer_name="SiluAndMul")},
        "LlamaRMSNorm": {"cpu": LocalLayerRepository(packages / "normalization", layer_name="LlamaRMSNorm")},
    }
    with use_kernel_mapping(mapping):
        kernelize(module, mode=mode, device="cpu")
    report(module).raise_if_fallback()
    return module


# --- the same functions as operators ---


def load(package):
    return tvm_ffi.load_module(str(next((BUILD / "packages" / package).glob(f"build/*cpu*/{package}.so"))))


activation, normalization = load("activation"), load("normalization")
library = torch.library.Library("bench_kernels", "DEF")


def silu_and_mul(x):
    y = torch.empty((*x.shape[:-1], x.shape[-1] // 2), dtype=x.dtype, device=x.device)
    activation.silu_and_mul(y, x)
    return y


def silu_and_mul_backward(ctx, dy):
    (x,) = ctx.saved_tensors
    dx = torch.empty_like(x)
    activation.silu_and_mul_backward(dx, dy, x)
    return dx


def rms_norm(x, weight, eps):
    y = torch.empty_like(x)
    normalization.rms_norm(y, x, weight, eps, 0.0)
    return y


def rms_norm_backward(ctx, dy):
    x, weight = ctx.saved_tensors
    dx, dw = torch.empty_like(x), torch.empty_like(weight)
    normalization.rms_norm_backward(dx, dw, dy, x, weight, ctx.eps, 0.0)
    return dx, dw, None


def save_silu(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def save_norm(ctx, inputs, output):
    x, weight, ctx.eps = inputs
    ctx.save_for_backward(x, weight)


def define(name, schema, function, backward, save):
    """An operator for inference, which no code of autograd slows down, and one that is trained."""
    for each in (name, f"{name}_trained"):
        library.define(f"{each}{schema}")
        library.impl(each, function, "CPU")
    torch.library.register_autograd(f"bench_kernels::{name}_trained", backward, setup_context=save, lib=library)


define("silu_and_mul", "(Tensor x) -> Tensor", silu_and_mul, silu_and_mul_backward, save_silu)
define("rms_norm", "(Tensor x, Tensor weight, float eps) -> Tensor", rms_norm, rms_norm_backward, save_norm)
OPS = torch.ops.bench_kernels


class OperatorSilu(nn.Module):
    def forward(self, x):
        return OPS.silu_and_mul(x)


class OperatorNorm(RMSNorm):
    def forward(self, hidden_states):
        return OPS.rms_norm(hidden_states, self.weight, self.variance_epsilon)


class TrainedSilu(nn.Module):
    def forward(self, x):
        return OPS.silu_and_mul_trained(x)


class TrainedNorm(RMSNorm):
    def forward(self, hidden_states):
        return OPS.rms_norm_trained(hidden_states, self.weight, self.variance_epsilon)


# --- measuring ---


def backward(call, x):
    def both(_):
        y = call(x)
        y.backward(torch.ones_like(y))
        x.grad = None

    return both


def least(cases):
    """Nanoseconds a call of {name: (callable, argument)}."""
    best, calls = dict.fromkeys(cases, float("inf")), {}
    for name, (call, x) in cases.items():
        for _ in range(20):  # before it is timed for the length of its rounds
            call(x)
        start = time.perf_counter_ns()
        for _ in range(5):
            call(x)
        calls[name] = max(1, min(200, 5 * ROUND_NS // max(1, time.perf_counter_ns() - start)))
    for _ in range(ROUNDS):
        for name, (call, x) in cases.items():
            n = range(calls[name])
            start = time.perf_counter_ns()
            for _ in n:
                call(x)
            best[name] = min(best[name], (time.perf_counter_ns() - start) / calls[name])
    return best


def say(figure, layer, x, best, name, rivals):
    above = {who: best[f"{name} {who}"] - best["identity"] for who in ("kernel", *rivals)}
    line = {"bench": figure, "layer": layer, "shape": list(x.shape)} | {f"{who}_above_ns": round(ns) for who, ns in above.items()}
    line |= {f"{who}_ratio": round(above[who] / above["kernel"], 2) for who in rivals}
    print(json.dumps(line | {"identity_ns": round(best["identity"])}), flush=True)


def calls(grad):
    x = torch.randn(1, 64, requires_grad=grad)
    mode = Mode.TRAINING if grad else Mode.INFERENCE
    operators = (TrainedSilu(), TrainedNorm(64, True)) if grad else (OperatorSilu(), OperatorNorm(64, False))
    ways = {
        "SiluAndMul": (kernelized(SiluAndMul(), mode), operators[0], SiluAndMul()),
        "LlamaRMSNorm": (kernelized(RMSNorm(64, grad), mode), operators[1], RMSNorm(64, grad)),
    }
    cases = {"identity": (Identity(), x)}
    for layer, modules in ways.items():
        for who, module in zip(("kernel", "operator", "eager"), modules):
            cases[f"{layer} {who}"] = module, x
            if grad:
                cases[f"{layer} backward {who}"] = backward(module, x), x
    if not grad:
        cases["refusal kernel"] = kernelized(Refused()), x.double()
    with torch.set_grad_enabled(grad):
        best = least(cases)
    for layer in ways:
        say("call_grad" if grad else "call", layer, x, best, layer, ("operator", "eager"))
        if grad:
            say("call_and_backward", layer, x, best, f"{layer} backward", ("operator", "eager"))
    if not grad:
        say("refusal", "SiluAndMul", x, best, "refusal", ())


def sizes():
    """From a call's cost to that of memory."""
    silu, norms = kernelized(SiluAndMul()), {h: kernelized(RMSNorm(h, False)) for h in (64, 1024, 4096)}
    with torch.no_grad():
        for rows, h in ((1, 64), (1, 1024), (1, 4096), (16, 1024), (64, 4096), (512, 4096)):
            x = torch.randn(rows, h)
            best = least({
                "identity": (Identity(), x), "s kernel": (silu, x), "s eager": (SiluAndMul(), x),
                "n kernel": (norms[h], x), "n eager": (RMSNorm(h, False), x),
            })  # fmt: skip
            say("call_size", "SiluAndMul", x, best, "s", ("eager",))
            say("call_size", "LlamaRMSNorm", x, best, "n", ("eager",))


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps({"bench": "call_setting", "torch": torch.__version__, "dtype": "float32", "threads": 1}))
    calls(False)
    calls(True)
    sizes()
