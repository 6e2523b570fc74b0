"""A PyTorch without the DLPack exchange table (before 2.10): layers run by their operators, and tensors cross as
capsules. Newer ones are made so in a process of their own, before kernels looks."""

import os
import subprocess
import sys

import pytest
from conftest import PACKAGE, TESTS

PREPARE = """\
import sys
import torch
if hasattr(torch.Tensor, "__dlpack_c_exchange_api__"):
    del torch.Tensor.__dlpack_c_exchange_api__
from native_layers import LAYERS, RMSNorm, Rotary, SiluAndMul, inputs_of, module_args, pair
from kernels._torch import shapes

torch.manual_seed(1)

def flat(made):
    return list(made) if isinstance(made, tuple) else [made]

def check(made, own):
    for one, other in zip(flat(made), flat(own), strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=2e-5)

def gradients(module, made):
    torch.manual_seed(2)
    sum((one * torch.randn_like(one)).sum() for one in flat(made)).backward()
    return [parameter.grad for parameter in module.parameters()]

def copies(tensors):
    return tuple(tensor.detach().clone().requires_grad_(tensor.requires_grad) for tensor in tensors)

own_calls = []

def watch(cls):
    forward = cls.forward
    def watched(self, *args):
        own_calls.append(cls)
        return forward(self, *args)
    cls.forward = watched

def by_kernel(module, args):
    own_calls.clear()
    made = module(*args)
    assert not own_calls, own_calls
    return made
"""

CASES = {
    "inference": """
for cls in LAYERS:
    watch(cls)
    module, own, _ = pair(cls, *module_args(cls))
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            args = inputs_of(cls)
            check(by_kernel(module, args), own(*args))
""",
    "training": """
for cls in LAYERS:
    watch(cls)
    module, own, call = pair(cls, *module_args(cls))
    if not shapes.parse(call.kernel.layer.json()).has_backward:
        continue
    args = inputs_of(cls, requires_grad=True)
    others = copies(args)
    made = by_kernel(module, args)
    assert all(one.grad_fn is not None for one in flat(made))
    found, wanted = gradients(module, made), gradients(own, own(*others))
    check(tuple(found), tuple(wanted))
    for one, other in zip(args, others):
        if one.requires_grad:
            torch.testing.assert_close(one.grad, other.grad, atol=2e-5, rtol=2e-5)
    # A gradient that is an expanded number.
    for one in args:
        one.grad = None
    flat(module(*args))[0].sum().backward()
    assert args[0].grad is not None
""",
    "compile": """
for cls in (SiluAndMul, RMSNorm, Rotary):
    module, own, _ = pair(cls, *module_args(cls))
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        args = inputs_of(cls)
        check(compiled(*args), own(*args))
    args = inputs_of(cls, requires_grad=True)
    others = copies(args)
    check(tuple(gradients(module, compiled(*args))), tuple(gradients(own, own(*others))))
    for one, other in zip(args, others):
        if one.requires_grad:
            torch.testing.assert_close(one.grad, other.grad, atol=2e-5, rtol=2e-5)
""",
    "memory": """
# Views, one row, no row, numbers that are negated lazily, and types in which the sums differ little.
module, own, _ = pair(SiluAndMul)
wide = torch.randn(6, 5, 8)
for x in (wide.transpose(0, 1), wide[::2, 1:3], wide[:1], wide[:, :1], wide[:0], wide[..., 1:7], wide[0, 0],
          torch._neg_view(wide), wide.to(torch.bfloat16), wide.to(torch.float64)):
    with torch.no_grad():
        made, wanted = module(x), own(x)
    assert made.shape == wanted.shape
    torch.testing.assert_close(made, wanted, atol=2e-2 if x.dtype == torch.bfloat16 else 1e-5, rtol=1e-2)
kept = module(wide)
for _ in range(200):
    module(torch.randn(64, 64))
torch.testing.assert_close(kept, own(wide))
""",
    "bytes": """
# Floats of 8 bits, which the DLPack of some PyTorch does not know: a package that copies them.
import pathlib, tempfile
from native_layers import pack
from kernels import _kernels
layers = {"Copy": {"members": "", "signature": "(x: any [...]) -> (y: like x)", "forward": "nothing(x, y)"}}
source = "int __tvm_ffi_nothing(void *self, const void *args, int n, void *result) { return 0; }"
package = pack(pathlib.Path(tempfile.mkdtemp()), "bytes", layers, source)
call = _kernels.Call(_kernels.HostKernel(str(package), "Copy"), lambda *args: None)
class Module:
    pass
for name in ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "uint16", "bool"):
    dtype = getattr(torch, name, None)
    if dtype is not None:
        made = call.run(Module(), torch.ones(2, 3).to(dtype))
        assert made is not NotImplemented and made.dtype == dtype and made.shape == (2, 3), (name, made)
""",
    "counts": """
# Nothing is kept of a call.
import gc
module, own, _ = pair(RMSNorm, 8)
x = torch.randn(4, 8, requires_grad=True)
def rounds(n):
    for _ in range(n):
        module(x).sum().backward()
rounds(10)
gc.collect()
before = [sys.getrefcount(thing) for thing in (x, module.weight, torch.utils.dlpack.to_dlpack)], len(gc.get_objects())
rounds(200)
gc.collect()
after = [sys.getrefcount(thing) for thing in (x, module.weight, torch.utils.dlpack.to_dlpack)], len(gc.get_objects())
assert before[0] == after[0] and after[1] < before[1] + 100, (before, after)
""",
    "kernelize": """
import copy
from conftest import BUILD
from torch import nn
from kernels import LocalLayerRepository, Mode, kernelize, replace_kernel_forward_from_hub, use_kernel_mapping

Act, Norm = (type(name, (cls,), {}) for name, cls in (("Act", SiluAndMul), ("Norm", RMSNorm)))
replace_kernel_forward_from_hub(Act, "Act")
replace_kernel_forward_from_hub(Norm, "Norm")
places = {"Act": ("activation", "SiluAndMul"), "Norm": ("normalization", "RMSNorm")}
mapping = {
    name: {"cpu": LocalLayerRepository(BUILD / "packages" / package, layer_name=layer)}
    for name, (package, layer) in places.items()
}
for mode in (Mode.INFERENCE, Mode.TRAINING):
    own = nn.Sequential(nn.Linear(8, 16), Act(), Norm(8))
    model = copy.deepcopy(own)
    model.train(mode == Mode.TRAINING)
    with use_kernel_mapping(mapping, inherit_mapping=False):
        kernelize(model, mode=mode, device="cpu")
    assert all("__kernels_call__" in vars(m.forward.__func__) for m in model[1:]), [m.forward for m in model]
    x = torch.randn(3, 8)
    for _ in range(2):
        made, wanted = model(x), own(x)
        check(made, wanted)
        if mode == Mode.TRAINING:
            check(tuple(gradients(model, made)), tuple(gradients(own, wanted)))
assert "tvm_ffi" not in sys.modules
""",
}


@pytest.mark.extension
@pytest.mark.parametrize("case", CASES)
def test_a_pytorch_without_the_table(case):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(PACKAGE), str(TESTS)))}
    done = subprocess.run(
        [sys.executable, "-c", PREPARE + CASES[case]], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
