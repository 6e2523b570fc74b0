"""What the walk meets, in which order, and where modules are."""

import pytest
import torch
from torch import nn
from torch_models import (
    INFERENCE,
    Block,
    Calls,
    Custom,
    Scale,
    Weighted,
    double,
    factor,
    functions,
    kernelize_with,
    on_cpu,
    times,
)

from kernels import (
    kernelize,
    report,
    unkernelize,
)


pytestmark = pytest.mark.extension


def paths(model, **options):
    return [record.path for record in report(kernelize_with(model, Custom(times(7)), device="cpu", **options)).records]


def extensible(model):
    return [name for name, module in model.named_modules() if hasattr(type(module), "kernel_layer_name")]


def test_the_order_is_that_of_named_modules():
    m = nn.ModuleDict({
        "b": nn.Sequential(Scale(), nn.ModuleList([Block(), None, Block()])),
        "a": Scale(),
        "c": nn.ModuleDict({"x": nn.Sequential(nn.Sequential(nn.Sequential(Scale())))}),
    })  # fmt: skip
    assert paths(m) == extensible(m) and len(paths(m)) == 5


def test_the_model_itself_may_be_extensible():
    m = kernelize_with(Scale(), Custom(times(7)), device="cpu")
    assert factor(m) == 7 and [r.path for r in report(m).records] == [""]


def test_shared_modules_and_cycles_are_met_once():
    shared = Scale()
    m = nn.Sequential(shared, nn.Sequential(shared), Block())
    m[1].register_module("up", m)  # nothing else could walk it, named_modules() does
    assert paths(m) == extensible(m) == ["0", "2.scale"]


def test_a_deep_model_needs_no_stack():
    m = Scale()
    for _ in range(5000):
        outer = nn.Module()
        outer.inner = m
        m = outer
    (path,) = paths(m)
    assert path == ".".join(["inner"] * 5000)
    unkernelize(m)
    while hasattr(m, "inner"):  # its destructor would recurse
        inner = m.inner
        del m.inner
        m = inner


def test_names_are_any_text():
    m = nn.Module()
    m.add_module("größe 名", Scale())
    assert paths(m) == ["größe 名"]
    m._modules["\udc80"], m._modules[5] = nn.Sequential(Scale()), Scale()  # no text at all
    assert paths(m) == ["größe 名", "?.0", "?"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "make", [lambda m: torch.jit.trace(m, torch.ones(1, 2)), torch.jit.script], ids=["trace", "script"]
)
def test_a_script_module_is_shown_with_a_reason(make):
    m = nn.Sequential(Scale(), make(Block()))
    kernelize_with(m, Custom(times(7)))
    first, second = report(m).records
    assert first.outcome == "kernel" and second.path == "1"
    assert "ScriptModule" in second.reason and "before it is scripted" in second.reason
    unkernelize(m)


def test_a_forward_that_no_instance_can_replace():
    class Property(nn.Module):
        kernel_layer_name = "Property"

        @property
        def forward(self):
            return lambda x: x * 2

    m = kernelize_with(nn.Sequential(Property()), Custom(times(7)), name="Property", device="cpu")
    assert factor(m[0]) == 2 and "is a property" in report(m).records[0].reason


def test_what_is_no_module():
    for wrong in (None, 7, object(), Scale):
        with pytest.raises(TypeError, match="torch.nn.Module is required"):
            kernelize(wrong, mode=INFERENCE, device="cpu")


# --- where modules are ---


class Buffered(nn.Module):
    kernel_layer_name = "Scale"

    def __init__(self, device):
        super().__init__()
        self.register_buffer("nothing", None)
        self.register_buffer("table", torch.ones(1, device=device))

    def forward(self, x):
        return x * 2


def test_the_device_of_parameters_buffers_ancestors_and_the_first():
    m = nn.Sequential(Scale(), Buffered("cpu"), Block())
    kernelize_with(m, Custom(times(7)))
    shown = report(m).records
    assert [factor(module) for module in (m[0], m[1], m[2].scale)] == [7, 7, 7]
    assert all(record.outcome == "kernel" for record in shown)


def test_meta_tensors_say_nothing_of_the_device():
    m = nn.Sequential(Buffered("meta"), Buffered("cpu"))
    kernelize_with(m, Custom(times(7)))
    assert factor(m[0]) == factor(m[1]) == 7


def test_a_tensor_subclass_is_asked_too():
    class Sub(torch.Tensor):
        pass

    m = Weighted()
    m.weight = nn.Parameter(torch.ones(1).as_subclass(Sub))
    kernelize_with(nn.Sequential(m), Custom(times(7)), name="Weighted")
    assert factor(m) == 7


def test_a_device_that_no_kernel_is_for():
    class Elsewhere:
        type, index = "privateuseone", 0

    class Fake:
        device = Elsewhere()

    m = nn.Sequential(Scale(), Weighted())
    m[1]._parameters["other"] = Fake()
    m[1]._parameters = {"other": Fake()}
    with pytest.raises(ValueError, match="Cannot determine model device"):
        kernelize_with(m, Custom(times(7)))


def test_what_an_attribute_raises_ends_the_call():
    class Broken:
        @property
        def device(self):
            raise RuntimeError("not now")

    m = nn.Sequential(Scale(), Weighted())
    m[1]._parameters = {"weight": Broken()}
    with pytest.raises(RuntimeError, match="not now"):
        kernelize_with(m, Custom(times(7)))
    assert factor(m[0]) == 2


def test_a_condition_that_changes_the_model_while_it_is_walked():
    class Meddling(nn.Module):
        kernel_layer_name = "Scale"

        @staticmethod
        def kernel_condition(module):
            for n in range(50):
                m.add_module(f"new{n}", nn.Identity())
            m._modules.pop("1", None)
            return True

        def forward(self, x):
            return x * 2

    m = nn.Sequential(Meddling(), Scale(), Scale())
    kernelize_with(m, Custom(times(7)), device="cpu")
    assert factor(m[0]) == 7


# --- functions ---


def test_a_function_is_bound_and_undone(functions):
    m = nn.Sequential(Calls(), Calls())
    kernelize_with(m, Custom(times(7)), name="double")
    assert factor(m) == 49 and double(torch.ones(1)).item() == 7
    assert [(r.path, r.layer) for r in report(m).records] == [("0.double", "double")]
    unkernelize(m)
    assert factor(m) == 4 and double.__doc__ == "Twice."


def test_other_names_in_an_empty_mapping():
    m = nn.Sequential(Scale())
    with on_cpu(Custom(times(7)), "Nothing"):
        kernelize(m, mode=INFERENCE, device="cpu")
    assert factor(m[0]) == 2 and "forward" not in vars(m[0])
