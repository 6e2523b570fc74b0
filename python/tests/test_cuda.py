"""On a GPU: a native package that nvcc builds here, and what is special about devices and streams. Skipped where there is none."""

import importlib.util
import json
import pathlib
import shutil
import subprocess

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import kernels
from kernels import CUDAProperties, Device, LocalLayerRepository, Mode, kernelize, use_kernel_forward_from_hub, use_kernel_mapping

pytestmark = pytest.mark.skipif(not (torch.cuda.is_available() and shutil.which("nvcc")),
                                reason="needs a CUDA device, and nvcc to build the test's kernel with")

SOURCE = pathlib.Path(__file__).resolve().parent / "packages" / "cuda-silu" / "silu.cu"
LAYER = {"signature": "(x: f32 rows[..., 2*d]) -> (y: x.dtype [..., d])", "forward": "silu_and_mul(y, x)",
         "backward": {"signature": "(dy: x.dtype [..., d]) -> (dx: like x)", "call": "silu_and_mul_backward(dx, dy, x)"},
         "can_torch_compile": True, "autocast": "neutral", "tolerance": {"f32": 2e-6}}


def build(directory, arch, archs):
    """A package with code for one architecture alone (no PTX), and what its metadata says of it."""
    tvm_ffi = pathlib.Path(importlib.util.find_spec("tvm_ffi").submodule_search_locations[0])
    major, minor = torch.version.cuda.split(".")
    variant = directory / "build" / f"tvm-ffi01-cu{major}{minor}-x86_64-linux"
    variant.mkdir(parents=True)
    includes = [f"-I{path}" for path in (tvm_ffi / "include", tvm_ffi / "3rdparty" / "dlpack" / "include") if path.is_dir()]
    subprocess.run(["nvcc", "-O2", "-gencode", f"arch=compute_{arch},code=sm_{arch}", "-shared", "-Xcompiler", "-fPIC", "-cudart", "static", *includes, str(SOURCE), "-o",
                    str(variant / "silu.so"), f"-L{tvm_ffi / 'lib'}", "-ltvm_ffi"], check=True)
    (variant / "__init__.py").write_text("")
    (variant / "metadata.json").write_text(json.dumps({
        "name": "silu", "id": "_silu_test", "version": 1, "license": "Apache-2.0", "python-depends": [], "library": "silu.so",
        "backend": {"type": "cuda", "archs": archs}, "layers": {"SiluAndMul": LAYER}}))
    return directory


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    major, minor = torch.cuda.get_device_capability()
    return build(tmp_path_factory.mktemp("cuda") / "silu", f"{major}{minor}", [f"{major}.{minor}"])


@use_kernel_forward_from_hub("SiluAndMul")
class SiluAndMul(nn.Module):
    def forward(self, x):
        d = x.shape[-1] // 2
        return F.silu(x[..., :d]) * x[..., d:]


def own(x):
    return SiluAndMul()(x)


def make(package, mode=Mode.INFERENCE, **options):
    model = nn.Sequential(nn.Linear(8, 64), SiluAndMul()).cuda()
    with use_kernel_mapping({"SiluAndMul": {"cuda": LocalLayerRepository(str(package), layer_name="SiluAndMul")}},
                            inherit_mapping=False):
        return kernelize(model, mode=mode, **options)


@pytest.fixture(scope="module")
def layer(package):
    model = make(package)
    kernels.report(model).raise_if_fallback()
    return model[1]


def counts(module):
    return kernels._kernels.fallback_counts(module)


def test_numbers(layer):
    with torch.no_grad():
        for shape in ((1, 64), (3, 5, 128), (0, 64), (4096, 2048)):
            x = torch.randn(shape, device="cuda")
            y = layer(x)
            torch.testing.assert_close(y, own(x))
            assert y.device == x.device and y.is_contiguous()
        assert not counts(layer)


def test_the_streams_of_the_caller(layer):
    side = torch.cuda.Stream()
    with torch.no_grad():
        for _ in range(20):
            with torch.cuda.stream(side):
                x = torch.randn(1 << 13, 2048, device="cuda")
                for _ in range(10):
                    x = x * 1.01  # work that the kernel must wait for
                y = layer(x)
                wanted = own(x)
            side.synchronize()
            assert torch.equal(y.isnan(), wanted.isnan())
            torch.testing.assert_close(y, wanted, rtol=1e-5, atol=1e-5)


