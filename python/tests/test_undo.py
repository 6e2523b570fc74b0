"""The way back: what kernelize wrote is taken away, and nothing else."""

import functools
import threading
import time

import pytest
import torch
from torch import nn
from torch_models import (
    INFERENCE,
    TRAINING,
    Block,
    Custom,
    Scale,
    Weighted,
    Weights,
    factor,
    kernelize_with,
    on_cpu,
    times,
)

from kernels import kernelize, plan, report, unkernelize, use_kernel_mapping


pytestmark = pytest.mark.extension


def entries(model):
    return [dict(vars(module)) for module in model.modules()]


def same(before, after):
    return all(one.keys() == other.keys() and all(one[k] is other[k] for k in one) for one, other in zip(before, after))


def test_undo_leaves_the_dictionaries_as_they_were():
    m = nn.Sequential(Scale(), Block(), nn.Sequential(Scale()))
    before = entries(m)
    kernelize_with(m, Custom(times(7)))
    assert not same(before, entries(m))
    assert unkernelize(m) is m
    assert same(before, entries(m))
    assert factor(m[0]) == 2


def test_undo_again_does_nothing():
    m = kernelize_with(nn.Sequential(Scale()), Custom(times(7)), device="cpu")
    unkernelize(m)
    before = entries(m)
    unkernelize(m)
    assert same(before, entries(m))


def test_a_kernel_for_another_mode_replaces_the_first_and_one_undo_is_enough():
    m = nn.Sequential(Scale())
    with on_cpu({INFERENCE: Custom(times(3)), TRAINING: Custom(times(7))}):
        kernelize(m, mode=INFERENCE, device="cpu")
        kernelize(m, mode=TRAINING, device="cpu")
    unkernelize(m)
    assert factor(m[0]) == 2 and "forward" not in vars(m[0])


def test_what_was_set_since_is_left_alone_and_reported():
    m = kernelize_with(nn.Sequential(Scale(), Scale()), Custom(times(7)), device="cpu")
    kernel = m[0].forward
    m[0].forward = lambda x: kernel(x) + 1
    unkernelize(m)
    assert factor(m[0]) == 8 and factor(m[1]) == 2
    record = report(m).records[0]
    assert record.outcome == "left alone"
    assert "after it was kernelized" in record.reason and "lambda" in record.reason
    kernelize_with(m, Custom(times(3)), device="cpu")
    assert factor(m[0]) == 8 and factor(m[1]) == 3


def with_partial(kernel):
    return functools.partial(lambda inner, x: inner(x) + 1, kernel)


def with_wraps(kernel):
    @functools.wraps(kernel)
    def forward(x):
        return kernel(x) + 1

    return forward


def twice_removed(kernel):
    return functools.partial(with_wraps(kernel))


@pytest.mark.parametrize("wrap", [with_partial, with_wraps, twice_removed])
def test_wrappers_around_a_kernel_are_told_from_others(wrap):
    m = kernelize_with(nn.Sequential(Scale()), Custom(times(7)), device="cpu")
    m[0].forward = wrap(m[0].forward)
    assert factor(m[0]) == 8 and "after it was kernelized" in report(m).records[0].reason
    m[0].forward = wrap(lambda x: x)
    assert "after it was kernelized" not in report(m).records[0].reason


def test_what_was_set_before_is_left_alone():
    m = nn.Sequential(Scale(), Scale())
    m[0].forward = lambda x: x * 100
    kernelize_with(m, Custom(times(7)), device="cpu")
    assert factor(m[0]) == 100 and factor(m[1]) == 7
    assert "set on the module: " in report(m).records[0].reason
    unkernelize(m)
    assert factor(m[0]) == 100 and factor(m[1]) == 2


def test_the_class_forward_on_the_instance_is_its_own():
    """Clients revert a kernel this way."""
    m = nn.Sequential(Scale())
    m[0].forward = Scale.forward.__get__(m[0])
    kernelize_with(m, Custom(times(7)), device="cpu")
    assert factor(m[0]) == 7


