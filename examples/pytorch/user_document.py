"""The document of Layers, as a program: each of its code blocks and each of its sentences that can be checked is a check with a name.

    python examples/pytorch/user_document.py

Without a GPU the machine is overridden: KERNELS_DEVICE says that it has one of capability 8.6. The kernels are Python, from a hub that
runs on this machine.
"""

import logging
import os
import pathlib
import sys
import warnings

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from hub import Hub  # noqa: E402

hub = Hub()
for ref, kind in (("v0.0.3", "tags"), ("v0.0.4", "tags"), ("v0.0.9", "tags"), ("v0.1.0", "tags"), ("main", "branches")):
    hub.add_python(HERE / "document", "kernels-community/activation", ref, kind)
for name in ("activation-hopper", "activation-inference-optimized", "activation-training-optimized"):
    hub.add_python(HERE / "document", f"kernels-community/{name}")
hub.start()

import torch  # noqa: E402

has_gpu = torch.cuda.is_available()
if not has_gpu:
    os.environ["KERNELS_DEVICE"] = "cuda:8.6"

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import kernels  # noqa: E402
from kernels import (  # noqa: E402
    CUDAProperties, Device, LayerRepository, LocalLayerRepository, Mode, ROCMProperties, kernelize, register_kernel_mapping,
    replace_kernel_forward_from_hub, use_kernel_forward_from_hub, use_kernel_mapping)

failures = []


def check(name, holds):
    """One sentence of the document."""
    print(f"  {'ok    ' if holds else 'FAILED'}  {name}")
    if not holds:
        failures.append(name)


def raises(exception, call):
    try:
        call()
    except exception as error:
        return str(error) or True
    return False


def served_by(model):
    """What serves the model's first extensible layer: repository, revision's ref aside, and layer; None: its own forward."""
    record = kernels.report(model).records[0]
    return (record.repository, record.layer_name) if record.outcome == "kernel" else None


