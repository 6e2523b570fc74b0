"""Weaknesses of the library that this one stands in for, each shown not to be here: devices, kernelize, functions."""

import copy
import logging
import pickle
import shutil
import textwrap
import warnings

import pytest
import torch
from conftest import TESTS
from torch import nn
from torch_models import (
    INFERENCE,
    TRAINING,
    Block,
    Calls,
    Custom,
    Scale,
    Weighted,
    Weights,
    double,
    factor,
    functions,
    kernelize_with,
    times,
)

from kernels import (
    CUDAProperties,
    Device,
    KernelizeFallback,
    Mode,
    kernelize,
    report,
    unkernelize,
    use_kernel_mapping,
)
from kernels.errors import LayerError


def on_cuda(*ranges):
    """A scope with a layer for each range of capabilities: times its minimum."""
    mapping = {Device("cuda", CUDAProperties(low, high)): Custom(times(low)) for low, high in ranges}
    return use_kernel_mapping({"Scale": mapping}, inherit_mapping=False)


def test_fault_07_the_capability_is_that_of_each_device_when_it_is_asked(monkeypatch):
    monkeypatch.delenv("KERNELS_DEVICE", raising=False)
    capabilities = {0: (7, 5), 1: (9, 0)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capabilities[device])
    m = nn.Sequential(Scale())
    with on_cuda((70, 89), (90, 99)):
        for index, wanted in [(0, 70), (1, 90), (0, 70)]:
            kernelize(m, mode=INFERENCE, device=f"cuda:{index}")
            assert factor(m[0]) == wanted
        capabilities[0] = (9, 1)
        kernelize(m, mode=INFERENCE, device="cuda")
        assert factor(m[0]) == 90


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_fault_08_a_device_that_is_not_here_is_no_exception():
    m = nn.Sequential(Scale())
    with on_cuda((70, 89)):
        kernelize(m, mode=INFERENCE, device="cuda")
        assert factor(m[0]) == 2
        with pytest.raises(ValueError, match="with the right properties"):
            kernelize(m, mode=INFERENCE, device="cuda", use_fallback=False)
    with use_kernel_mapping({"Scale": {"cuda": Custom(times(7))}}, inherit_mapping=False):  # whatever the capability
        assert factor(kernelize(m, mode=INFERENCE, device="cuda")[0]) == 7


class Table(nn.Module):
    """Buffers alone."""

    kernel_layer_name = "Scale"

    def __init__(self, device):
        super().__init__()
        self.register_buffer("table", torch.ones(1, device=device))

    def forward(self, x):
        return x * 2


@pytest.mark.parametrize("device", ["cuda", torch.device("cuda"), torch.device("cuda", 1), Device("cuda")], ids=repr)
def test_fault_09_rocm_is_meant_by_every_spelling_of_cuda_there(monkeypatch, device):
    monkeypatch.delenv("KERNELS_DEVICE", raising=False)
    mapping = {"Scale": {"cuda": Custom(times(3)), "rocm": Custom(times(7))}}
    for hip, wanted in ((None, 3), ("6.2", 7)):
        monkeypatch.setattr(torch.version, "hip", hip)
        with use_kernel_mapping(mapping, inherit_mapping=False):
            assert factor(kernelize(nn.Sequential(Scale()), mode=INFERENCE, device=device)[0]) == wanted


def test_fault_10_buffers_say_where_a_model_is():
    assert factor(kernelize_with(nn.Sequential(Table("cpu")), Custom(times(7)))[0]) == 7


def test_fault_10_a_meta_model_is_said():
    m = nn.Sequential(Table("meta"), Weighted().to("meta"))
    with pytest.raises(ValueError, match="every parameter and buffer is on the meta device; load the weights first"):
        kernelize_with(m, Custom(times(7)))
    assert factor(kernelize_with(m, Custom(times(7)), device="cpu")[0]) == 7


def test_fault_10_each_module_has_the_device_of_its_own_tensors():
    class Elsewhere:
        """Stands for a tensor of another device, of which this machine has none."""

        device = torch.device("cuda", 1)

    m = nn.Sequential(Weighted(), Weighted())
    m[1]._parameters = {"weight": Elsewhere()}
    mapping = {"Weighted": {"cpu": Custom(times(3)), "cuda": Custom(times(7))}}
    with use_kernel_mapping(mapping, inherit_mapping=False):
        kernelize(m, mode=INFERENCE)
    assert (factor(m[0]), factor(m[1])) == (3, 7)


