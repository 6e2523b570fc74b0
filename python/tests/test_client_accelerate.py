"""accelerate, unmodified: kernels beneath the hooks that bring weights to where they are needed."""

import json

import pytest
import torch
from tiny_llama import TOKENS, assert_close, assert_served, logits, mapping, tiny  # noqa: F401

from kernels import Mode, kernelize, unkernelize

accelerate = pytest.importorskip("accelerate")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def wanted():
    return logits(tiny())


def cpu_offload(model, folder):
    return accelerate.cpu_offload(model, execution_device=CPU, offload_buffers=True)


def disk_offload(model, folder):
    accelerate.disk_offload(model, folder, execution_device=CPU)
    return model


def dispatched(model, folder):
    """As transformers does for device_map: a part in memory, a part on the disk."""
    places = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk", "model.norm": "disk",
              "model.rotary_emb": "cpu", "lm_head": "cpu"}  # fmt: skip
    return accelerate.dispatch_model(model, places, main_device="cpu", offload_dir=folder, force_hooks=True)


OFFLOADS = [cpu_offload, disk_offload, dispatched]


@pytest.mark.parametrize("order", ["hooks first", "kernels first"])
@pytest.mark.parametrize("offload", OFFLOADS, ids=lambda function: function.__name__)
def test_offload(offload, order, wanted, tmp_path):
    model = tiny()
    if order == "kernels first":
        kernelize(model, mode=Mode.INFERENCE)
    model = offload(model, tmp_path)
    if order == "hooks first":
        kernelize(model, mode=Mode.INFERENCE)
    away = [name for name, parameter in model.named_parameters() if parameter.device.type == "meta"]
    assert any("norm" in name for name in away), "nothing is offloaded"
    for _ in range(2):
        assert_close(logits(model), wanted)
    assert_served(model)
    assert [name for name, parameter in model.named_parameters() if parameter.device.type == "meta"] == away
    unkernelize(model)
    assert torch.equal(logits(model), wanted)


def test_weights_loaded_from_disk(wanted, tmp_path):
    """load_checkpoint_and_dispatch: an empty model, its weights from files, a part of them left there."""
    whole = tiny()
    whole.save_pretrained(tmp_path / "model")
    with accelerate.init_empty_weights():
        model = type(whole)(whole.config)
    places = {"model.embed_tokens": "cpu", "model.layers.0": "disk", "model.layers.1": "cpu", "model.norm": "cpu",
              "model.rotary_emb": "cpu", "lm_head": "cpu"}  # fmt: skip
    model = accelerate.load_checkpoint_and_dispatch(
        model, str(tmp_path / "model" / "model.safetensors"), device_map=places, offload_folder=tmp_path / "away", force_hooks=True).eval()
    model.model.rotary_emb = whole.model.rotary_emb  # no weights, made when it is initialized
    kernelize(model, mode=Mode.INFERENCE)
    assert_close(logits(model), wanted)
    assert_served(model)
    assert any(name.startswith("model.layers.0.input_layernorm") for name in json.loads((tmp_path / "away" / "index.json").read_text()))
    unkernelize(model)


def test_accelerator(tmp_path):
    """Accelerator.prepare, training, unwrapping, and its state on disk."""
    losses = []
    for with_kernels in (False, True):
        accelerator = accelerate.Accelerator(cpu=True)
        model = tiny().train()
        if with_kernels:
            kernelize(model, mode=Mode.TRAINING)
        model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
        for _ in range(3):
            loss = model(input_ids=TOKENS, labels=TOKENS).loss
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.detach())
        if with_kernels:
            assert_served(accelerator.unwrap_model(model))
            accelerator.save_state(tmp_path)
            before = {name: value.clone() for name, value in model.state_dict().items()}
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.zero_()
            accelerator.load_state(tmp_path)
            assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
            unkernelize(model)
        accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    assert_close(*losses)
