"""tvm_ffi, unmodified: its Python package loads and calls the kernels of the cache that this one filled, with the same results."""

import pathlib

import pytest
import torch

import kernels
from kernels import _kernels

tvm_ffi = pytest.importorskip("tvm_ffi")


@pytest.fixture(scope="module")
def activation(hub):
    """Ours, from the hub: the kernel and its module."""
    module = kernels.get_kernel("kernels-community/activation", version=1)
    return _kernels.get_kernel(repo_id="kernels-community/activation", version="1"), module


def theirs(kernel):
    """The same file, loaded by tvm_ffi."""
    (library,) = pathlib.Path(kernel.dir).glob("*.so")
    assert pathlib.Path(_kernels.cache_dir()) in library.parents
    return tvm_ffi.load_module(str(library))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_same_function(activation, dtype):
    kernel, ours = activation
    x = torch.randn(5, 32).to(dtype)
    got = [torch.empty(5, 16, dtype=dtype) for _ in range(3)]
    ours.silu_and_mul(got[0], x)
    theirs(kernel).silu_and_mul(got[1], x)
    theirs(kernel).silu_and_mul(tvm_ffi.from_dlpack(got[2]), tvm_ffi.from_dlpack(x))
    assert torch.equal(got[0], got[1]) and torch.equal(got[0], got[2])
    half = torch.nn.functional.silu(x[:, :16].float()) * x[:, 16:].float()
    torch.testing.assert_close(got[0].float(), half, atol=2e-2 if dtype != torch.float32 else 1e-6, rtol=2e-2)


def test_our_function_takes_their_tensors(activation):
    _, ours = activation
    x, got, wanted = torch.randn(3, 8), torch.empty(3, 4), torch.empty(3, 4)
    ours.silu_and_mul(tvm_ffi.from_dlpack(got), tvm_ffi.from_dlpack(x))
    ours.silu_and_mul(wanted, x)
    assert torch.equal(got, wanted)


def test_arguments_that_are_refused(activation):
    kernel, ours = activation
    x, wrong = torch.randn(3, 8), torch.empty(3, 5)
    for function in (ours.silu_and_mul, theirs(kernel).silu_and_mul):
        with pytest.raises((ValueError, TypeError), match="silu_and_mul"):
            function(wrong, x)


@pytest.mark.parametrize("first", ["theirs", "ours"])
def test_one_library_whoever_comes_first(run_python, first):
    """One libtvm_ffi serves both, in either order of imports."""
    load = {"theirs": "import tvm_ffi", "ours": "import kernels; kernels.get_kernel('kernels-community/activation', version=1)"}
    done = run_python(f"""
{load[first]}
{load["ours" if first == "theirs" else "theirs"]}
import pathlib, torch
from kernels import _kernels
kernel = _kernels.get_kernel(repo_id="kernels-community/activation", version="1")
(library,) = pathlib.Path(kernel.dir).glob("*.so")
x, a, b = torch.randn(3, 8), torch.empty(3, 4), torch.empty(3, 4)
tvm_ffi.load_module(str(library)).silu_and_mul(a, x)
kernels.get_kernel("kernels-community/activation", version=1).silu_and_mul(b, x)
assert torch.equal(a, b)
maps = {{line.split()[-1] for line in open("/proc/self/maps") if "libtvm_ffi.so" in line}}
assert len(maps) == 1, maps
print("equal")
""")
    assert "equal" in done.stdout
