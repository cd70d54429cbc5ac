"""Makes a model of half a megabyte: random weights from one seed, and a tokenizer trained on this project's own pages.

Usage: model.py FOLDER. vLLM's own dummy weights will not do here. They are so small that attention contributes nothing, and an
engine that computed with another prompt's KV would generate the same text. With these, each token depends on all before it.
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEED = 1
LAYERS, HIDDEN, FEED_FORWARD, HEADS, VOCABULARY = 2, 64, 128, 2, 2048
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer():
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    pages = sorted(str(page) for page in [ROOT / "README.md", ROOT / "LICENSE", *(ROOT / "docs").glob("*.md")])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train(pages, trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=alphabet))
    return made


def weights():
    generator = torch.Generator().manual_seed(SEED)

    def random(*shape, scale=1.0):
        return torch.randn(*shape, generator=generator) * scale

    made = {"model.embed_tokens.weight": random(VOCABULARY, HIDDEN), "model.norm.weight": torch.ones(HIDDEN)}
    for layer in range(LAYERS):
        name = f"model.layers.{layer}"
        made[f"{name}.input_layernorm.weight"] = torch.ones(HIDDEN)
        made[f"{name}.post_attention_layernorm.weight"] = torch.ones(HIDDEN)
        # Sharp attention, and as loud as the token itself: which tokens are before decides what comes next.
        for part, scale in [("q", 0.25), ("k", 0.25), ("v", 0.5)]:
            made[f"{name}.self_attn.{part}_proj.weight"] = random(HIDDEN, HIDDEN, scale=scale)
            made[f"{name}.self_attn.{part}_proj.bias"] = random(HIDDEN, scale=0.1)
        made[f"{name}.self_attn.o_proj.weight"] = random(HIDDEN, HIDDEN, scale=0.5)
        for part in ["gate", "up"]:
            made[f"{name}.mlp.{part}_proj.weight"] = random(FEED_FORWARD, HIDDEN, scale=HIDDEN**-0.5)
        made[f"{name}.mlp.down_proj.weight"] = random(HIDDEN, FEED_FORWARD, scale=FEED_FORWARD**-0.5)
    return made


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer().save(str(folder / "tokenizer.json"))
    save_file(weights(), folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_size": HIDDEN,
        "intermediate_size": FEED_FORWARD,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": HIDDEN // HEADS,
        "max_position_embeddings": 32_768,
        "vocab_size": VOCABULARY,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "torch_dtype": "float32",
        "use_sliding_window": False,
        "attention_dropout": 0.0,
    }
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": SPECIAL[2],
        "pad_token": SPECIAL[0],
        "model_max_length": 32_768,
        "clean_up_tokenization_spaces": False,
        "chat_template": TEMPLATE,
    }
    files = {
        "config.json": config,
        "tokenizer_config.json": tokenizer_config,
        "generation_config.json": {"bos_token_id": 0, "eos_token_id": 2},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
