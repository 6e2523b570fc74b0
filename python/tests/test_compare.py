"""kernels.compare: what it finds, what it says, and that nothing is left of it."""

import json

import pytest
import torch
from conftest import BUILD
from native_layers import RMSNorm, Rotary, SiluAndMul, rotary_inputs
from torch import nn
from torch_models import Custom, Scale, on_cpu, times

import kernels
from kernels import LocalLayerRepository, Mode, kernelize, replace_kernel_forward_from_hub, use_kernel_mapping
from kernels.errors import InvalidError


class Norm(RMSNorm):
    pass


class Act(SiluAndMul):
    pass


replace_kernel_forward_from_hub(Norm, "CompareNorm")
replace_kernel_forward_from_hub(Act, "CompareAct")


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up, self.act, self.out = Norm(8), nn.Linear(8, 16), Act(), nn.Linear(8, 8)

    def forward(self, x, times=1, flag=False):
        for _ in range(times):
            x = x + self.out(self.act(self.up(self.norm(x))))
        return x


def local(package, layer):
    return LocalLayerRepository(str(BUILD / "packages" / package), layer_name=layer)


@pytest.fixture
def model():
    torch.manual_seed(0)
    mapping = {
        "CompareNorm": {"cpu": local("normalization", "RMSNorm")},
        "CompareAct": {"cpu": local("activation", "SiluAndMul")},
    }
    with use_kernel_mapping(mapping, inherit_mapping=False):
        return kernelize(Model(), mode=Mode.INFERENCE)


def hosted(layer, count=1):
    """A model of Scales that a layer of Python serves; a number is what it multiplies by."""
    with on_cpu(Custom(times(layer) if isinstance(layer, float) else layer)):
        model = nn.Sequential(*(Scale() for _ in range(count)))
        return kernelize(model, mode=Mode.INFERENCE, device="cpu", use_fallback=False)


X = torch.linspace(-2, 2, 24).view(3, 8)
INPUTS = {
    "a tensor": X,
    "a tuple": (X, 2),
    "a list": [X],
    "a dictionary": {"x": X, "times": 2},
    "a function": lambda model: [model(X), model(X * 2)],
}


@pytest.mark.parametrize("inputs", INPUTS)
def test_kernels_that_agree(model, inputs):
    result = kernels.compare(model, INPUTS[inputs])
    assert result.ok
    assert [(layer.path, layer.class_name, layer.outcome) for layer in result] == [
        ("norm", "Norm", "within"),
        ("act", "Act", "within"),
    ]
    calls = 1 if inputs in ("a tensor", "a list") else 2
    for layer in result:
        assert (layer.calls, layer.compared, layer.fallbacks) == (calls, calls, {})
        assert 0 <= layer.max_rel <= layer.tolerance and layer.declared
        assert layer.max_abs == 0 or layer.max_abs >= layer.max_rel / 100
    assert [layer.tolerance for layer in result] == [2e-5, 4e-6]  # twice what the packages declare


def test_nothing_is_left(model):
    forwards = [dict(module.__dict__) for module in model.modules()]
    state, random = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    grad = torch.is_grad_enabled()
    hooks = model.norm.register_forward_hook(lambda *_: None)
    hooks.remove()
    kernels.compare(model, lambda model: [model(X), torch.rand(3), nn.Dropout()(X)])
    with pytest.raises(RuntimeError, match="the model's own"):
        kernels.compare(model, lambda model: (model(X), (_ for _ in ()).throw(RuntimeError("the model's own"))))
    for module, before in zip(model.modules(), forwards, strict=True):
        assert module.__dict__.keys() == before.keys()
        assert all(module.__dict__[name] is value for name, value in before.items() if name != "training")
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())
    assert torch.equal(torch.get_rng_state(), random) and torch.is_grad_enabled() == grad


def test_buffers_of_a_training_model_stay(model):
    model = nn.Sequential(model, nn.BatchNorm1d(8)).train()
    before = {name: value.clone() for name, value in model.named_buffers()}
    assert kernels.compare(model, X).ok
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())


def test_a_kernel_of_another_formula_is_found():
    result = kernels.compare(hosted(2.5), torch.tensor([[1.0, -4.0], [0.5, 0.25]]))
    (layer,) = result
    assert not result.ok and layer.within is False and layer.outcome == "differs"
    assert layer.max_abs == 2.0
    assert layer.max_rel == pytest.approx(0.25)
    assert (layer.output, layer.element) == (0, (0, 1))
    assert not layer.declared and layer.tolerance == 1e-5
    assert "default of the dtype" in repr(result) and "differs" in repr(result)


def test_a_kernel_of_python_that_agrees():
    result = kernels.compare(hosted(2.0), torch.randn(3, 2))
    assert result.ok and [layer.max_abs for layer in result] == [0.0]


def raising(x):
    raise ValueError("<b>not today</b>")