def test_popping_the_entry_is_an_undo_too():
    m = kernelize_with(nn.Sequential(Scale()), Custom(times(7)), device="cpu")
    vars(m[0]).pop("forward")
    assert factor(m[0]) == 2 and report(m).records[0].outcome == "fallback"
    kernelize_with(m, Custom(times(3)), device="cpu")
    assert factor(m[0]) == 3
    unkernelize(m)
    assert "forward" not in vars(m[0])


def test_a_part_of_a_model_can_be_undone():
    m = kernelize_with(nn.Sequential(Block(), Block()), Custom(times(7)))
    unkernelize(m[0])
    assert factor(m[0].scale) == 2 and factor(m[1].scale) == 7


def test_a_class_that_is_extensible_no_more_is_undone_all_the_same():
    class Once(nn.Module):
        kernel_layer_name = "Once"

        def forward(self, x):
            return x * 2

    m = kernelize_with(nn.Sequential(Once()), Custom(times(7)), name="Once", device="cpu")
    del Once.kernel_layer_name
    unkernelize(m)
    assert factor(m[0]) == 2


def test_a_forward_that_the_class_got_since_is_what_undo_gives_back():
    class Patched(nn.Module):
        kernel_layer_name = "Patched"

        def forward(self, x):
            return x * 2

    m = kernelize_with(nn.Sequential(Patched()), Custom(times(7)), name="Patched", device="cpu")
    Patched.forward = lambda self, x: x * 5
    unkernelize(m)
    assert factor(m[0]) == 5


def test_a_failed_call_changes_nothing():
    class Wrong(nn.Module):
        def __init__(self):
            super().__init__()

        def forward(self, x):
            return x

    m = kernelize_with(nn.Sequential(Scale(), Weighted()), Custom(times(7)), device="cpu")
    before = entries(m)
    mapping = {"Scale": {"cpu": Custom(times(3))}, "Weighted": {"cpu": Custom(Wrong)}}
    with use_kernel_mapping(mapping), pytest.raises(TypeError, match="must not override"):
        kernelize(m, mode=INFERENCE)
    assert same(before, entries(m)) and factor(m[0]) == 7


def test_a_dry_run_changes_nothing():
    m = nn.Sequential(Scale(), Weighted())
    before = entries(m)
    with on_cpu(Custom(times(7))):
        decided = plan(m, mode=INFERENCE)
    assert same(before, entries(m))
    assert [r.outcome for r in decided.records] == ["kernel", "fallback"]


def test_members_are_read_when_the_layer_is_called():
    m = kernelize_with(nn.Sequential(Weighted(2.0)), Custom(Weights), name="Weighted")
    assert factor(m[0]) == 200
    other = Weighted(3.0)
    torch.utils.swap_tensors(m[0].weight, other.weight)
    assert factor(m[0]) == 300
    m[0].load_state_dict({"weight": torch.tensor([4.0])})
    assert factor(m[0]) == 400


def test_a_model_runs_while_another_thread_kernelizes_and_undoes_it():
    m, seen, stop = nn.Sequential(*(Scale() for _ in range(20))), set(), threading.Event()

    def run():
        while not stop.is_set():
            for module in m:
                seen.add(factor(module))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    with on_cpu({INFERENCE: Custom(times(3)), TRAINING: Custom(times(7))}):
        rounds, deadline = 0, time.monotonic() + 60
        while rounds < 300 or (seen != {2, 3, 7} and time.monotonic() < deadline):
            kernelize(m, mode=INFERENCE, device="cpu")
            kernelize(m, mode=TRAINING, device="cpu")
            unkernelize(m)
            rounds += 1
    stop.set()
    for thread in threads:
        thread.join()
    assert seen == {2, 3, 7}


def test_models_are_kernelized_by_several_threads_at_once():
    models = [nn.Sequential(*(Block() for _ in range(50))) for _ in range(4)]
    entry, errors = {INFERENCE: Custom(times(3)), TRAINING: Custom(times(7))}, []

    def work(m):
        try:
            for mode, wanted in [(INFERENCE, 3), (TRAINING, 7)] * 20:
                kernelize_with(m, dict(entry), mode=mode)
                assert {factor(block.scale) for block in m} == {wanted}
            unkernelize(m)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(m,)) for m in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and {factor(block.scale) for m in models for block in m} == {2}