class Said(logging.Handler):
    """The lines of the logger `kernels`."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.lines = []

    def emit(self, record):
        self.lines.append((record.levelname, record.getMessage()))


print("Making a layer extensible with kernels from the hub")


@use_kernel_forward_from_hub("SiluAndMul")
class SiluAndMul(nn.Module):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        d = input.shape[-1] // 2
        return F.silu(input[..., :d]) * input[..., d:]


class PlainSiluAndMul(nn.Module):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        d = input.shape[-1] // 2
        return F.silu(input[..., :d]) * input[..., d:]


class MyModel(nn.Module):
    def __init__(self, act=SiluAndMul):
        super().__init__()
        self.linear = nn.Linear(8, 16)
        self.act = act()

    def forward(self, x):
        return self.act(self.linear(x))


def make(act=SiluAndMul):
    torch.manual_seed(0)
    model = MyModel(act)
    return model.cuda() if has_gpu else model


x = torch.randn(4, 8, device="cuda" if has_gpu else "cpu")
expected = make(PlainSiluAndMul)(x).detach()
check("the decorator does not change the behavior of the class", torch.equal(make()(x), expected))
check("it annotates the class with the given name", SiluAndMul.kernel_layer_name == "SiluAndMul")
replace_kernel_forward_from_hub(PlainSiluAndMul, "SiluAndMul")
check("an existing class can be made extensible", PlainSiluAndMul.kernel_layer_name == "SiluAndMul")
check("… and still behaves as before", torch.equal(make(PlainSiluAndMul)(x), expected))

print("Kernelizing a model")
kernel_layer_mapping = {
    "SiluAndMul": {
        "cuda": LayerRepository(
            repo_id="kernels-community/activation",
            layer_name="SiluAndMul",
        ),
        "rocm": LayerRepository(
            repo_id="kernels-community/activation",
            layer_name="SiluAndMul",
        )
    }
}
ACTIVATION = ("kernels-community/activation", "SiluAndMul")
on = {"device": "cuda"}  # where there is no GPU, the parameters are not on one
said = Said()
logging.getLogger("kernels").addHandler(said)
logging.getLogger("kernels").setLevel(logging.INFO)

model = make()
check("a model will not use Hub kernels by default", served_by(model) is None)
with use_kernel_mapping(kernel_layer_mapping):
    returned = kernelize(model, mode=Mode.INFERENCE, **on)
check("kernelize modifies the model in-place and returns it", returned is model and served_by(model) == ACTIVATION)
check("the kernel gives the same", torch.allclose(model(x), expected))
check("kernels that are used are logged at INFO",
      any(level == "INFO" and "Using layer `SiluAndMul`" in line and "kernels-community/activation" in line
          for level, line in said.lines))
model = make(PlainSiluAndMul)
with use_kernel_mapping(kernel_layer_mapping):
    kernelize(model, mode=Mode.INFERENCE, **on)
check("an external layer is kernelized as well", served_by(model) == ACTIVATION)
with use_kernel_mapping(kernel_layer_mapping):
    model = kernelize(make(), mode=Mode.TRAINING, **on)
    trained = model(x)
    trained.sum().backward()
    check("a model kernelized for training trains", model.linear.weight.grad is not None)
    with torch.no_grad():
        check("… and can also be used for inference", torch.allclose(model(x), expected))
    kernelize(model, mode=Mode.INFERENCE, **on)
    check("to change the mode, run kernelize again", served_by(model) == ACTIVATION)
    for mode in (Mode.INFERENCE | Mode.TORCH_COMPILE, Mode.TRAINING | Mode.TORCH_COMPILE):
        model = kernelize(make(), mode=mode, **on)
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        check(f"{mode}: the model compiles without a graph break", torch.allclose(compiled(x), expected, atol=1e-6))

print("Kernel device")
cpu_mapping = {"SiluAndMul": {"cpu": LayerRepository("kernels-community/activation", layer_name="SiluAndMul")}}
with use_kernel_mapping(cpu_mapping, inherit_mapping=False):
    model = kernelize(MyModel(), mode=Mode.INFERENCE)
    check("the device type is inferred from the model's parameters", served_by(model) == ACTIVATION)
    check("a model without parameters has no device to infer",
          "Cannot determine model device" in str(raises(ValueError, lambda: kernelize(SiluAndMul(), mode=Mode.INFERENCE))))
    model = kernelize(SiluAndMul(), device="cpu", mode=Mode.INFERENCE)
    check("then it can be given", served_by(model) == ACTIVATION)
metal = {"SiluAndMul": {"metal": LayerRepository("kernels-community/activation", layer_name="SiluAndMul")}}
with use_kernel_mapping(metal, inherit_mapping=False):
    check("metal is a device type", served_by(kernelize(make(), mode=Mode.INFERENCE, **on)) is None)

print("Fallback forward")
for mode, layer in ((Mode.TRAINING, "SiluAndMulInferenceOnly"), (Mode.INFERENCE | Mode.TORCH_COMPILE, "SiluAndMulEager")):
    mapping = {"SiluAndMul": {"cuda": LayerRepository("kernels-community/activation", layer_name=layer)}}
    with use_kernel_mapping(mapping, inherit_mapping=False):
        model = kernelize(make(), mode=mode, **on)
        check(f"{mode}: a kernel without support falls back to the original layer",
              served_by(model) is None and torch.equal(model(x), expected))
        check(f"{mode}: use_fallback=False raises an exception instead",
              raises(ValueError, lambda: kernelize(make(), mode=mode, use_fallback=False, **on)))

print("Registering a hub kernel for a layer")
with use_kernel_mapping(kernel_layer_mapping):
    inside = served_by(kernelize(make(), mode=Mode.INFERENCE, **on))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    outside = served_by(kernelize(make(), mode=Mode.INFERENCE, **on))
check("a scoped mapping is active inside", inside == ACTIVATION)
check("… and not outside the with-scope", outside is None)
register_kernel_mapping(kernel_layer_mapping)
check("a registered mapping is global", served_by(kernelize(make(), mode=Mode.INFERENCE, **on)) == ACTIVATION)
other = {"Other": {"cuda": LayerRepository("kernels-community/activation", layer_name="SiluAndMul")}}
with use_kernel_mapping(other):
    check("a scope inherits what is registered", served_by(kernelize(make(), mode=Mode.INFERENCE, **on)) == ACTIVATION)
with use_kernel_mapping(other, inherit_mapping=False):
    check("… unless inherit_mapping=False", served_by(kernelize(make(), mode=Mode.INFERENCE, **on)) is None)

print("Using version bounds")
kernel_layer_mapping = {
    "SiluAndMul": {
        "cuda": LayerRepository(
            repo_id="kernels-community/activation",
            layer_name="SiluAndMul",
            version=">=0.0.4,<0.1.0",
        ),
        "rocm": LayerRepository(
            repo_id="kernels-community/activation",
            layer_name="SiluAndMul",
            version=">=0.0.4,<0.1.0",
        )
    }
}


def revision_of(mapping):
    with use_kernel_mapping(mapping, inherit_mapping=False):
        model = kernelize(make(), mode=Mode.INFERENCE, **on)
    return kernels.report(model).records[0].revision


def only(version=None, revision=None):
    return {"SiluAndMul": {"cuda": LayerRepository("kernels-community/activation", layer_name="SiluAndMul", version=version,
                                                   revision=revision)}}


bounded = revision_of(kernel_layer_mapping)
check("the newest kernel within the bounds is taken", bounded == revision_of(only(revision="v0.0.9")))
check("… which is neither 0.0.4 nor 0.1.0", bounded not in (revision_of(only(revision="v0.0.4")), revision_of(only(revision="v0.1.0"))))
check("without a version, main is meant", revision_of(only()) == revision_of(only(revision="main")))
check("bounds that no tag satisfies are an error",
      "No version of" in str(raises(Exception, lambda: LayerRepository(
          "kernels-community/activation", layer_name="SiluAndMul", version=">=9").load())))

print("Registering kernels for specific modes")
kernel_layer_mapping = {
    "SiluAndMul": {
        "cuda": {
            Mode.INFERENCE: LayerRepository(
                repo_id="kernels-community/activation-inference-optimized",
                layer_name="SiluAndMul",
            ),
            Mode.TRAINING | Mode.TORCH_COMPILE: LayerRepository(
                repo_id="kernels-community/activation-training-optimized",
                layer_name="SiluAndMul",
            ),
        }
    }
}
INFERENCE, TRAINING, COMPILE = Mode.INFERENCE, Mode.TRAINING, Mode.TORCH_COMPILE
NAMES = {INFERENCE: "i", INFERENCE | COMPILE: "ic", TRAINING: "t", TRAINING | COMPILE: "tc", Mode.FALLBACK: "f"}


def chosen(registered, mode):
    """Which of the registered modes serves a request."""
    repositories = {"i": "activation-inference-optimized", "ic": "activation-hopper", "t": "activation-training-optimized",
                    "tc": "activation", "f": "activation"}
    table = {m: LayerRepository(f"kernels-community/{repositories[NAMES[m]]}", layer_name="SiluAndMul") for m in registered}
    with use_kernel_mapping({"SiluAndMul": {"cuda": table}}, inherit_mapping=False):
        model = kernelize(make(), mode=mode, **on)
    record = kernels.report(model).records[0]
    return None if record.outcome != "kernel" else record.mode_used


with use_kernel_mapping(kernel_layer_mapping, inherit_mapping=False):
    for mode, name in ((INFERENCE, "inference"), (TRAINING | COMPILE, "training"), (TRAINING, "training")):
        repository = served_by(kernelize(make(), mode=mode, **on))
        check(f"{mode}: the {name}-optimized kernel", repository == (f"kernels-community/activation-{name}-optimized", "SiluAndMul"))
CHAINS = {INFERENCE: [INFERENCE, INFERENCE | COMPILE, TRAINING, TRAINING | COMPILE, Mode.FALLBACK],
          INFERENCE | COMPILE: [INFERENCE | COMPILE, TRAINING | COMPILE, Mode.FALLBACK],
          TRAINING: [TRAINING, TRAINING | COMPILE, Mode.FALLBACK],
          TRAINING | COMPILE: [TRAINING | COMPILE, Mode.FALLBACK]}
for asked, chain in CHAINS.items():
    for i, wanted in enumerate(chain):
        got = chosen(chain[i:], asked)
        check(f"{asked}: of {[NAMES[m] for m in chain[i:]]} the first is used", got == str(wanted).removeprefix("Mode."))
for mode in (INFERENCE | COMPILE, TRAINING | COMPILE):
    check(f"{mode} uses FALLBACK where INFERENCE and TRAINING are registered",
          chosen([Mode.FALLBACK, INFERENCE, TRAINING], mode) == "FALLBACK")
check("a kernel registered without a mode is registered under FALLBACK",
      kernels.report(kernelize(make(), mode=INFERENCE, **on)).records[0].mode_used == "FALLBACK")

print("Registering kernels for specific CUDA capabilities")


def ranges(properties, device, *given):
    return {"SiluAndMul": {Device(type=device, properties=properties(min_capability=low, max_capability=high)): LayerRepository(
        repo_id=f"kernels-community/{name}", layer_name="SiluAndMul") for low, high, name in given}}


def name_for(mapping, *more):
    with use_kernel_mapping(mapping, inherit_mapping=False):
        for each in more:
            register_kernel_mapping(each)
        served = served_by(kernelize(make(), mode=Mode.INFERENCE, **on))
    return served and served[0].rpartition("/")[2]


kernel_layer_mapping = {
    "SiluAndMul": {
        Device(
            type="cuda",
            properties=CUDAProperties(
                min_capability=75, max_capability=89
            ),
        ): LayerRepository(
            repo_id="kernels-community/activation",
            layer_name="SiluAndMul",
        ),
        Device(
            type="cuda",
            properties=CUDAProperties(
                min_capability=90, max_capability=sys.maxsize
            ),
        ): LayerRepository(
            repo_id="kernels-community/activation-hopper",
            layer_name="SiluAndMul",
        ),
    }
}
major, minor = torch.cuda.get_device_capability() if has_gpu else (8, 6)
here = major * 10 + minor
check("the range that contains the GPU's capability is used",
      name_for(kernel_layer_mapping) == ("activation-hopper" if here >= 90 else "activation"))
a, b = "activation", "activation-hopper"
check("bounds are inclusive, below", name_for(ranges(CUDAProperties, "cuda", (here, here + 9, a))) == a)
check("bounds are inclusive, above", name_for(ranges(CUDAProperties, "cuda", (here - 9, here, a))) == a)
check("outside of them there is no kernel", name_for(ranges(CUDAProperties, "cuda", (here + 1, here + 9, a))) is None)
check("the same bounds again replace the kernel",
      name_for(ranges(CUDAProperties, "cuda", (here - 1, here + 1, a)), ranges(CUDAProperties, "cuda", (here - 1, here + 1, b))) == b)
check("the smaller interval is used",
      name_for(ranges(CUDAProperties, "cuda", (here - 6, here + 3, a), (here - 11, here + 3, b))) == a)
check("… in any order", name_for(ranges(CUDAProperties, "cuda", (here - 11, here + 3, b), (here - 6, here + 3, a))) == a)

print("Registering kernels for specific ROCm capabilities")
check("ROCm follows the same pattern",
      raises(ValueError, lambda: Device(type="cuda", properties=ROCMProperties(min_capability=90, max_capability=95)))
      and ranges(ROCMProperties, "rocm", (90, 95, a)))
with use_kernel_mapping(ranges(ROCMProperties, "rocm", (90, 95, a)), inherit_mapping=False):
    check("… and does not concern CUDA devices", served_by(kernelize(make(), mode=Mode.INFERENCE, **on)) is None)

print("Loading from a local repository for testing")
local = hub.ref("kernels-community/activation", "main")
linear = make()
with use_kernel_mapping(
    {
        "SiluAndMul": {
            "cuda": LocalLayerRepository(
                repo_path=str(local),
                package_name="activation",
                layer_name="SiluAndMul",
            )
        }
    },
    inherit_mapping=False,
):
    kernelize(linear, mode=Mode.INFERENCE, **on)
check("a layer comes from a local directory, given as a string", served_by(linear) == (str(local), "SiluAndMul"))
check("… and gives the same", torch.allclose(linear(x), expected))

print(f"{len(failures)} checks failed" if failures else "all of it holds")
sys.exit(1 if failures else 0)
