"""Writes a small random model of llama.cpp's `llama` architecture, with or without experts."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

HIDDEN, INNER, LAYERS, HEADS, KV_HEADS = 64, 96, 4, 4, 2
HEAD = HIDDEN // HEADS
EPSILON, ROPE_BASE = 1e-5, 10000.0


@dataclass
class SmallModel:
    path: Path
    experts: int
    experts_used: int
    weights: dict[str, NDArray[np.float32]] = field(default_factory=dict)  # as in the file


def write_small_gguf(
    path: Path,
    vocabulary_of: Path,
    *,
    experts: int,
    experts_used: int,
    context: int = 8192,
    extra: dict[str, Any] | None = None,
    tokenizer: dict[str, Any] | None = None,
) -> SmallModel:
    """A float32 model at `path` with the keys of `tokenizer`, else those of `vocabulary_of`."""
    keys = tokenizer or tokenizer_of(vocabulary_of)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("small random model")
    writer.add_context_length(context)
    writer.add_block_count(LAYERS)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HEAD)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_layer_norm_rms_eps(EPSILON)
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(experts_used)
    for name, value in ((extra or {}) | keys).items():
        if isinstance(value, list):
            writer.add_array(name, value)
        else:
            writer.add_key_value(name, value, _kind(value))
    vocabulary = len(keys["tokenizer.ggml.tokens"])
    model = SmallModel(path, experts, experts_used, _random_weights(vocabulary, experts))
    for name, weight in model.weights.items():
        writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def tokenizer_of(path: Path) -> dict[str, Any]:
    """The `tokenizer.*` keys of a GGUF file."""
    return dict(_tokenizer_keys(path))


@lru_cache
def _tokenizer_keys(path: Path) -> tuple[tuple[str, Any], ...]:
    """Kept, because unpacking a vocabulary takes seconds."""
    fields = gguf.GGUFReader(path).fields.values()
    keys = [(key.name, key.contents()) for key in fields if key.name.startswith("tokenizer.")]
    return tuple(keys)


def _random_weights(vocabulary: int, experts: int) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(7)

    def normal(*shape: int) -> NDArray[np.float32]:
        scale = 1.0 / np.sqrt(shape[-1])
        return random.standard_normal(shape, dtype=np.float32) * np.float32(scale)

    ones = np.ones(HIDDEN, dtype=np.float32)
    kv = KV_HEADS * HEAD
    weights = {"token_embd.weight": normal(vocabulary, HIDDEN) * 4, "output_norm.weight": ones}
    for layer in range(LAYERS):
        block = {
            "attn_norm": ones,
            "attn_q": normal(HIDDEN, HIDDEN),
            "attn_k": normal(kv, HIDDEN),
            "attn_v": normal(kv, HIDDEN),
            "attn_output": normal(HIDDEN, HIDDEN),
            "ffn_norm": ones,
        }
        if experts:
            block["ffn_gate_inp"] = normal(experts, HIDDEN)
            block["ffn_gate_exps"] = normal(experts, INNER, HIDDEN)
            block["ffn_up_exps"] = normal(experts, INNER, HIDDEN)
            block["ffn_down_exps"] = normal(experts, HIDDEN, INNER)
        else:
            block["ffn_gate"] = normal(INNER, HIDDEN)
            block["ffn_up"] = normal(INNER, HIDDEN)
            block["ffn_down"] = normal(HIDDEN, INNER)
        weights |= {f"blk.{layer}.{name}.weight": weight for name, weight in block.items()}
    return weights


def _kind(value: Any) -> gguf.GGUFValueType:
    if isinstance(value, bool):
        return gguf.GGUFValueType.BOOL
    if isinstance(value, str):
        return gguf.GGUFValueType.STRING
    return gguf.GGUFValueType.FLOAT32 if isinstance(value, float) else gguf.GGUFValueType.UINT32