# What else may differ: the kernel's forward, what is said of it.
PROBLEMS = {
    "dtype": (lambda self, x: (x * 2).double(), "dtype torch.float64, the own forward's torch.float32"),
    "shape": (lambda self, x: (x * 2)[:1], "shape torch.Size([1, 2])"),
    "structure": (lambda self, x: (x * 2, x), "the own forward"),
    "NaN": (lambda self, x: (x * 2).index_fill(1, torch.tensor([0]), torch.nan), "NaN or infinities"),
    "exception": (lambda self, x: raising(x), "ValueError: <b>not today</b>"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems(name):
    forward, text = PROBLEMS[name]
    layer = type("Odd", (nn.Module,), {"forward": forward})
    result = kernels.compare(hosted(layer), torch.ones(3, 2))
    assert not result.ok
    assert text in result.layers[0].problem and text in repr(result)
    assert "<b>" not in result._repr_html_()


def test_nan_and_zeros_in_the_same_places():
    x = torch.tensor([[1.0, torch.nan], [torch.inf, 0.0], [0.0, 0.0]])
    assert kernels.compare(hosted(2.0), x).ok
    assert not kernels.compare(hosted(3.0), x).ok
    assert kernels.compare(hosted(2.0), torch.empty(0, 2)).ok


def test_a_kernel_that_writes_into_its_arguments():
    """Both forwards get what came; what the model computes with stays the own forward's."""

    class InPlace(nn.Module):
        def forward(self, x):
            return x.mul_(2)

    x = torch.ones(2, 2)
    result = kernels.compare(hosted(InPlace, 2), x)
    assert result.ok and len(result) == 2
    assert torch.equal(x, torch.ones(2, 2))


def test_calls_that_fall_back_are_no_agreement(model):
    result = kernels.compare(model.double(), X.double())
    assert not result.ok
    for layer in result:
        assert (layer.within, layer.outcome, layer.fallbacks) == (None, "fell back", {"dtype": 1})
    assert "1 own: dtype" in repr(result)
    assert kernels.compare(nn.Linear(8, 8), X).layers == ()
    assert not kernels.compare(nn.Linear(8, 8), X).ok
    model.float()
    assert [layer.outcome for layer in kernels.compare(model, lambda model: None)] == ["not called"] * 2


def test_layouts_come_to_the_kernel_as_they_are(model):
    class Transposed(nn.Module):
        def __init__(self, act):
            super().__init__()
            self.act = act

        def forward(self, x):
            return self.act(x.t())

    result = kernels.compare(Transposed(model.act), torch.randn(8, 3))
    assert result.layers[0].fallbacks == {"layout": 1}


def test_a_kernel_that_must_not_fall_back():
    with use_kernel_mapping({"CompareNorm": {"cpu": local("normalization", "RMSNorm")}}, inherit_mapping=False):
        model = kernelize(Norm(8), mode=Mode.INFERENCE, use_fallback=False)
    (layer,) = kernels.compare(model.double(), X.double())
    assert layer.within is False and "ArgumentsError" in layer.problem and "f64" in layer.problem


def test_as_data_and_in_a_notebook(model):
    result = kernels.compare(model, X)
    data = json.loads(json.dumps(result.to_dict()))
    assert data["ok"] is True and [layer["outcome"] for layer in data["layers"]] == ["within", "within"]
    html = result._repr_html_()
    assert html.startswith("<table>") and html.count("<tr>") == 3
    assert repr(kernels.compare(nn.Linear(8, 8), X)) == "No module of the model is kernelized."


def test_half_precision(model):
    for dtype, tolerance in ((torch.bfloat16, [0.032, 0.016]), (torch.float16, [0.004, 0.002])):
        result = kernels.compare(model.to(dtype), X.to(dtype))
        assert result.ok, result
        assert [layer.tolerance for layer in result] == tolerance


def test_compiled_models_are_compared_eagerly(model):
    result = kernels.compare(torch.compile(model, backend="eager"), X)
    assert result.ok and [layer.calls for layer in result] == [1, 1]


@kernels.use_kernel_forward_from_hub("CompareRotary")
def rotate(q, k, cos, sin, unsqueeze_dim=1):
    return Rotary.forward(None, q, k, cos, sin, unsqueeze_dim)


@kernels.use_kernelized_func(rotate)
class Attention(nn.Module):
    def forward(self, *args):
        return rotate(*args)


def test_functions(request):
    model = nn.Sequential(Attention())
    with use_kernel_mapping({"CompareRotary": {"cpu": local("rotary", "rotary_pos_emb")}}, inherit_mapping=False):
        kernelize(model, mode=Mode.INFERENCE, device="cpu")
    request.addfinalizer(lambda: kernels.unkernelize(model))
    result = kernels.compare(model, lambda model: model[0](*rotary_inputs(2, 4, 5, 8)))
    assert result.ok and [(layer.path, layer.calls) for layer in result] == [("0.CompareRotary", 1)]


def test_beneath_a_hook_of_accelerate(model):
    hooks = pytest.importorskip("accelerate.hooks")
    seen = []

    class Hook(hooks.ModelHook):
        def pre_forward(self, module, *args, **kwargs):
            seen.append(type(module).__name__)
            return args, kwargs

    hooks.add_hook_to_module(model.norm, Hook())
    forward, beneath = model.norm.__dict__["forward"], model.norm.__dict__["_old_forward"]
    result = kernels.compare(model, X)
    assert result.ok and [layer.calls for layer in result] == [1, 1] and seen == ["Norm"]
    assert model.norm.__dict__["forward"] is forward and model.norm.__dict__["_old_forward"] is beneath


def test_what_is_no_model():
    with pytest.raises(InvalidError, match="accepted is a torch.nn.Module"):
        kernels.compare(lambda x: x, X)
