"""A few steps of training with kernels and without, from the same seed: the loss curves, drawn into a PNG.

    python examples/pytorch/train.py [--steps N] [--out losses.png]

The model is a small Llama of `transformers`; it learns the bytes of this checkout's README. The kernels are the packages of this checkout
(KERNELS_PACKAGES), served by a hub on this machine; their backward is the one that they declare.
"""

import argparse
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from hub import Hub  # noqa: E402

parser = argparse.ArgumentParser(description="Training with kernels and without")
parser.add_argument("--steps", type=int, default=60)
parser.add_argument("--out", default="losses.png")
arguments = parser.parse_args()

hub = Hub()
packages = pathlib.Path(os.environ["KERNELS_PACKAGES"])
for package in ("activation", "normalization", "rotary"):
    hub.add_built(packages / package, f"libkernels/{package}")
hub.start()

import torch  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

import kernels  # noqa: E402
from kernels import LayerRepository, Mode, kernelize, use_kernel_mapping  # noqa: E402

text = torch.tensor(list((HERE.parent.parent / "README.md").read_bytes()), dtype=torch.long)
mapping = {
    name: {"cpu": LayerRepository(f"libkernels/{package}", layer_name=name)}
    for name, package in (("RMSNorm", "normalization"), ("SiLU", "activation"), ("rotary_pos_emb", "rotary"))
}


def train(with_kernels):
    """The loss of each step."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=256, hidden_size=128, intermediate_size=256, num_hidden_layers=3,
                                         num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256)).train()
    if with_kernels:
        with use_kernel_mapping(mapping):
            kernelize(model, mode=Mode.TRAINING)
        kernels.report(model).raise_if_fallback()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    batches = torch.Generator().manual_seed(1)
    losses = []
    for _ in range(arguments.steps):
        starts = torch.randint(0, len(text) - 128, (8,), generator=batches)
        batch = torch.stack([text[start:start + 128] for start in starts.tolist()])
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


plain, kernelized = train(False), train(True)
apart = max(abs(a - b) for a, b in zip(plain, kernelized))
print(f"loss without kernels: {plain[0]:.4f} -> {plain[-1]:.4f}\nloss with kernels:    {kernelized[0]:.4f} -> {kernelized[-1]:.4f}")
print(f"largest distance of the curves: {apart:.1e}")

import matplotlib  # noqa: E402

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

figure, axes = pyplot.subplots(figsize=(7, 4))
axes.plot(plain, label="without kernels", linewidth=3, alpha=0.5)
axes.plot(kernelized, label="with kernels", linewidth=1, color="black")
axes.set(xlabel="step", ylabel="loss", title="The same training, with kernels and without")
axes.legend()
figure.tight_layout()
figure.savefig(arguments.out, dpi=120)
print(f"drawn into {arguments.out}")
if apart > 0.02 or kernelized[-1] > 0.8 * kernelized[0]:
    sys.exit("train: the curves differ, or nothing was learned")
