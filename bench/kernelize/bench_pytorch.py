"""What kernelize costs on a PyTorch model, beside PyTorch's own walk: minima of interleaved rounds, one line a size."""

import argparse
import gc
import json
import time
import tracemalloc

from torch import nn

from kernels import Mode, kernelize, unkernelize, use_kernel_mapping


class Scale(nn.Module):
    kernel_layer_name = "Scale"

    def forward(self, x):
        return x * 2


class Times(nn.Module):
    def forward(self, x):
        return x * 7


class Repository:
    layer_name = "Times"

    def load(self):
        return Times

    def __str__(self):
        return "bench"


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.act, self.linear = Scale(), nn.Linear(1, 1, bias=False)


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def bench(n_modules, rounds):
    model = nn.Sequential(*(Block() for _ in range(n_modules // 3)))
    n = sum(1 for _ in model.modules())
    works = {
        "named_modules_us": lambda: list(model.named_modules()),
        "undo_us": lambda: unkernelize(model),
        "first_us": lambda: kernelize(model, mode=Mode.INFERENCE),
        "again_us": lambda: kernelize(model, mode=Mode.INFERENCE),
        "again_device_given_us": lambda: kernelize(model, mode=Mode.INFERENCE, device="cpu"),
    }
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kernelize(model, mode=Mode.INFERENCE)
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    best = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            best[name] = min(best[name], seconds(work))
    figures = {name: round(best[name] / n * 1e6, 3) for name in works}
    figures["kept_bytes_per_replaced"] = round(kept / (n_modules // 3))
    return {"bench": "kernelize_pytorch", "modules": n, **figures}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with use_kernel_mapping({"Scale": {"cpu": Repository()}}, inherit_mapping=False):
        bench(300, 1)  # what is made once
        for n in (1000, 10000, 100000):
            print(json.dumps(bench(n, options.rounds)), flush=True)


if __name__ == "__main__":
    main()
