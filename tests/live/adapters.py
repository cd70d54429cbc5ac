"""Makes LoRA adapters for the model of `model.py`: random, so that each generates something else.

Usage: adapters.py FOLDER NAME...: a folder in it for each name.
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import save_file

from model import FEED_FORWARD, HIDDEN, LAYERS

RANK = 4
SIZES = {"self_attn.o_proj": (HIDDEN, HIDDEN), "mlp.down_proj": (FEED_FORWARD, HIDDEN)}


def make(folder, seed):
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for layer in range(LAYERS):
        for part, (inputs, outputs) in SIZES.items():
            name = f"base_model.model.model.layers.{layer}.{part}"
            weights[f"{name}.lora_A.weight"] = torch.randn(RANK, inputs, generator=generator)
            weights[f"{name}.lora_B.weight"] = torch.randn(outputs, RANK, generator=generator)
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": "tiny",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": RANK,
        "target_modules": [part.rsplit(".")[-1] for part in SIZES],
        "lora_dropout": 0.0,
        "bias": "none",
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")


def main():
    for seed, name in enumerate(sys.argv[2:]):
        make(pathlib.Path(sys.argv[1]) / name, seed)


if __name__ == "__main__":
    main()
