"""Native calls in the long run: references, memory, threads, forked children (test_call.py)."""

import gc
import sys
import threading

import pytest
import torch
from call_layers import Layer, Norm, changed, norm, silu  # noqa: F401
from torch import nn
from torch.overrides import TorchFunctionMode

from kernels import _kernels

# --- memory and threads ---


@pytest.mark.extension
def test_references(silu, norm):
    x, y = torch.randn(2, 32), torch.randn(2, 16)
    wrong = y.double()
    things = [x, y, wrong, silu.module, norm.module, norm.module.weight, silu.call, silu.call.own, None, True]

    def once():
        silu(x), norm(y), silu(x=x), norm(wrong), silu.call.run(silu.module, x)
        norm.call.run_backward([y, *norm.call.members(norm.module)], None, [y], [True, True, False])
        norm.call.run_backward([y, *norm.call.members(norm.module)], None, [wrong], [True, True, False])

    once()
    gc.collect()
    before, objects = [sys.getrefcount(thing) for thing in things[:-2]], len(gc.get_objects())
    for _ in range(1000):
        once()
    gc.collect()
    assert [sys.getrefcount(thing) for thing in things[:-2]] == before
    assert len(gc.get_objects()) <= objects + 20


def memory(field):
    """Of this process, in bytes: 0 is what is mapped, 1 what is resident."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[field]) * 4096


def test_constant_memory(silu):
    x, wrong = torch.randn(64, 512), torch.randn(2, 32).double()
    for _ in range(200):
        silu(x), silu(wrong)
    before = memory(1)
    for _ in range(10_000):
        silu(x), silu(wrong)
    assert memory(1) - before < 8 << 20


def test_kernel_errors(changed):
    """What a kernel raises is an error, not a reason to fall back; the results that nobody gets are freed."""
    layer = changed(forward="silu(y, x)")  # which refuses results of another shape
    x = torch.randn(64, 8192)  # a megabyte of results

    def once():
        with pytest.raises(Exception, match="kernel layer SiluAndMul: silu: .*shape") as raised:
            layer(x)
        assert type(raised.value).__module__ == "kernels.errors"
        with pytest.raises(Exception, match="kernel layer SiluAndMul: silu"):
            layer.call.run(layer.module, x)

    once()
    before = memory(0)  # nobody writes what leaks
    for _ in range(200):
        once()
    assert memory(0) - before < 64 << 20
    assert layer.owned == 0 and layer.counts == {}


def test_forked_child(run_python, build):
    """A child that was forked beside a parent whose threads are warm calls, too."""
    run_python(
        """
import ctypes, os, sys, torch
from kernels import _kernels
numbers = lambda y: ctypes.string_at(y.data_ptr(), 4 * y.numel())
call = _kernels.Call(_kernels.HostKernel(sys.argv[1], "SiluAndMul"), print)
x, module = torch.randn(512, 2048), torch.nn.Identity()
with torch.no_grad():
    want = numbers(call.function(module, x))
    child = os.fork()
    if child == 0:  # PyTorch's own threads hang here
        os._exit(0 if numbers(call.function(module, x)) == want else 1)
assert os.waitpid(child, 0)[1] == 0
""",
        build / "packages" / "activation",
        timeout=60,
    )


def test_call_is_collected(build):
    import weakref

    class Own:
        def __call__(self, module, x):
            return x

    own = Own()
    call = _kernels.Call(_kernels.HostKernel(str(build / "packages" / "activation"), "SiLU"), own)
    call.autograd = lambda module, x: call  # a cycle
    gone = weakref.ref(own)
    del own, call
    gc.collect()
    assert gone() is None


def test_counts_that_go_while_they_are_used(silu):
    class Key(str):
        def __hash__(self):
            module.__dict__.pop("_kernel_fallbacks", None)
            return str.__hash__(self)

    module = nn.Module()
    for _ in range(50):
        silu.call.count(module, "a reason")
        silu.call.count(module, Key("a reason"))
    assert _kernels.fallback_counts(module) in ({}, {"a reason": 1})


def test_memory_that_moves_before_a_backward(build):
    call = _kernels.Call(_kernels.HostKernel(str(build / "packages" / "activation"), "SiluAndMul"), lambda m, x: x)
    x, gradient = torch.ones(1, 4), torch.ones(1, 2)
    before = x.detach()  # the old memory stays, so that who reads there is seen

    class Moving(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            with torch._C.DisableTorchFunction():
                if function.__name__ == "is_neg" and args[0] is gradient:
                    x.set_(torch.zeros(1, 4))
                return function(*args, **(kwargs or {}))

    with Moving():
        (found,) = call.run_backward((x,), None, (gradient,), (True,))
    assert before.all() and not x.any() and not found.any()


def run_threads(work, n=4):
    failures = []

    def guarded():
        try:
            work()
        except BaseException as failure:  # noqa: BLE001
            failures.append(failure)

    threads = [threading.Thread(target=guarded) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def test_threads(silu):
    small, large = torch.randn(2, 32), torch.randn(512, 2048)  # with the GIL, and without
    want = silu(small), silu(large)

    def work():
        for _ in range(50):
            assert torch.equal(silu(small), want[0]) and torch.equal(silu(large), want[1])

    run_threads(work)
    assert silu.owned == 0


def test_threads_replace_members(build):
    """A member that another thread replaces while the kernel reads it lives until the kernel is done."""
    layer = Layer(build, "normalization", "LlamaRMSNorm", Norm(4096))
    x, done = torch.randn(256, 4096), threading.Event()

    def replace():
        while not done.is_set():
            layer.module.weight = nn.Parameter(torch.full((4096,), 2.0), requires_grad=False)

    layer.module.weight = nn.Parameter(torch.full((4096,), 2.0), requires_grad=False)
    want = layer(x)
    other = threading.Thread(target=replace)
    other.start()
    try:
        for _ in range(100):
            assert torch.equal(layer(x), want)
    finally:
        done.set()
        other.join()
    assert layer.owned == 0
