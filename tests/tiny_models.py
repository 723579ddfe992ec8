"""Tiny random models as Hugging Face folders, for tests of every part.

`make_tiny_model` writes what a hub download looks like: `config.json`, safetensors (sharded on
request) and a small real byte-level BPE tokenizer with ChatML control tokens. transformers loads
the folder; nothing here needs torch. Norms, biases and every projection are random and large
enough that a wrong permutation, a dropped bias or a tied output taken for an untied one changes
the logits far beyond rounding.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Family = Literal["llama", "mistral", "qwen2", "qwen3"]
Array = NDArray[np.float32]

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' "
    "+ message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PROMPTS = (  # of real questions; the last mixes languages, digits and white space
    "What are the symptoms of asthma?",
    "Is it safe to take ibuprofen together with paracetamol for a fever?",
    "How long does a cold usually last?\n\nI have had a cough for 12 days.",
    "头痛三天，体温 38.5，怎么办?  Should I see a doctor?",
)
_TEXT = (
    "The doctor asks how long the cough has lasted and whether there is fever or pain.",
    "Asthma is a condition of the airways; it makes breathing difficult and can cause a cough.",
    "Drink enough water, rest, and see a doctor when the fever does not go down within 3 days.",
    "Symptoms may include headache, nausea, a sore throat, chest pain and shortness of breath.",
    "医生会问咳嗽持续了多久，是否发烧或疼痛。头痛三天，体温 38.5 度，应当休息并多喝水。",
)
# The splitting rules of the published tokenizers of these families.
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def make_tiny_model(
    folder: Path,
    family: Family,
    *,
    layers: int = 2,
    hidden: int = 64,
    ffn: int = 128,
    heads: int = 4,
    kv_heads: int = 2,
    head_dim: int | None = None,
    vocab: int = 512,
    tied: bool = True,
    seed: int = 0,
    shards: int = 1,
    dtype: Literal["float32", "float16", "bfloat16"] = "float32",
    bias: bool = False,
    rope_scaling: dict[str, Any] | None = None,
) -> Path:
    """Write a random model of `family` into `folder` and return the folder.

    `vocab` counts the rows of the embedding; the tokenizer has a few fewer, as published models
    do. `bias` gives a Llama its optional attention biases (Qwen2 always has them on q, k, v).
    The same arguments give the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    width = head_dim or hidden // heads
    rng = np.random.default_rng(seed)
    weights = dict(
        _weights(rng, family, layers, hidden, ffn, heads * width, kv_heads * width, width, bias)
    )
    weights["model.embed_tokens.weight"] = _normal(rng, 0.6, vocab, hidden)
    if not tied:
        weights["lm_head.weight"] = _normal(rng, 3.0 * hidden**-0.5, vocab, hidden)
    _write_weights(folder, weights, shards, dtype)
    config: dict[str, Any] = {
        "architectures": [f"{family.capitalize()}ForCausalLM"],
        "model_type": family,
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": width,
        "vocab_size": vocab,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": tied,
        "torch_dtype": dtype,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if rope_scaling:
        config["rope_scaling"] = rope_scaling
    if bias and family == "llama":
        config["attention_bias"] = True
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    write_tokenizer(folder, family)
    return folder


def _weights(
    rng: np.random.Generator,
    family: Family,
    layers: int,
    hidden: int,
    ffn: int,
    query: int,
    key: int,
    head: int,
    bias: bool,
) -> Iterator[tuple[str, Array]]:
    yield "model.norm.weight", 1 + _normal(rng, 0.2, hidden)
    for layer in range(layers):
        at = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{at}{norm}.weight", 1 + _normal(rng, 0.2, hidden)
        for name, out in (("q", query), ("k", key), ("v", key)):
            scale = 1.5 * hidden**-0.5
            yield f"{at}self_attn.{name}_proj.weight", _normal(rng, scale, out, hidden)
            if family == "qwen2" or (bias and family == "llama"):
                yield f"{at}self_attn.{name}_proj.bias", _normal(rng, 0.5, out)
        yield f"{at}self_attn.o_proj.weight", _normal(rng, query**-0.5, hidden, query)
        if bias and family == "llama":
            yield f"{at}self_attn.o_proj.bias", _normal(rng, 0.2, hidden)
        if family == "qwen3":
            for name in ("q_norm", "k_norm"):
                yield f"{at}self_attn.{name}.weight", 1 + _normal(rng, 0.2, head)
        for name, (out, inner) in {
            "gate": (ffn, hidden), "up": (ffn, hidden), "down": (hidden, ffn),
        }.items():  # fmt: skip
            yield f"{at}mlp.{name}_proj.weight", _normal(rng, 1.5 * inner**-0.5, out, inner)


def _normal(rng: np.random.Generator, scale: float, *shape: int) -> Array:
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def _write_weights(folder: Path, weights: dict[str, Array], shards: int, dtype: str) -> None:
    names = sorted(weights)
    placed: dict[str, str] = {}
    for index in range(shards):
        mine = names[index::shards]
        file = f"model-{index + 1:05}-of-{shards:05}" if shards > 1 else "model"
        file += ".safetensors"
        _write_safetensors(folder / file, {name: weights[name] for name in mine}, dtype)
        placed |= dict.fromkeys(mine, file)
    if shards > 1:
        index_text = json.dumps({"metadata": {}, "weight_map": placed}, indent=1)
        (folder / "model.safetensors.index.json").write_text(index_text)


def _write_safetensors(path: Path, weights: dict[str, Array], dtype: str) -> None:
    # The format itself: length of the header, the header, the data. NumPy has no bfloat16 to hand
    # to the library's writer.
    code = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[dtype]
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    blobs, at = [], 0
    for name, values in weights.items():
        blob = _as_bytes(values, dtype)
        header[name] = {"dtype": code, "shape": values.shape, "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def _as_bytes(values: Array, dtype: str) -> bytes:
    if dtype == "bfloat16":  # the upper half of a float32, rounded to nearest
        bits = values.view(np.uint32)
        rounded = bits + 0x7FFF + ((bits >> 16) & 1)
        return (rounded >> 16).astype(np.uint16).tobytes()
    return values.astype(dtype).tobytes()


def write_tokenizer(folder: Path, family: Family) -> None:
    """A byte-level BPE tokenizer with the splitting rule of `family` and ChatML control tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from tokenizers.normalizers import NFC

    tokenizer = Tokenizer(models.BPE())
    if family == "llama":  # as SmolLM2
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
    else:
        from tokenizers import Regex

        split = Regex(LLAMA3_SPLIT if family == "mistral" else QWEN_SPLIT)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(split, "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        if family != "mistral":
            tokenizer.normalizer = NFC()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "add_bos_token": False,
        "model_max_length": 512,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1))
