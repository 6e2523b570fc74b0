"""One measurement, in whichever environment this runs: `python rows.py ROW [ARGUMENT…]` prints seconds (or bytes) as JSON.

It uses what every release of `kernels` has, so that the same lines measure all of them.
"""

import gc
import json
import sys
import time
import tracemalloc


def best(call, rounds, calls=1):
    """Seconds of one call: the least of so many rounds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        times.append((time.perf_counter() - start) / calls)
    return min(times)


def classes():
    import torch

    class Layer(torch.nn.Module):
        def forward(self, x):
            return x

    class Kernel(torch.nn.Module):
        has_backward = True
        can_torch_compile = True

        def forward(self, x):
            return x

    return Layer, Kernel


def repository(kernel):
    """A repository object of one's own; what load() gives differs between releases."""
    import types

    import kernels

    layer_is_loaded = int(kernels.__version__.split(".")[1]) >= 12 if hasattr(kernels, "__version__") else False

    class Repository:
        layer_name = "Kernel"

        def load(self):
            return kernel if layer_is_loaded else types.SimpleNamespace(layers=types.SimpleNamespace(Kernel=kernel))

        def __hash__(self):
            return 1

        def __eq__(self, other):
            return type(other) is type(self)

        def __str__(self):
            return "bench"

    return Repository()


def walk(n):
    """kernelize of n extensible modules whose kernel is loaded, each time for another mode; per module."""
    import torch
    from kernels import Mode, kernelize, register_kernel_mapping, replace_kernel_forward_from_hub
    Layer, Kernel = classes()
    replace_kernel_forward_from_hub(Layer, "Layer")
    model = torch.nn.ModuleList(torch.nn.ModuleList(Layer() for _ in range(100)) for _ in range(n // 100))
    register_kernel_mapping({"Layer": {"xpu": repository(Kernel)}})
    modes = [Mode.INFERENCE, Mode.TRAINING]

    def call():
        modes.reverse()
        kernelize(model, mode=modes[0], device="xpu")
    call()
    call()
    gc.collect()
    gc.disable()
    return best(call, 7) / n


def memory(n):
    """Bytes that kernelize adds to a module."""
    import torch
    from kernels import Mode, kernelize, register_kernel_mapping, replace_kernel_forward_from_hub
    Layer, Kernel = classes()
    replace_kernel_forward_from_hub(Layer, "Layer")
    register_kernel_mapping({"Layer": {"xpu": repository(Kernel)}})
    kernelize(torch.nn.ModuleList([Layer()]), mode=Mode.INFERENCE, device="xpu")
    model = torch.nn.ModuleList(Layer() for _ in range(n))
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kernelize(model, mode=Mode.INFERENCE, device="xpu")
    gc.collect()
    return (tracemalloc.get_traced_memory()[0] - before) / n


def scope(n):
    """Entering and leaving a scope of one entry over n registered ones."""
    from kernels import CUDAProperties, Device, register_kernel_mapping, use_kernel_mapping
    _, Kernel = classes()
    repo = repository(Kernel)
    device = Device(type="cuda", properties=CUDAProperties(min_capability=75, max_capability=90))
    register_kernel_mapping({f"Layer{i}": {device: repo} for i in range(n)})

    def call():
        with use_kernel_mapping({"One": {device: repo}}):
            pass
    call()
    return best(call, 7, 3)


def _reference(repo_id, revision):
    import inspect

    from kernels import LayerRepository
    trust = {"trust_remote_code": True} if "trust_remote_code" in inspect.signature(LayerRepository.__init__).parameters else {}
    return LayerRepository(repo_id, revision=revision, layer_name="SiluAndMul", **trust)


def loaded(repo_id, revision):
    """The layer of a repository that is loaded."""
    import torch  # noqa: F401
    repo = _reference(repo_id, revision)
    repo.load()
    return best(repo.load, 7, 20)


def cached(repo_id, revision):
    """The first kernel by commit in a process, from a warm cache."""
    import inspect

    import torch  # noqa: F401
    from kernels import get_kernel
    trust = {"trust_remote_code": True} if "trust_remote_code" in inspect.signature(get_kernel).parameters else {}
    start = time.perf_counter()
    get_kernel(repo_id, revision=revision, **trust)
    return time.perf_counter() - start


if __name__ == "__main__":
    row, *arguments = sys.argv[1:]
    print(json.dumps(globals()[row](*[int(each) if each.isdigit() else each for each in arguments])))
