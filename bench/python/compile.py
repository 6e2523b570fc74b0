#!/usr/bin/env python3
"""compile.py BUILD: kernelized layers under torch.compile (inductor) on the CPU, beside the same layers compiled as they are.

Each layer is called with five numbers of rows, so that the second shape makes the rows a symbol: `compiles` counts the graphs of all of
them, `graph_breaks` is of the first. `ratio` is the time of the class's own forward, compiled, over that of the kernelized one: above 1 the
kernel is faster. Prints one JSON line a figure; each is the least of rounds that take turns. One process a number of threads.
"""

import json
import os
import pathlib
import subprocess
import sys
import time

THREADS = os.environ.get("KN_BENCH_THREADS")
BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build/release").resolve()
if THREADS is None:  # OpenMP reads its number once
    for threads in ("1", "2"):
        env = os.environ | {"KN_BENCH_THREADS": threads, "OMP_NUM_THREADS": threads}
        subprocess.run([sys.executable, __file__, str(BUILD)], env=env, check=True)
    sys.exit(0)
sys.path.insert(0, str(BUILD / "python"))

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from kernels import LocalLayerRepository, Mode, kernelize, report, use_kernel_forward_from_hub, use_kernel_mapping  # noqa: E402

ROUNDS, ROUND_NS, H = int(os.environ.get("KN_BENCH_ROUNDS", "60")), 2_000_000, 4096
ROWS = (1, 16, 64, 128, 512)


@use_kernel_forward_from_hub("SiluAndMul")
class SiluAndMul(nn.Module):
    def forward(self, x):
        d = x.shape[-1] // 2
        return F.silu(x[..., :d]) * x[..., d:]


@use_kernel_forward_from_hub("LlamaRMSNorm")
class RMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(H), requires_grad=False)
        self.variance_epsilon = 1e-6

    def forward(self, hidden_states):
        x = hidden_states.float()
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * x.to(hidden_states.dtype)


def kernelized(module):
    packages = BUILD / "packages"
    mapping = {
        "SiluAndMul": {"cpu": LocalLayerRepository(packages / "activation", layer_name="SiluAndMul")},
        "LlamaRMSNorm": {"cpu": LocalLayerRepository(packages / "normalization", layer_name="LlamaRMSNorm")},
    }
    with use_kernel_mapping(mapping):
        kernelize(module, mode=Mode.INFERENCE | Mode.TORCH_COMPILE, device="cpu")
    report(module).raise_if_fallback()
    return module


def least(calls, x):
    best, times = [float("inf")] * len(calls), []
    for call in calls:
        for _ in range(5):
            call(x)
        start = time.perf_counter_ns()
        call(x)
        times.append(max(1, min(200, ROUND_NS // max(1, time.perf_counter_ns() - start))))
    for _ in range(ROUNDS):
        for at, call in enumerate(calls):
            start = time.perf_counter_ns()
            for _ in range(times[at]):
                call(x)
            best[at] = min(best[at], (time.perf_counter_ns() - start) / times[at])
    return best


def main():
    torch.set_num_threads(int(THREADS))
    with torch.no_grad():
        for cls in (SiluAndMul, RMSNorm):
            torch._dynamo.reset()
            module, x = kernelized(cls()), torch.randn(2, H)
            breaks = torch._dynamo.explain(module)(x).graph_break_count
            torch._dynamo.reset()
            torch._dynamo.utils.counters.clear()
            ours, theirs = torch.compile(module), torch.compile(cls())
            for rows in ROWS:
                ours(torch.randn(rows, H))
            compiles = torch._dynamo.utils.counters["stats"]["unique_graphs"]
            for rows in ROWS:
                theirs(torch.randn(rows, H))
            head = {"layer": cls.__name__, "threads": int(THREADS)}
            print(json.dumps({"bench": "compile"} | head | {"graph_breaks": breaks, "compiles": compiles}), flush=True)
            for rows in ROWS:
                kernel, inlined = least((ours, theirs), torch.randn(rows, H))
                line = {"rows": rows, "cols": H, "kernel_us": round(kernel / 1e3, 2), "inlined_us": round(inlined / 1e3, 2)}
                print(json.dumps({"bench": "compiled_call"} | head | line | {"ratio": round(inlined / kernel, 2)}), flush=True)


main()