def test_fault_12_all_or_nothing():
    class Broken(Exception):
        pass

    m = nn.Sequential(Scale(), Weighted(), Scale())
    mapping = {"Scale": {"cpu": Custom(times(7))}, "Weighted": {"cpu": Custom(None, error=Broken)}}
    with use_kernel_mapping(mapping, inherit_mapping=False):
        with pytest.raises(Broken):
            kernelize(m, mode=INFERENCE)
        assert [factor(m[0]), factor(m[2])] == [2, 2] and not any("forward" in vars(module) for module in m)
        kernelize(m, mode=INFERENCE, use_fallback=KernelizeFallback.ALL)
    assert [factor(m[0]), factor(m[1]), factor(m[2])] == [7, 1, 7]


def test_fault_13_the_way_back():
    m = nn.Sequential(Scale())
    before = dict(vars(m[0]))
    unkernelize(kernelize_with(m, Custom(times(7)), device="cpu"))
    assert vars(m[0]) == before


def test_fault_14_nothing_is_written_where_nothing_is_found():
    m = nn.Sequential(Scale(), Scale())
    own = m[0].forward = lambda x: x * 5
    kernelize_with(m, Custom(times(7)), name="Other", device="cpu")
    assert vars(m[0])["forward"] is own and "forward" not in vars(m[1])


def test_fault_14_a_class_can_be_patched_later():
    class Patched(nn.Module):
        kernel_layer_name = "Patched"

        def forward(self, x):
            return x * 2

    m = kernelize_with(nn.Sequential(Patched()), Custom(times(7)), name="Other", device="cpu")
    Patched.forward = lambda self, x: x * 5
    assert factor(m[0]) == 5


def test_fault_14_somebody_elses_forward_survives():
    m = nn.Sequential(Scale())
    m[0].forward = lambda x: x * 5
    kernelize_with(m, Custom(times(7)), device="cpu")
    assert factor(m[0]) == 5


def test_fault_15_saved_and_loaded_with_its_kernel():
    import io

    from saved_model import Model

    file = io.BytesIO()
    torch.save(kernelize_with(Model(), Custom(Weights)), file)
    file.seek(0)
    assert factor(torch.load(file, weights_only=False)) == 60000


LOADS = """
import logging, sys
sys.path.insert(0, sys.argv[1])
logging.basicConfig(level=logging.WARNING)
import torch
from saved_kernel import Model, kernelized
from kernels import report
model = kernelized(sys.argv[2]) if sys.argv[2] else None
loaded = [torch.load(sys.argv[3], weights_only=False) for _ in range(3)]
print([record.outcome for record in report(loaded[0]).records], loaded[0](torch.ones(1, 8)).shape)
"""


@pytest.mark.parametrize("elsewhere, outcome, n_warnings", [(True, "kernel", 0), (False, "fallback", 1)])
def test_fault_15_bound_again_to_the_same_content_else_one_warning(
    build, run_python, tmp_path, elsewhere, outcome, n_warnings
):
    """Of a native layer; the content is the same, its path is another."""
    from saved_kernel import kernelized

    package = build / "packages" / "activation"
    torch.save(kernelized(package), tmp_path / "model.pt")
    other = shutil.copytree(package, tmp_path / "other" / "activation") if elsewhere else ""
    done = run_python(LOADS, TESTS, other, tmp_path / "model.pt")
    assert done.stdout.split("\n")[0] == f"['{outcome}'] torch.Size([1, 4])"
    assert done.stderr.count("WARNING:kernels:") == n_warnings, done.stderr


def test_fault_15_replicas_call_their_own_weights():
    m = kernelize_with(nn.Sequential(Weighted(2.0)), Custom(Weights), name="Weighted")
    replica = m[0]._replicate_for_data_parallel()
    replica.weight = torch.tensor([7.0])
    assert factor(replica) == 700 and factor(m) == 200


def test_fault_16_a_subclass_with_its_own_forward_is_not_replaced():
    class Own(Scale):
        def forward(self, x):
            return x * 5

    class Same(Scale):
        pass

    m = kernelize_with(nn.Sequential(Own(), Same()), Custom(times(7)), device="cpu")
    assert (factor(m[0]), factor(m[1])) == (5, 7)
    assert "`Own` is a subclass with its own forward" in report(m).records[0].reason


class Other(nn.Module):
    kernel_layer_name = "Scale"

    def forward(self, x, y):
        return x * 2


class Renamed(nn.Module):
    def forward(self, wrong_name, factor=7):
        return wrong_name * factor


class WithFactor(nn.Module):
    kernel_layer_name = "Scale"

    def forward(self, x, factor=2):
        return x * factor


def test_fault_17_each_class_is_held_against_the_layer():
    layer = Custom(times(7))
    kernelize_with(nn.Sequential(Scale()), layer, device="cpu")
    with pytest.raises(LayerError, match="does not match `Other`: different number of arguments"):
        kernelize_with(nn.Sequential(Other()), layer, device="cpu")
    kernelize_with(nn.Sequential(Scale()), layer, device="cpu")
    assert layer.loads == 1


