"""What a native call costs above an identity module: a layer's kernel, eager PyTorch, and the kernel as an operator.

    PYTHONPATH=build/release/python OMP_NUM_THREADS=1 python bench/python/call.py build/release/packages

Nanoseconds a call, the least of interleaved rounds; the identity's are subtracted from the others.
"""

import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from kernels import _kernels

ROUNDS, CALLS = 60, 2000


class Identity(nn.Module):
    def forward(self, x):
        return x


class SiluAndMul(nn.Module):
    def forward(self, x):
        d = x.shape[-1] // 2
        return F.silu(x[..., :d]) * x[..., d:]


class RMSNorm(nn.Module):
    def __init__(self, h):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(h), requires_grad=False)
        self.variance_epsilon = 1e-6

    def forward(self, hidden_states):
        x = hidden_states.float()
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * x.to(hidden_states.dtype)


def bind(module, call):
    """As kernelize does it: a generated forward around the C function, as a method of the instance."""
    space = {"function": call.function, "is_compiling": torch.compiler.is_compiling}
    exec("def forward(self, x):\n    return function(self, x)", space)
    module.forward = space["forward"].__get__(module)
    return module


def operator(call):
    library = torch.library.Library("bench_kernels", "DEF")
    library.define("silu_and_mul(Tensor x) -> Tensor")
    module = SiluAndMul()
    library.impl("silu_and_mul", lambda x: call.run(module, x), "CPU")

    class Operator(nn.Module):
        def forward(self, x):
            return torch.ops.bench_kernels.silu_and_mul(x)

    made = Operator()
    made.library = library
    return made


def least(cases):
    best = {name: float("inf") for name in cases}
    for _ in range(ROUNDS):
        for name, (module, x) in cases.items():
            start = time.perf_counter_ns()
            for _ in range(CALLS):
                module(x)
            best[name] = min(best[name], (time.perf_counter_ns() - start) / CALLS)
    return best


def main(packages):
    def call(package, layer, cls):
        return _kernels.Call(_kernels.HostKernel(str(Path(packages, package).resolve()), layer), cls.forward)

    silu, norm = call("activation", "SiluAndMul", SiluAndMul), call("normalization", "LlamaRMSNorm", RMSNorm)
    x, wrong = torch.randn(1, 64), torch.randn(1, 64, dtype=torch.float64)
    cases = {
        "identity": (Identity(), x),
        "SiluAndMul, kernel": (bind(SiluAndMul(), silu), x),
        "SiluAndMul, guard refuses f64": (bind(SiluAndMul(), silu), wrong),
        "SiluAndMul, own f64": (SiluAndMul(), wrong),
        "SiluAndMul, torch.library": (operator(silu), x),
        "SiluAndMul, eager": (SiluAndMul(), x),
        "LlamaRMSNorm, kernel": (bind(RMSNorm(64), norm), x),
        "LlamaRMSNorm, eager": (RMSNorm(64), x),
    }
    with torch.no_grad():
        best = least(cases)
    print(f"torch {torch.__version__}, [1, 64] f32, no grad")
    for name, ns in best.items():
        above = "" if name == "identity" else f"{ns - best['identity']:8.0f} above"
        print(f"{name:32}{ns:8.0f} ns{above}")


if __name__ == "__main__":
    main(sys.argv[1])
