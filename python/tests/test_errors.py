"""kernels.errors: what callers catch."""

import copy
import json
import pickle

import pytest

from kernels import _hooks, errors

EXPECTED = {
    "invalid": (ValueError,),
    "io": (OSError,),
    "not_found": (FileNotFoundError, ValueError),
    "format": (ValueError,),
    "unsupported": (ValueError,),
    "incompatible": (FileNotFoundError,),
    "untrusted": (ValueError,),
    "load": (ImportError,),
    "layer": (TypeError, ValueError),
    "no_kernel": (ValueError,),
    "arguments": (TypeError, ValueError),
    "call": (RuntimeError,),
    "conflict": (RuntimeError,),
    "network": (ConnectionError,),
    "denied": (PermissionError,),
    "cancelled": (RuntimeError,),
    "of another version": (),
}


@pytest.mark.parametrize("status, kinds", EXPECTED.items())
def test_kinds(status, kinds):
    error = _hooks.error(status, "the text: ünï")
    assert isinstance(error, errors.KernelError)
    assert all(isinstance(error, kind) for kind in kinds)
    assert str(error) == "the text: ünï" and error.args == ("the text: ünï",)
    assert error.status == (status if kinds else "failed")
    error.more = 1
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is type(error) and str(other) == str(error) and other.status == error.status and other.more == 1


def test_every_status_of_the_core_has_its_kind():
    import pathlib
    import re

    base = pathlib.Path(__file__).resolve().parent.parent.parent / "include" / "kernels" / "base.h"
    statuses = {name.lower() for name in re.findall(r"X\(KN_ERR_(\w+),", base.read_text())}
    assert statuses - {"no_memory"} == set(EXPECTED) - {"of another version"}  # MemoryError is Python's own
    assert {getattr(errors, name).status for name in errors.__all__} == statuses - {"no_memory"} | {"failed"}


HUB = """
import pickle, sys
from kernels import _hooks, errors
plain = _hooks.error("not_found", "x")
assert "huggingface_hub" not in sys.modules
import huggingface_hub, huggingface_hub.errors as hub

def catches(status, *kinds):
    for kind in kinds:
        error = _hooks.error(status, "words")
        try:
            raise error
        except kind as caught:
            assert caught is error and str(caught) == "words" and caught.status == status
            assert caught.response is None
            repr(caught), pickle.loads(pickle.dumps(caught))
    assert type(pickle.loads(pickle.dumps(error))) is type(error)

offline = sys.argv[1:] == ["offline"]
catches("not_found", hub.HfHubHTTPError, hub.RepositoryNotFoundError, hub.RevisionNotFoundError, hub.LocalEntryNotFoundError,
        FileNotFoundError, ValueError, errors.NotFoundError)
catches("network", hub.HfHubHTTPError, ConnectionError, errors.NetworkError)
catches("denied", hub.HfHubHTTPError, hub.GatedRepoError, hub.RepositoryNotFoundError, errors.DeniedError)
for status in ("not_found", "network"):
    assert isinstance(_hooks.error(status, "x"), hub.OfflineModeIsEnabled) == offline
assert not isinstance(_hooks.error("invalid", "x"), hub.HfHubHTTPError)
"""


@pytest.mark.parametrize("offline", [False, True])
def test_beside_huggingface_hub(run_python, offline):
    run_python(HUB, *(["offline"] if offline else []), env={"HF_HUB_OFFLINE": "1" if offline else None})


ASKED = """
import json, sys
import huggingface_hub.errors as hub
import kernels
from kernels import errors
options, kinds, words = json.loads(sys.argv[1])
repo = options.pop("repo_id")
try:
    kernels.get_kernel(repo, **options)
except Exception as error:
    for kind in kinds:
        there = getattr(errors, kind, None) or getattr(hub, kind, None) or __builtins__.__dict__[kind]
        assert isinstance(error, there), (type(error).__mro__, kind)
    assert words in str(error), str(error)
else:
    raise SystemExit("it was got")
"""

FROM_A_HUB = [
    ({"repo_id": "kernels-community/none", "revision": "main"}, ["NotFoundError", "RepositoryNotFoundError", "HfHubHTTPError"], "none"),
    ({"repo_id": "kernels-community/activation", "revision": "gone"}, ["NotFoundError", "RevisionNotFoundError"], "gone"),
    ({"repo_id": "kernels-community/activation", "version": ">=7"}, ["NotFoundError", "ValueError"], "satisfies requirement: >=7"),
    ({"repo_id": "kernels-community/activation", "version": 7}, ["NotFoundError", "ValueError"], "Version 7 not found, available versions: 1"),
    ({"repo_id": "kernels-test/py-silu", "version": 1}, ["UntrustedError", "ValueError"], "trust"),
]


@pytest.mark.parametrize("options, kinds, words", FROM_A_HUB, ids=lambda value: str(value)[:60])
def test_of_a_hub(hub, run_python, options, kinds, words):
    run_python(ASKED, json.dumps([options, kinds, words]))


def test_of_a_hub_that_is_away(run_python):
    away = {"HF_ENDPOINT": "http://127.0.0.1:9", "KERNELS_TRUSTED_ENDPOINTS": "http://127.0.0.1:9"}
    asked = {"repo_id": "kernels-community/activation", "revision": "main"}
    run_python(ASKED, json.dumps([asked, ["KernelError", "OSError", "HfHubHTTPError"], "127.0.0.1:9"]), env=away)
    run_python(ASKED, json.dumps([asked, ["NotFoundError", "LocalEntryNotFoundError", "OfflineModeIsEnabled"], "offline mode"]),
               env={"HF_HUB_OFFLINE": "1"})  # fmt: skip


LOG = """
import logging, sys
from kernels import _hooks
lines = []
class Handler(logging.Handler):
    def emit(self, record):
        lines.append((record.name, record.levelname, record.getMessage()))
logging.getLogger("kernels").addHandler(Handler())
logging.getLogger("kernels").setLevel(logging.DEBUG)
for level in range(3):
    _hooks.log(level, "100 % sure")
assert lines == [("kernels", name, "100 % sure") for name in ("DEBUG", "INFO", "WARNING")], lines
assert not logging.getLogger().handlers
"""


def test_log(run_python):
    run_python(LOG)


def test_what_is_in_the_process(build):
    import torch

    major, minor, abi = _hooks.framework()
    assert torch.__version__.startswith(f"{major}.{minor}.") and abi in ("cxx11", "cxx98")


TVM_FFI = """
import os, sys
from kernels import _hooks
path = _hooks.tvm_ffi()
assert "tvm_ffi" not in sys.modules and path.endswith("/tvm_ffi/lib/libtvm_ffi.so") and os.path.isfile(path)
import ctypes
ctypes.CDLL(path)
assert _hooks.tvm_ffi() is None  # the one that is loaded is used
"""


def test_libtvm_ffi_is_found_without_its_package(run_python):
    run_python(TVM_FFI)


def test_without_its_package(run_python):
    run_python("import sys; from kernels import _hooks; sys.path = [p for p in sys.path if 'site-packages' not in p]\n"
               "assert _hooks.tvm_ffi() is None and _hooks.framework() is None")  # fmt: skip
