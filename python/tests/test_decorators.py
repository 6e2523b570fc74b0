"""Marking classes and functions as extensible."""

import copy
import functools
import inspect
import io
import pickle
import warnings

import pytest
import torch
from torch import nn

import kernels
from kernels import (
    replace_kernel_forward_from_hub,
    use_kernel_forward_from_hub,
    use_kernel_func_from_hub,
    use_kernelized_func,
)


@use_kernel_forward_from_hub("rotary_pos_emb")
def rotary(q, k, *, scale: float = 2.0):
    """Rotates."""
    return q * scale, k


@use_kernel_forward_from_hub("SiluAndMul")
class SiluAndMul(nn.Module):
    def forward(self, x):
        return x + 1


class Plain(nn.Module):
    def forward(self, x):
        return x + 1


@use_kernelized_func(rotary)
class Attention(nn.Module):
    def __init__(self, size, *, bias=False):
        super().__init__()
        self.linear = nn.Linear(size, size, bias=bias)

    def forward(self, q, k):
        return rotary(q, self.linear(k))


def plain(q, k, *, scale: float = 2.0):
    """Rotates."""
    return q * scale, k


# --- classes ---


def test_a_class_stays_as_it_is():
    class Layer(nn.Module):
        def forward(self, x):
            return x + 1

    before = dict(vars(Layer))
    assert use_kernel_forward_from_hub("L")(Layer) is Layer
    assert {name: value for name, value in vars(Layer).items() if name not in before} == {"kernel_layer_name": "L"}
    assert Layer()(1) == 2 and type(Layer()).kernel_layer_name == "L"


def test_external_classes():
    class Layer(Plain):
        pass

    assert replace_kernel_forward_from_hub(Layer, "L") is None
    assert Layer.kernel_layer_name == "L" and not hasattr(Plain, "kernel_layer_name")

    class Child(Layer):
        pass

    assert Child.kernel_layer_name == "L"


def test_conditions():
    def large(module):
        return module.size > 1

    class Layer(Plain):
        size = 2

    replace_kernel_forward_from_hub(Layer, "L", condition=large)
    assert Layer.kernel_condition is large

    class Child(Layer):
        pass

    assert Child.kernel_condition is large
    replace_kernel_forward_from_hub(Child, "M")  # another name: the condition was about the parent's
    assert Child.kernel_condition is None and Layer.kernel_condition is large
    use_kernel_forward_from_hub("L", condition=None)(Layer)
    assert Layer.kernel_condition is None
    marked = use_kernel_forward_from_hub("f", condition=large)(lambda x: x)
    assert type(marked).kernel_condition is large


@pytest.mark.parametrize("target", [1, "f", None, functools.partial(plain), Plain()], ids=lambda one: type(one).__name__)
def test_what_cannot_be_marked(target):
    with pytest.raises(TypeError, match="can only be applied to classes or functions"):
        use_kernel_forward_from_hub("L")(target)


# --- functions ---


def test_fault_23_a_function_keeps_what_it_is():
    assert isinstance(rotary, nn.Module)
    assert rotary.kernel_layer_name == type(rotary).kernel_layer_name == "rotary_pos_emb"
    assert (rotary.__name__, rotary.__qualname__, rotary.__module__) == ("rotary", "rotary", __name__)
    assert rotary.__doc__ == "Rotates." and inspect.getdoc(rotary) == "Rotates."
    assert inspect.signature(rotary) == inspect.signature(plain) == inspect.signature(rotary.__wrapped__)
    assert rotary(3, 4) == (6.0, 4) and rotary(3, k=4, scale=1) == (3, 4)
    with pytest.raises(TypeError, match=r"rotary\(\) missing 1 required positional argument"):
        rotary(3)


def test_a_functions_class_has_its_signature():
    parameters = list(inspect.signature(type(rotary).forward).parameters.values())
    assert [p.name for p in parameters] == ["self", "q", "k", "scale"]
    assert parameters[3].kind is inspect.Parameter.KEYWORD_ONLY and parameters[3].default == 2.0
    assert list(inspect.signature(rotary.forward).parameters) == ["q", "k", "scale"]
    assert "forward" not in rotary.__dict__


