"""peft, unmodified: LoRA put into a model before kernels come, and after."""

import pytest
import torch
from tiny_llama import TOKENS, assert_close, assert_served, logits, mapping, tiny  # noqa: F401

from kernels import Mode, kernelize, unkernelize

peft = pytest.importorskip("peft", reason="peft is not installed: make test-clients CLIENTS=peft has it")

CONFIG = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "gate_proj"], "init_lora_weights": False}


def adapted(before=None):
    """The tiny model with random LoRA weights, the same ones each time."""
    model = tiny()
    if before is not None:
        kernelize(model, mode=before)
    torch.manual_seed(1)
    return peft.get_peft_model(model, peft.LoraConfig(**CONFIG)).eval()


@pytest.fixture(scope="module")
def wanted():
    model = adapted()
    result = logits(model)
    assert not torch.allclose(result, logits(tiny()), atol=1e-4), "LoRA changes nothing here"
    return result


@pytest.mark.parametrize("order", ["lora first", "kernels first"])
def test_inference(order, wanted):
    model = adapted(Mode.INFERENCE if order == "kernels first" else None)
    if order == "lora first":
        kernelize(model, mode=Mode.INFERENCE)
    assert_close(logits(model), wanted)
    assert_served(model)
    with model.disable_adapter():
        assert_close(logits(model), logits(tiny()))
    unkernelize(model)
    assert torch.equal(logits(model), wanted)


@pytest.mark.parametrize("order", ["lora first", "kernels first"])
def test_training(order):
    own, model = adapted(), adapted(Mode.TRAINING if order == "kernels first" else None)
    if order == "lora first":
        kernelize(model, mode=Mode.TRAINING)
    for one in (own, model):
        one.train()
        one(input_ids=TOKENS, labels=TOKENS).loss.backward()
    assert_served(model)
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained and all("lora_" in name for name in trained)
    for (name, wanted), got in zip(own.named_parameters(), model.parameters()):
        if name in trained:
            torch.testing.assert_close(got.grad, wanted.grad, atol=1e-5, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}")
    unkernelize(model)


def test_adapters_on_disk(wanted, tmp_path):
    model = adapted(Mode.INFERENCE)
    model.save_pretrained(tmp_path)
    base = tiny()
    kernelize(base, mode=Mode.INFERENCE)
    again = peft.PeftModel.from_pretrained(base, tmp_path).eval()
    assert_close(logits(again), wanted)
    assert_served(again)
    unkernelize(model)
    unkernelize(again)


def test_lora_merged_into_the_weights(wanted):
    model = adapted(Mode.INFERENCE).merge_and_unload()
    assert_close(logits(model), wanted)
    assert_served(model)
    unkernelize(model)


def test_lora_on_a_layer_that_a_kernel_serves():
    """The norm becomes trainable and a copy: the kernel serves the copy, or its own forward runs; the number is right."""
    results = []
    for with_kernels in (False, True):
        model = tiny()
        if with_kernels:
            kernelize(model, mode=Mode.TRAINING)
        torch.manual_seed(1)
        model = peft.get_peft_model(model, peft.LoraConfig(**CONFIG, modules_to_save=["norm"]))
        with torch.no_grad():
            model.base_model.model.model.norm.modules_to_save["default"].weight.mul_(2)
        results.append(logits(model.eval()))
        unkernelize(model)
    assert not torch.allclose(results[0], logits(tiny()), atol=1e-3)
    assert_close(results[1], results[0])
