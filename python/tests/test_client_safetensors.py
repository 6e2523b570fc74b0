"""safetensors, unmodified: a kernelized model has the weights of any other."""

import pytest
import torch
from tiny_llama import assert_close, assert_served, logits, mapping, tiny  # noqa: F401

from kernels import Mode, kernelize, unkernelize

safetensors = pytest.importorskip("safetensors.torch")


@pytest.fixture
def kernelized():
    models = []

    def make(**options):
        models.append(kernelize(tiny(**options), mode=Mode.INFERENCE))
        return models[-1]

    yield make
    for model in models:
        unkernelize(model)


@pytest.mark.parametrize("tied", [False, True])
def test_saved_with_kernels_and_without(kernelized, tmp_path, tied):
    for name, model in ("own", tiny(tie_word_embeddings=tied)), ("kernels", kernelized(tie_word_embeddings=tied)):
        safetensors.save_model(model, tmp_path / name)
    assert (tmp_path / "own").read_bytes() == (tmp_path / "kernels").read_bytes()


def test_loaded_into_a_kernelized_model(kernelized, tmp_path):
    safetensors.save_model(tiny(seed=1), tmp_path / "weights")
    wanted, model = logits(tiny(seed=1)), kernelized()
    assert not torch.allclose(logits(model), wanted, atol=1e-3)
    assert safetensors.load_model(model, tmp_path / "weights") == (set(), [])
    assert_served(model)
    assert_close(logits(model), wanted)


def test_weights_mapped_from_a_file(kernelized, tmp_path):
    """Tensors over the bytes of a file, at whatever address they have there."""
    wanted = logits(tiny(seed=1))
    safetensors.save_model(tiny(seed=1), tmp_path / "weights")
    model = kernelized()
    model.load_state_dict(safetensors.load_file(tmp_path / "weights"), assign=True)
    assert_close(logits(model), wanted)
    assert_served(model)