def test_fault_23_c_functions():
    silu = use_kernel_forward_from_hub("SiLU")(torch._C._nn.silu)
    x = torch.randn(3)
    assert torch.equal(silu(x), nn.functional.silu(x))
    assert silu.__name__ == "silu" and str(silu) == "silu()"


def test_functions_that_are_wrapped_already():
    @functools.wraps(plain)
    def wrapper(*args, **kwargs):
        return plain(*args, **kwargs)

    wrapper.own = 1
    marked = use_kernel_forward_from_hub("f")(wrapper)
    assert marked.__wrapped__ is wrapper and marked.own == 1
    assert inspect.signature(marked) == inspect.signature(plain)
    assert marked(1, 2) == (2.0, 2)


def test_fault_23_pickled_by_name_and_copied_as_itself():
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(rotary, protocol)) is rotary
    assert copy.copy(rotary) is copy.deepcopy(rotary) is rotary
    local = use_kernel_forward_from_hub("f")(lambda x: x)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(local)


def test_a_function_as_a_submodule():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.rotate = rotary

        def forward(self, x):
            return self.rotate(x, x)

    model = Model()
    assert dict(model.named_modules())["rotate"] is rotary
    assert not model.state_dict() and not list(model.parameters())
    assert copy.deepcopy(model).rotate is rotary
    assert model(2) == (4.0, 2)
    assert "(rotate): rotary()" in str(model)


def test_fault_23_models_with_functions_are_copied_and_saved():
    model = Attention(2, bias=True)
    assert model._kernel_funcs == {"rotary_pos_emb": rotary}
    assert "_kernel_funcs" in model.__dict__ and dict(model.named_modules()).keys() == {"", "linear"}
    assert copy.deepcopy(model)._kernel_funcs["rotary_pos_emb"] is rotary
    x = torch.randn(1, 2)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for again in (pickle.loads(pickle.dumps(model)), torch.load(file, weights_only=False)):
        assert again._kernel_funcs["rotary_pos_emb"] is rotary
        assert torch.equal(again(x, x)[1], model(x, x)[1])
    assert list(inspect.signature(Attention).parameters) == ["size", "bias"]


def test_two_functions_of_one_layer():
    @use_kernel_forward_from_hub("same")
    def one(x):
        return x

    @use_kernel_forward_from_hub("same")
    def two(x):
        return x

    @use_kernelized_func(one, two)
    class Model(nn.Module):
        pass

    @use_kernelized_func(rotary, one)
    class Child(Model):
        pass

    assert Model()._kernel_funcs == {"same": one, "two": two}
    assert Child()._kernel_funcs == {"same": one, "two": two, "rotary_pos_emb": rotary}
    assert Model()._kernel_funcs is not Model()._kernel_funcs


@pytest.mark.parametrize(("function", "name"), [(plain, "plain"), (len, "len"), (3, "3")])
def test_functions_that_are_not_marked(function, name):
    with pytest.raises(ValueError, match=f"Function `{name}` is not decorated"):
        use_kernelized_func(rotary, function)


def test_use_kernel_func_from_hub_is_deprecated():
    with pytest.warns(DeprecationWarning, match="kernels 0.17") as warned:
        marked = use_kernel_func_from_hub("f")(plain)
    assert warned[0].filename == __file__
    assert marked(1, 2) == (2.0, 2) and marked.kernel_layer_name == "f"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        use_kernel_forward_from_hub("f")(plain)


def test_compiled_functions():
    @torch.compile(backend="eager", fullgraph=True)
    def compiled(x):
        return rotary(x, x)[0] + 1

    x = torch.randn(3)
    assert torch.allclose(compiled(x), x * 2 + 1)


def test_marking_needs_no_torch(run_python):
    run_python("""
import sys
from kernels import use_kernel_forward_from_hub, replace_kernel_forward_from_hub
@use_kernel_forward_from_hub("L")
class L: pass
replace_kernel_forward_from_hub(L, "M")
assert L.kernel_layer_name == "M" and "torch" not in sys.modules
""")


def test_names():
    assert kernels.layer.layer.use_kernel_forward_from_hub is use_kernel_forward_from_hub
    assert kernels.layer.func.use_kernelized_func is use_kernelized_func
