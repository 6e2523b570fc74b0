"""`import kernels` costs nothing and touches nothing; where it cannot work it says why."""

import re
import shutil
import subprocess
import sys

import pytest
from conftest import PACKAGE

NOTHING = """
import sys
before = set(sys.modules)
import kernels, kernels._kernels, kernels.errors
slow = {"torch", "huggingface_hub", "tvm_ffi", "numpy", "asyncio", "inspect", "dataclasses", "logging", "importlib.metadata", "typing_extensions"}
found = slow & (set(sys.modules) - before)
assert not found, found
"""


def test_nothing_slow_is_imported(run_python):
    run_python(NOTHING)


def test_no_file_of_a_cache_and_no_socket(run_python, tmp_path):
    trace = tmp_path / "trace"
    strace = shutil.which("strace")
    run_python("import kernels, kernels._kernels", before=(strace, "-f", "-qq", "-e", "trace=%file,%network", "-o", str(trace)),
               env={"ASAN_OPTIONS": "detect_leaks=0"})  # fmt: skip
    lines = trace.read_text().splitlines()
    assert any("_kernels.abi3.so" in line for line in lines)  # it saw the import
    wrong = [line for line in lines if re.search(r"socket\(|connect\(|/hf/|/state|libtvm_ffi|libcurl|libcuda|/proc/|/sys/", line)]
    # of the C library and of the interpreter: their memory
    wrong = [line for line in wrong if "strace" not in line and "/sys/fs" not in line and "/overcommit_memory" not in line]
    assert not wrong, "\n".join(wrong[:20])


def test_once_in_a_process(run_python):
    run_python("import kernels._kernels as one, sys\n"
               "del sys.modules['kernels._kernels']\n"
               "try:\n    import importlib; importlib.import_module('kernels._kernels')\n"
               "except ImportError as error:\n    assert 'was imported already' in str(error), error\n"
               "else:\n    raise SystemExit('imported twice')\n")  # fmt: skip


def test_a_sub_interpreter_is_refused(run_python):
    run_python("import sys\n"
               "name = '_interpreters' if sys.version_info >= (3, 13) else '_xxsubinterpreters'\n"
               "interpreters = __import__(name)\n"
               "inside = interpreters.create()\n"
               "code = 'import sys\\nsys.path[:] = ' + repr(sys.path) + '''\\n"
               "try:\\n    import kernels._kernels\\nexcept ImportError as error:\\n"
               "    told = str(error)\\n"
               "    assert 'accepted is the main one' in told or 'not support loading in subinterpreters' in told, told\\n"
               "else:\\n    raise AssertionError('imported')\\n'''\n"
               "failed = interpreters.run_string(inside, code)\n"
               "assert failed is None, failed\n"
               "import kernels._kernels\n")  # fmt: skip


@pytest.mark.parametrize("flags", [(), ("-O",), ("-I",), ("-W", "error")])
def test_flags_of_the_interpreter(flags, tmp_path):
    code = f"import sys; sys.path.insert(0, {str(PACKAGE)!r}); import kernels, kernels.errors, kernels._kernels"
    done = subprocess.run([sys.executable, *flags, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_hub_of_the_tests(hub, run_python):
    """What every other test stands on: the process knows it, and it serves what it says."""
    done = run_python("from kernels import _kernels; print(_kernels.endpoint(), _kernels.cache_dir(), _kernels.is_offline())")
    url, cache, offline = done.stdout.split()
    assert url == hub.url and cache.endswith("/home/hf/hub") and offline == "False"
    listed = subprocess.run([hub.program, "versions", "kernels-community/activation"], capture_output=True, text=True, check=False)
    assert listed.returncode == 0 and all(tag in listed.stdout for tag in ("v0.0.3", "v0.0.4", "v0.1.0")), listed
