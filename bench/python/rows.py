"""rows.py ROW [ARGUMENT…]: one measurement, in whichever environment this runs. Prints seconds (or bytes) as JSON.

It uses what every release of `kernels` has, so that the same lines measure all of them.
"""

import ctypes
import gc
import importlib.metadata
import inspect
import json
import sys
import time
import tracemalloc
import types


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
    """A repository object of one's own. load() gives the layer; in early releases, the kernel that has it."""
    minor = int(importlib.metadata.version("kernels").split(".")[1])
    loaded = kernel if minor >= 12 else types.SimpleNamespace(layers=types.SimpleNamespace(Kernel=kernel))

    class Repository:
        layer_name = "Kernel"

        def load(self):
            return loaded

        def __hash__(self):
            return id(kernel)

        def __eq__(self, other):
            return self is other

        def __str__(self):
            return "bench"

    return Repository()


def walk(n):
    """kernelize of n extensible modules whose kernel is loaded, each time for another mode; per module."""
    import torch
    from kernels import Mode, kernelize, register_kernel_mapping, replace_kernel_forward_from_hub

    Layer, Kernel = classes()
    _, Other = classes()
    replace_kernel_forward_from_hub(Layer, "Layer")
    model = torch.nn.ModuleList(torch.nn.ModuleList(Layer() for _ in range(100)) for _ in range(n // 100))
    modes = [Mode.INFERENCE, Mode.TRAINING]
    register_kernel_mapping({"Layer": {"xpu": dict(zip(modes, (repository(Kernel), repository(Other))))}})

    def call():
        modes.reverse()
        kernelize(model, mode=modes[0], device="xpu")

    forwards = []
    for _ in modes:  # each time every module is written
        call()
        forwards.append({module.forward.__func__ for module in model.modules() if isinstance(module, Layer)})
    assert all(len(each) == 1 for each in forwards) and forwards[0] != forwards[1], forwards
    gc.collect()
    gc.disable()
    return best(call, max(5, min(40, 300_000 // n))) / n


def _malloc_bytes():
    class Info(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keep".split()]

    ask = ctypes.CDLL(None).mallinfo2
    ask.restype = Info
    info = ask()
    return info.uordblks + info.hblkhd


def memory(n):
    """Bytes that kernelize adds to a module: those of Python's objects, and what else is allocated. Large objects count twice."""
    import torch
    from kernels import Mode, kernelize, register_kernel_mapping, replace_kernel_forward_from_hub

    Layer, Kernel = classes()
    replace_kernel_forward_from_hub(Layer, "Layer")
    register_kernel_mapping({"Layer": {"xpu": repository(Kernel)}})
    kernelize(torch.nn.ModuleList([Layer()]), mode=Mode.INFERENCE, device="xpu")

    def added(count):
        model = torch.nn.ModuleList(Layer() for _ in range(n))
        gc.collect()
        before = count()
        kernelize(model, mode=Mode.INFERENCE, device="xpu")
        gc.collect()
        return count() - before

    allocated = added(_malloc_bytes)
    tracemalloc.start()
    return (allocated + added(lambda: tracemalloc.get_traced_memory()[0])) / n


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
    from kernels import LayerRepository

    trust = {"trust_remote_code": True} if "trust_remote_code" in inspect.signature(LayerRepository.__init__).parameters else {}
    return LayerRepository(repo_id, revision=revision, layer_name="SiluAndMul", **trust)


def loaded(repo_id, revision):
    """The layer of a repository that is loaded."""
    import torch  # noqa: F401
    repo = _reference(repo_id, revision)
    repo.load()
    return best(repo.load, 7, 20)


def _get(repo_id, revision):
    from kernels import get_kernel

    trust = {"trust_remote_code": True} if "trust_remote_code" in inspect.signature(get_kernel).parameters else {}
    return lambda: get_kernel(repo_id, revision=revision, **trust)


def again(repo_id, revision):
    """get_kernel, by commit, of a kernel that is loaded."""
    import torch  # noqa: F401

    get = _get(repo_id, revision)
    get()
    return best(get, 30, 5)


def cached(repo_id, revision):
    """The first get_kernel in a process, by commit, from a warm cache; PyTorch and kernels are imported before."""
    import torch  # noqa: F401

    get = _get(repo_id, revision)
    start = time.perf_counter()
    get()
    return time.perf_counter() - start


if __name__ == "__main__":
    row, *arguments = sys.argv[1:]
    print(json.dumps(globals()[row](*[int(each) if each.isdigit() else each for each in arguments])))