def test_fault_17_names_and_defaults_that_differ_are_told(caplog):
    with caplog.at_level(logging.WARNING, "kernels"):
        kernelize_with(nn.Sequential(WithFactor()), Custom(Renamed), device="cpu")
    assert "`x` is called `wrong_name`" in caplog.text and "`factor=7` instead of `factor=2`" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "kernels"):
        kernelize_with(nn.Sequential(WithFactor()), Custom(Renamed), mode=TRAINING, device="cpu")
    assert not caplog.text  # once


def test_fault_18_every_decision_can_be_read(caplog):
    m = nn.Sequential(Scale(), Block(), nn.Linear(1, 1))
    with caplog.at_level(logging.WARNING), warnings.catch_warnings():
        warnings.simplefilter("error")
        kernelize_with(m, Custom(times(7)), mode=TRAINING | Mode.TORCH_COMPILE)
    (line,) = [r.getMessage() for r in caplog.records]
    assert "none of 2 extensible modules got a kernel" in line and "kernels.report(model)" in line
    assert [(r.path, r.outcome) for r in report(m).records] == [("0", "fallback"), ("1.scale", "fallback")]


def test_fault_18_is_warned_of_once(caplog):
    """In a row; the host's handles of classes are other ones in each call."""
    m, held = nn.Sequential(Scale(), Block()), []
    with caplog.at_level(logging.WARNING), use_kernel_mapping({}, inherit_mapping=False):
        for n in range(8):
            kernelize(m, mode=Mode.INFERENCE, device="cpu")
            held.append([bytearray(size) for size in range(32, 256, 8) for _ in range(10 * n)])
    assert len(caplog.records) == 1, caplog.text


def test_fault_19_the_root_logger_is_left_alone(run_python):
    code = """
        import logging, sys
        sys.path.insert(0, sys.argv[1])
        from torch import nn
        from torch_models import Custom, Scale, kernelize_with, times
        kernelize_with(nn.Sequential(Scale()), Custom(times(7)), device="cpu")
        print(logging.getLogger().handlers, logging.getLogger("kernels").handlers)
    """
    assert run_python(textwrap.dedent(code), TESTS).stdout == "[] []\n"


def test_fault_01_a_repository_is_loaded_once_in_any_number_of_scopes():
    class Locked(Custom):
        __hash__ = None  # nor can it be compared

    for kind in (Custom, Locked):
        repository = kind(times(7))
        for _ in range(3):
            kernelize_with(nn.Sequential(Scale()), repository, device="cpu")
        assert repository.loads == 1


def test_fault_21_a_wrong_entry_counts_when_it_is_asked_for(caplog):
    wrong = Custom(times(7, has_backward=False))
    with caplog.at_level(logging.WARNING, "kernels"):
        m = kernelize_with(nn.Sequential(Scale()), {TRAINING: wrong}, mode=INFERENCE, device="cpu")
    assert factor(m[0]) == 7 and "does not support backward. Was registered for TRAINING" in caplog.text
    with pytest.raises(ValueError, match="does not support backward"):
        kernelize_with(m, {TRAINING: wrong}, mode=TRAINING, device="cpu")


def test_fault_22_the_last_kernelize_wins_and_says_so(functions, caplog):
    first, second = nn.Sequential(Calls()), nn.Sequential(Calls())
    with caplog.at_level(logging.WARNING, "kernels"):
        kernelize_with(first, Custom(times(3)), name="double")
        kernelize_with(second, (same := Custom(times(3))), name="double")
        assert "one for all models" in caplog.text  # another repository
        caplog.clear()
        kernelize_with(first, same, name="double")
        assert not caplog.text  # an equal decision
        kernelize_with(second, Custom(times(7)), name="double")
    assert "function `double` is one for all models" in caplog.text and "in 1 other that was kernelized" in caplog.text
    assert factor(first) == factor(second) == 7


def test_fault_22_undoing_one_of_two_models_is_told(functions, caplog):
    first, second = nn.Sequential(Calls()), nn.Sequential(Calls())
    with use_kernel_mapping({"double": {"cpu": Custom(times(3))}}, inherit_mapping=False):
        kernelize(first, mode=INFERENCE)
        kernelize(second, mode=INFERENCE)
    with caplog.at_level(logging.WARNING, "kernels"):
        unkernelize(first)
    assert "its own code serves it now" in caplog.text


def test_fault_23_a_copy_runs_the_same_function(functions):
    m = copy.deepcopy(nn.Sequential(Calls()))
    kernelize_with(m, Custom(times(7)), name="double")
    assert factor(m) == 7
    assert factor(pickle.loads(pickle.dumps(m))) == 7 and double.__wrapped__(1) == 2