def test_a_captured_graph(layer):
    with torch.no_grad():
        x = torch.randn(64, 256, device="cuda")
        layer(x)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = layer(x)
        x.copy_(torch.randn_like(x))
        graph.replay()
        torch.cuda.synchronize()
        torch.testing.assert_close(y, own(x))


def test_memory_is_pytorchs(layer):
    """What the kernel returned belongs to PyTorch's allocator: record_stream counts, and freed blocks are used again."""
    with torch.no_grad():
        x = torch.randn(1 << 12, 2048, device="cuda")
        side = torch.cuda.Stream()
        layer(x).record_stream(side)
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        for _ in range(50):
            layer(x)
        torch.cuda.synchronize()
        assert torch.cuda.memory_allocated() == before


def test_gradients(package):
    model = make(package, Mode.TRAINING)
    layer = model[1]
    x = torch.randn(33, 64, device="cuda", requires_grad=True)
    other = x.detach().clone().requires_grad_()
    dy = torch.randn(33, 32, device="cuda")
    layer(x).backward(dy)
    own(other).backward(dy)
    torch.testing.assert_close(x.grad, other.grad)
    layer(x).sum().backward()  # dy of stride 0
    assert not counts(layer)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled(package, backend):
    model = make(package, Mode.TRAINING | Mode.TORCH_COMPILE)
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    for rows in (4, 9):
        x = torch.randn(rows, 8, device="cuda")
        torch.testing.assert_close(compiled(x), SiluAndMul()(model[0](x)), rtol=1e-5, atol=1e-5)
    compiled(torch.randn(4, 8, device="cuda")).sum().backward()
    assert model[0].weight.grad is not None


def test_what_it_does_not_take(layer, caplog):
    with torch.no_grad():
        for x in (torch.randn(4, 64), torch.randn(4, 64, device="cuda", dtype=torch.float16), torch._neg_view(torch.randn(4, 64).cuda())):
            torch.testing.assert_close(layer(x), own(x), rtol=1e-3, atol=1e-3)
        with torch.autocast("cuda", dtype=torch.float16):
            x = torch.randn(4, 64, device="cuda")
            torch.testing.assert_close(layer(x), own(x))


def test_the_capability_is_the_devices(package):
    major, minor = torch.cuda.get_device_capability()
    here = major * 10 + minor

    def serves(low, high):
        device = Device(type="cuda", properties=CUDAProperties(min_capability=low, max_capability=high))
        with use_kernel_mapping({"SiluAndMul": {device: LocalLayerRepository(str(package), layer_name="SiluAndMul")}},
                                inherit_mapping=False):
            return bool(kernels.report(kernelize(nn.Sequential(nn.Linear(2, 2), SiluAndMul()).cuda(), mode=Mode.INFERENCE)).replaced)
    assert serves(here, here) and serves(0, here) and not serves(here + 1, here + 20) and not serves(0, here - 1)


def test_code_for_other_devices_is_not_loaded(tmp_path, package):
    major, _ = torch.cuda.get_device_capability()
    other = build(tmp_path / "other", "75" if major != 7 else "80", ["7.5" if major != 7 else "8.0"])
    with pytest.raises(Exception, match="CUDA code for sm_(75|80)"):
        make(other)
    model = make(other, use_fallback=kernels.KernelizeFallback.ALL)
    assert kernels.report(model).fallbacks


def test_a_function_of_the_package(package):
    module = kernels.get_local_kernel(str(package))
    x = torch.randn(16, 64, device="cuda")
    y = torch.empty(16, 32, device="cuda")
    module.silu_and_mul(y, x)
    torch.testing.assert_close(y, own(x))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_the_other_device(layer):
    with torch.no_grad():
        x = torch.randn(16, 64, device="cuda:1")
        torch.cuda.set_device(0)
        torch.testing.assert_close(layer(x), own(x))
        assert torch.cuda.current_device() == 0
