"""Layers of the first-party packages as PyTorch modules with forwards of their own, and bound to their kernels."""

import pathlib
import subprocess

import torch
from conftest import BUILD
from torch import nn
from torch.nn import functional as F

from kernels import _kernels
from kernels._torch import autograd, operators


class SiluAndMul(nn.Module):
    def forward(self, x):
        d = x.shape[-1] // 2
        return F.silu(x[..., :d]) * x[..., d:]


class SiLU(nn.Module):
    def forward(self, x):
        return F.silu(x)


class RMSNorm(nn.Module):
    def __init__(self, h, dtype=torch.float32):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(h, dtype=dtype) + 0.5)
        self.variance_epsilon = 1e-6

    def forward(self, hidden_states):
        x = hidden_states.to(torch.promote_types(hidden_states.dtype, torch.float32))
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * x.to(hidden_states.dtype)


class FusedAddRMSNorm(RMSNorm):
    def forward(self, hidden_states, residual):
        total = hidden_states + residual
        return super().forward(total), total


class LayerNorm(nn.LayerNorm):
    def forward(self, input):
        return super().forward(input)


def _rotate(x):
    half = x.shape[-1] // 2
    return torch.cat((-x[..., half:], x[..., :half]), dim=-1)


class Rotary(nn.Module):
    def forward(self, q, k, cos, sin, unsqueeze_dim=1):
        cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
        return q * cos + _rotate(q) * sin, k * cos + _rotate(k) * sin


LAYERS = {
    SiluAndMul: ("activation", "SiluAndMul"),
    SiLU: ("activation", "SiLU"),
    RMSNorm: ("normalization", "LlamaRMSNorm"),
    FusedAddRMSNorm: ("normalization", "FusedAddRMSNorm"),
    LayerNorm: ("normalization", "LayerNorm"),
    Rotary: ("rotary", "rotary_pos_emb"),
}


def make_call(cls, strict=False):
    """A Call for modules of a class above."""
    package, layer = LAYERS[cls]
    call = _kernels.Call(_kernels.HostKernel(str(BUILD / "packages" / package), layer, strict), cls.forward)
    autograd.attach(call)
    return call


def bind(cls, strict=False):
    """A subclass whose forward is as kernelize makes it, and the Call behind it."""
    call = make_call(cls, strict)
    names = ", ".join(name for name, *_ in call.kernel.layer.inputs())
    names = names.replace("unsqueeze_dim", "unsqueeze_dim=1")
    space = {"call": call.function, "compiled": operators.compiled(call), "is_compiling": torch.compiler.is_compiling}
    given = names.replace("=1", "")
    exec(f"def forward(self, {names}):\n    return (compiled if is_compiling() else call)(self, {given})", space)
    return type(cls.__name__, (cls,), {"forward": space["forward"]}), call


def pair(cls, *args, strict=False):
    """A bound module, one with the own forward and the same members, and the Call."""
    bound, call = bind(cls, strict)
    module, own = bound(*args), cls(*args)
    own.load_state_dict(module.state_dict())
    return module, own, call


def rotary_inputs(batch, n_heads, length, width, dtype=torch.float32, requires_grad=False):
    q, k = (torch.randn(batch, length, n, width, dtype=dtype).transpose(1, 2) for n in (n_heads, max(n_heads // 2, 1)))
    angles = torch.rand(1, length, width // 2).repeat(1, 1, 2)
    q, k = (t.detach().requires_grad_(requires_grad) for t in (q, k))
    return q, k, angles.cos().to(dtype), angles.sin().to(dtype)


def inputs_of(cls, dtype=torch.float32, requires_grad=False, n=3):
    """Arguments for a module with 8 columns."""
    if cls is Rotary:
        return rotary_inputs(2, 4, n, 8, dtype, requires_grad)
    count = 2 if cls is FusedAddRMSNorm else 1
    return tuple(torch.randn(2, n, 8, dtype=dtype).requires_grad_(requires_grad) for _ in range(count))


def module_args(cls):
    return () if cls in (SiluAndMul, SiLU, Rotary) else (8,)


def pack(tmp_path, name, layers, source):
    """A package of other layers, built here; its directory. Its functions are in `source`, C."""
    import json

    (tmp_path / "layers.json").write_text(json.dumps(layers))
    (tmp_path / f"{name}.c").write_text(source)
    library = tmp_path / f"{name}.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, tmp_path / f"{name}.c"], check=True)
    subprocess.run(
        [BUILD / "bin" / "kernels", "pack", "--name", name, "--version", "1", "--backend", "cpu", "--layers",
         tmp_path / "layers.json", "--library", library, "--out", tmp_path / name, "--no-run"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return pathlib.Path(tmp_path / name)
