"""Layers under test: their formulas as PyTorch writes them, and native calls that serve them."""

import json
import shutil

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kernels import _kernels

DTYPES = [torch.float32, torch.float16, torch.bfloat16]

# --- the layers' formulas, as PyTorch writes them ---


class Function(nn.Module):
    def __init__(self, formula):
        super().__init__()
        self.formula = formula

    def forward(self, x):
        return self.formula(x)


def gated(act):
    return lambda x: act(x[..., : x.shape[-1] // 2]) * x[..., x.shape[-1] // 2 :]


class Norm(nn.Module):
    def __init__(self, h, eps="variance_epsilon", shift=0.0, late=False, dtype=torch.float32):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(h).to(dtype), requires_grad=False)
        setattr(self, eps, 1e-5)
        self.eps_name, self.shift, self.late = eps, shift, late

    def normal(self, x):
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + getattr(self, self.eps_name))

    def forward(self, x):
        if self.late:
            scale = self.weight.to(torch.promote_types(x.dtype, torch.float32)) + self.shift
            return (scale * self.normal(x)).to(x.dtype)
        return self.weight * self.normal(x).to(x.dtype)


class FusedAdd(Norm):
    def forward(self, x, residual):
        total = x + residual
        return super().forward(total), total


def rotate_half(x):
    a, b = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    return torch.cat((-b, a), -1)


def rotate_pairs(x):
    return torch.stack((-x[..., 1::2], x[..., 0::2]), -1).flatten(-2)


def rotary(rotate):
    def forward(self, q, k, cos, sin, unsqueeze_dim=1):
        cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
        return q * cos + rotate(q) * sin, k * cos + rotate(k) * sin

    return type("Rotary", (nn.Module,), {"forward": forward})()


ACTIVATIONS = {
    "SiluAndMul": gated(F.silu),
    "GeluAndMul": gated(F.gelu),
    "GeluTanhAndMul": gated(lambda x: F.gelu(x, approximate="tanh")),
    "SiLU": F.silu,
    "GELU": F.gelu,
    "GeLU": F.gelu,
    "GeluTanh": lambda x: F.gelu(x, approximate="tanh"),
    "NewGELU": lambda x: F.gelu(x, approximate="tanh"),
    "QuickGELU": lambda x: x * torch.sigmoid(1.702 * x),
    "FastGELU": lambda x: F.gelu(x, approximate="tanh"),
}
NORMS = {
    "RMSNorm": lambda h, dtype: Norm(h, dtype=dtype),
    "LlamaRMSNorm": lambda h, dtype: Norm(h, dtype=dtype),
    "RMSNormScaleCast": lambda h, dtype: Norm(h, late=True, dtype=dtype),
    "GemmaRMSNorm": lambda h, dtype: Norm(h, "eps", 1.0, True, dtype=dtype),
    "TorchRMSNorm": lambda h, dtype: nn.RMSNorm(h, eps=1e-5).to(dtype).requires_grad_(False),
    "FusedAddRMSNorm": lambda h, dtype: FusedAdd(h, dtype=dtype),
    "LayerNorm": lambda h, dtype: nn.LayerNorm(h, eps=1e-5).to(dtype).requires_grad_(False),
}


class Layer:
    """A call, and a module that it serves."""

    def __init__(self, build, package, name, module, **options):
        self.module, self.owned = module, 0
        own = type(module).forward

        def counted(*args, **keywords):
            self.owned += 1
            return own(*args, **keywords)

        self.call = _kernels.Call(_kernels.HostKernel(str(build / "packages" / package), name, **options), counted)
        self.function = self.call.function

    def __call__(self, *args, **keywords):
        return self.function(self.module, *args, **keywords)

    def declared(self, dtype):
        """What a float32 kernel says of itself; of few elements, eager's largest error says little."""
        return self.call.kernel.layer.tolerance("f32") if dtype == torch.float32 else 0.0

    @property
    def counts(self):
        return _kernels.fallback_counts(self.module)


@pytest.fixture
def silu(build):
    return Layer(build, "activation", "SiluAndMul", Function(ACTIVATIONS["SiluAndMul"]))


@pytest.fixture
def norm(build):
    return Layer(build, "normalization", "LlamaRMSNorm", Norm(16))


@pytest.fixture
def strict(build):
    return Layer(build, "activation", "SiluAndMul", Function(ACTIVATIONS["SiluAndMul"]), strict=True)


@pytest.fixture
def changed(build, tmp_path):
    """changed(**fields): SiluAndMul of a package that says something else of it; None: nothing."""

    def change(**fields):
        package = shutil.copytree(build / "packages" / "activation", tmp_path / "packages" / "activation")
        (metadata,) = package.glob("build/*/metadata.json")
        text = json.loads(metadata.read_text())
        said = text["layers"]["SiluAndMul"]
        text["layers"]["SiluAndMul"] = {k: v for k, v in {**said, **fields}.items() if v is not None}
        metadata.write_text(json.dumps(text))
        return Layer(tmp_path, "activation", "SiluAndMul", Function(ACTIVATIONS["SiluAndMul"]))

    return change


# --- values ---


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


def strides(tensor):
    """Those that mean something."""
    return [stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size != 1]


def hold(made, eager, exact, declared=0.0):
    """Error at most twice eager's in that dtype, or one unit in the last place; `declared`: of the largest number."""
    for kernel, plain, oracle in zip(as_tuple(made), as_tuple(eager), as_tuple(exact), strict=True):
        assert (kernel.dtype, kernel.shape, strides(kernel)) == (plain.dtype, plain.shape, strides(plain))
        assert not kernel.requires_grad and not kernel.is_inference()
        ulp = torch.finfo(kernel.dtype).eps * oracle.abs()
        most = (2 * (plain.double() - oracle).abs().max()).clamp_min(declared * float(oracle.abs().max()))
        allowed = torch.maximum(most, ulp.clamp_min(torch.finfo(kernel.dtype).tiny))
        wrong = (kernel.double() - oracle).abs() > allowed
        assert not wrong.any(), f"{int(wrong.sum())} of {wrong.numel()} elements"


# --- inputs ---

X = torch.randn(6, 32)


class Sub(torch.Tensor):
    pass
