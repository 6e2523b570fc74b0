"""What kernelize costs in memory, and that it gives it back."""

import gc
import tracemalloc

import pytest
from torch import nn
from torch_models import INFERENCE, TRAINING, Block, Custom, Scale, Weighted, Weights, kernelize_with, on_cpu, times

from kernels import kernelize, report, unkernelize

N = 3000


def traced(work):
    """Bytes that are held after `work`, over before."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before, kept
    finally:
        tracemalloc.stop()


def test_a_replaced_module_costs_at_most_400_bytes():
    layer = Custom(times(7))
    kernelize_with(nn.Sequential(Block()), layer)  # what is made once
    m = nn.Sequential(*(Block() for _ in range(N)))
    held, _ = traced(lambda: kernelize_with(m, layer))
    assert 48 < held / N <= 400
    unkernelize(m)
    held, _ = traced(lambda: unkernelize(kernelize_with(m, layer)))
    assert held < N


def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def grows(work):
    """By how many objects, and bytes, 2500 rounds grow the process."""
    gc.collect()
    objects, size = len(gc.get_objects()), rss()
    for _ in range(2500):
        work()
    gc.collect()
    return len(gc.get_objects()) - objects, rss() - size


ROUNDS = {
    "an equal decision": lambda m, first, second: kernelize(m, mode=INFERENCE),
    "kernelize and undo": lambda m, first, second: unkernelize(kernelize(m, mode=INFERENCE)),
    "train and eval": lambda m, first, second: kernelize(kernelize(m, mode=INFERENCE), mode=TRAINING),
    "report": lambda m, first, second: report(m),
}


@pytest.mark.parametrize("name", ROUNDS)
def test_ten_thousand_rounds_in_constant_memory(name):
    m = nn.Sequential(Block(), Weighted(), Scale())
    first, second = Custom(times(3)), Custom(Weights)
    with on_cpu({INFERENCE: first, TRAINING: Custom(times(7))}):
        kernelize(m, mode=INFERENCE)
        grown = [grows(lambda: ROUNDS[name](m, first, second)) for _ in range(4)]
    # What grows with the rounds grows in each part; others in the process grow once.
    assert min(n for n, _ in grown[1:]) < 50
    assert min(size for _, size in grown[1:]) < 256 << 10
    assert first.loads == 1


def test_a_model_is_freed():
    import weakref

    m = kernelize_with(nn.Sequential(Block()), Custom(times(7)))
    gone = weakref.ref(m[0].scale)
    del m
    gc.collect()
    assert gone() is None


def test_an_undone_model_is_freed_without_the_collector():
    import weakref

    m = kernelize_with(nn.Sequential(Block()), Custom(times(7)))
    unkernelize(m)
    gone = weakref.ref(m[0].scale)
    gc.disable()
    try:
        del m
        assert gone() is None
    finally:
        gc.enable()


def test_a_failing_call_holds_nothing():
    class Broken(Exception):
        pass

    m, broken = nn.Sequential(Block()), Custom(None, error=Broken)  # one that is raised again would collect tracebacks

    def fail():
        for _ in range(300):
            with pytest.raises(Broken):
                kernelize_with(m, broken)

    fail()
    held, _ = traced(fail)
    assert held < 64 << 10


class Refusing(nn.Module):
    """Whatever the walk asks it raises, each in turn."""

    kernel_layer_name = "Scale"
    kernel_condition = None

    def forward(self, x):
        return x


class Raising:
    @property
    def device(self):
        raise KeyError("device")


def raise_key_error(*_):
    raise KeyError("condition")


@pytest.mark.parametrize("where", ["condition", "device", "load", "layer"])
def test_errors_on_the_way_hold_nothing(where, monkeypatch):
    m = nn.Sequential(Scale(), nn.Sequential(Block(), Refusing()))
    layer = Custom(7 if where == "layer" else times(7), error=KeyError if where == "load" else None)
    if where == "condition":
        monkeypatch.setattr(Refusing, "kernel_condition", raise_key_error)
    if where == "device":
        m[1][1]._parameters = {"weight": Raising()}

    def fail():
        for _ in range(300):
            with pytest.raises((KeyError, TypeError)):
                kernelize_with(m, layer)

    fail()
    held, _ = traced(fail)
    assert held < 32 << 10
