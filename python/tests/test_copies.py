"""Copies of kernelized models: deepcopy, pickle, torch.save, replicas."""

import copy
import io
import multiprocessing
import pickle
import pickletools
import subprocess
import sys

import pytest
import torch
from conftest import PACKAGE, TESTS
from saved_model import Model
from torch import nn
from torch_models import Custom, Weights, factor, kernelize_with

from kernels import report, unkernelize


@pytest.fixture
def model():
    return kernelize_with(Model(), Custom(Weights))


def load(saved):
    return torch.load(io.BytesIO(saved), weights_only=False)


def save(model):
    file = io.BytesIO()
    torch.save(model, file)
    return file.getvalue()


def outcomes(model):
    return [record.outcome for record in report(model).records]


WAYS = {
    "deepcopy": copy.deepcopy,
    "torch.save": lambda model: load(save(model)),
    **{f"pickle {n}": lambda model, n=n: pickle.loads(pickle.dumps(model, n)) for n in (2, 3, 4, 5)},
    "python's pickle": lambda model: pickle._loads(pickle._dumps(model, 4)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_has_its_own_self_and_weights(model, way):
    made = WAYS[way](model)
    assert factor(made) == 60000 and outcomes(made) == ["kernel", "kernel"]
    assert made.again is made.first and made.first is not model.first
    with torch.no_grad():
        made.first.weight.fill_(5.0)
    assert factor(made) == 150000 and factor(model) == 60000
    unkernelize(made)
    assert factor(made) == 15 and factor(model) == 60000
    assert vars(made.first).keys() == vars(Model().first).keys()


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_of_a_part(model, way):
    assert factor(WAYS[way](model.first)) == 200


def test_an_undone_model_is_copied_as_it_is(model):
    unkernelize(model)
    assert outcomes(pickle.loads(pickle.dumps(model))) == ["fallback", "fallback"]


def test_a_pickle_names_nothing_of_ours(model):
    names = {arg.split()[0] for op, arg, _ in pickletools.genops(pickle.dumps(model, 2)) if op.name == "GLOBAL"}
    assert not [name for name in names if name.split(".")[0] == "kernels"]
    assert {name.split(".")[0] for name in names} <= {
        "saved_model", "torch", "collections", "builtins", "__builtin__", "copy_reg", "copyreg", "importlib", "_codecs",
    }  # fmt: skip


LOADS = """
import sys
sys.path.insert(0, {tests!r})
import torch
{before}
made = torch.load({file!r}, weights_only=False)
for _ in range(2):
    torch.load({file!r}, weights_only=False)
print(made(torch.ones(1)).item(), sorted(name for name in sys.modules if name.split(".")[0] == "kernels" and sys.modules[name])[:1])
"""


def run(file, before, path):
    code = LOADS.format(tests=str(TESTS), file=str(file), before=before)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env={"PYTHONPATH": path, "PATH": ""}
    )
    assert done.returncode == 0, done.stderr
    return done


def test_a_process_without_kernels_loads_it(model, tmp_path):
    file = tmp_path / "model.pt"
    file.write_bytes(save(model))
    done = run(file, "sys.modules['kernels'] = None  # so that it cannot be imported, be it installed or not", "")
    assert done.stdout.strip() == "6.0 []"


def test_a_process_that_has_not_loaded_the_kernel_says_so_once(model, tmp_path):
    file = tmp_path / "model.pt"
    file.write_bytes(save(model))
    done = run(file, "import logging; logging.basicConfig(); import kernels", str(PACKAGE))
    assert done.stdout.startswith("6.0 ")
    assert done.stderr.count("WARNING:kernels:") == 1 and "call kernelize" in done.stderr


def _in_child(model, answers):
    answers.put(factor(model))


def test_a_child_process_gets_the_model():
    """Spawned: nothing is loaded there, so its modules run their own forward."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    child = context.Process(target=_in_child, args=(kernelize_with(Model(), Custom(Weights)), answers))
    child.start()
    assert answers.get(timeout=60) == 6
    child.join()


def test_replicas_have_forwards_of_their_own(model):
    replica = model.first._replicate_for_data_parallel()
    replica.weight = torch.tensor([7.0])  # what DataParallel sets
    assert replica.forward.__self__ is replica
    assert factor(replica) == 700 and factor(model.first) == 200


def test_a_shallow_copy_has_its_own_self(model):
    shallow = copy.copy(model.first)
    assert shallow.forward.__self__ is shallow and shallow.weight is model.first.weight
    unkernelize(shallow)
    assert factor(shallow) == 2 and "forward" not in vars(shallow) and factor(model.first) == 200


def test_a_forward_that_was_taken_from_another_module_is_bound_again(model):
    vars(model.second)["forward"] = vars(model.first)["forward"]
    assert factor(model.second) == 200
    kernelize_with(model, Custom(Weights))
    assert factor(model.second) == 300
    vars(model.second)["forward"] = vars(model.first)["forward"]
    unkernelize(model)
    assert factor(model) == 6


def test_a_class_with_a_way_of_its_own_is_copied_that_way():
    class Own(nn.Module):
        kernel_layer_name = "Own"

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return x * self.weight

        def __reduce__(self):
            return Own, ()

    Own.__qualname__ = "Own"
    globals()["Own"] = Own
    m = kernelize_with(Own(), Custom(Weights), name="Own")
    assert factor(m) == 100 and factor(pickle.loads(pickle.dumps(m))) == 1


def test_a_state_dict_has_nothing_of_it(model):
    assert model.state_dict().keys() == Model().state_dict().keys()
