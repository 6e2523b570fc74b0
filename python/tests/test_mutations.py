"""The tests can fail: with a fault in the extension (python/_kernels/mutation.h) exactly those that are about it turn red."""

import os
import pathlib
import re
import subprocess
import sys

import pytest
from conftest import BUILD, PACKAGE, TESTS

# The tests that are run with every fault, and the fault that each must see; None: none of them.
SEEN_BY = {
    "test_call_inputs.py::test_inputs[neg-bit]": "neg_bit",
    "test_call_inputs.py::test_members[neg-bit]": "neg_bit",
    "test_call.py::test_run": "neg_bit",
    "test_call.py::test_backward_refuses": "zero_fill",
    "test_autograd.py::test_one_of_two_results": "zero_fill",
    "test_call.py::test_norms[LlamaRMSNorm-torch.float32]": "eps",
    "test_call.py::test_norms[LayerNorm-torch.float32]": "eps",
    "test_oracle.py::test_gradients[RMSNorm-torch.float32]": "eps",
    "test_call.py::test_activations[SiluAndMul-torch.float32]": None,
    "test_call_inputs.py::test_inputs[plain]": None,
    "test_autograd.py::test_no_rows": None,
}
ON_A_GPU = {
    "test_cuda.py::test_the_streams_of_the_caller": "stream",
    "test_cuda.py::test_numbers": None,
}


def outcomes(mutation, tests):
    """Of tests with an extension, by name: "PASSED", "FAILED"."""
    package = BUILD / "python-mutations" / mutation if mutation else PACKAGE
    extension = package / "kernels" / "_kernels.abi3.so"
    assert extension.exists(), f"not built: {extension}: build kernels_python_mutations"
    check = "import kernels._kernels, sys; sys.exit(kernels._kernels.__file__ != sys.argv[1])"
    env = dict(os.environ, PYTHONPATH=f"{package}{os.pathsep}{PACKAGE}", OMP_NUM_THREADS="1")
    assert subprocess.run([sys.executable, "-c", check, extension], env=env, check=False).returncode == 0
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", "-rA", "--rootdir", TESTS]
    done = subprocess.run(
        [*command, *(str(TESTS / test) for test in tests)], cwd=TESTS, env=env, capture_output=True, text=True, timeout=300
    )
    found = re.findall(r"^(PASSED|FAILED|ERROR|SKIPPED) (\S+)", done.stdout, re.MULTILINE)
    assert found, done.stdout + done.stderr
    return {pathlib.Path(name.partition("[")[0]).name + name[len(name.partition("[")[0]) :]: how for how, name in found}


@pytest.mark.parametrize("mutation", [None, "neg_bit", "zero_fill", "eps"])
def test_exactly_the_tests_that_are_about_a_fault_turn_red(mutation):
    found = outcomes(mutation, SEEN_BY)
    for test, sees in SEEN_BY.items():
        hows = {how for name, how in found.items() if name == test or name.startswith(f"{test}[")}
        assert hows == {"FAILED" if mutation and sees == mutation else "PASSED"}, (test, found)


@pytest.mark.parametrize("mutation", [None, "stream"])
def test_the_wrong_stream(mutation):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device: there is one stream")
    found = outcomes(mutation, ON_A_GPU)
    if set(found.values()) == {"SKIPPED"}:
        pytest.skip("no nvcc to build the test's kernel with")
    assert {test for test, how in found.items() if how == "FAILED"} == {
        test for test, sees in ON_A_GPU.items() if mutation and sees == mutation
    }
