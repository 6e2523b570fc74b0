"""A Llama of transformers that is made in a moment, and the first-party kernels for it: what the tests of clients share."""

import pytest
import torch

transformers = pytest.importorskip("transformers")
if not transformers.utils.is_kernels_available():
    pytest.skip("this transformers wants another level of kernels", allow_module_level=True)

import kernels  # noqa: E402
from kernels import LayerRepository, register_kernel_mapping  # noqa: E402

LAYERS = {"RMSNorm": "normalization", "SiLU": "activation", "rotary_pos_emb": "rotary"}
TOKENS = torch.arange(24).reshape(2, 12)


@pytest.fixture(autouse=True, scope="module")
def mapping(hub):
    """Registered for the process, as users of CPUs do: KernelConfig knows no `cpu`."""
    found = {layer: {"cpu": LayerRepository(f"kernels-community/{package}", layer_name=layer, version=">=0.0.4,<0.1.0")}
             for layer, package in LAYERS.items()}  # fmt: skip
    register_kernel_mapping(found)
    yield found
    register_kernel_mapping({}, inherit_mapping=False)


def tiny(seed=0, **changes):
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(**{
        "vocab_size": 128, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 64} | changes)  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def logits(model):
    with torch.inference_mode():
        return model(input_ids=TOKENS).logits


def served(model):
    """Layer names by the number of modules that a kernel serves."""
    counts = {}
    for record in kernels.report(model).replaced:
        counts[record.layer] = counts.get(record.layer, 0) + 1
    return counts


def assert_served(model):
    """Every layer of the tiny model that is marked has a kernel, and none has run its own forward."""
    found = served(model)
    assert found["RMSNorm"] == 5 and found["SiLU"] == 2 and found["rotary_pos_emb"] >= 1, found
    kernels.report(model).raise_if_fallback()


def assert_close(got, wanted):
    torch.testing.assert_close(got, wanted, atol=2e-5, rtol=2e-5)
