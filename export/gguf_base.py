"""A GGUF file as a base, of any quantisation that gguf-py can read."""

from __future__ import annotations

import os
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
from gguf import GGMLQuantizationType, quants
from numpy.typing import NDArray

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.gguf_header import TENSOR_TYPES, GGUFHeader, SkippedArray, read_header
from sparsedoctor.export.rotary import deinterleave
from sparsedoctor.export.shape import Family, ModelShape

Array = NDArray[np.float32]
_ARCHITECTURES: dict[str, Family] = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
_LONG = (
    "tokenizer.ggml.tokens",
    "tokenizer.ggml.token_type",
    "tokenizer.ggml.merges",
    "tokenizer.ggml.scores",
)
_PARTS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_KEPT = (
    "name", "basename", "organization", "finetune", "license", "license.link",
    "languages", "author", "version", "url", "repo_url",
)  # fmt: skip
_WHOLE = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def gguf_name(name: str) -> str | None:
    """llama.cpp's name of a dense model's tensor, from its Hugging Face name."""
    if name in _WHOLE:
        return _WHOLE[name]
    layer, _, rest = name.removeprefix("model.layers.").partition(".")
    part, _, kind = rest.rpartition(".")
    return f"blk.{layer}.{_PARTS[part]}.{kind}" if part in _PARTS else None


class GGUFBase:
    """See `base.Base`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = read_header(path, want=_LONG)
        self.shape = _shape(self.header, path)
        self._interleaved = self.header.architecture == "llama"
        unreadable = _unreadable_type(self.header)
        if unreadable:
            raise SparseDoctorError(
                f"{path} stores weights as {unreadable}, which gguf-py cannot read back; "
                "take another quantisation of this base"
            )
        try:
            self._fd = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise SparseDoctorError(f"cannot read {path}: {error.strerror}") from error

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def tensor_shape(self, name: str) -> tuple[int, ...] | None:
        info = self.header.tensors.get(gguf_name(name) or "")
        return tuple(reversed(info.shape)) if info else None

    def rows(self, name: str, start: int, stop: int) -> Array:
        stored = gguf_name(name)
        assert stored is not None, name
        for part, heads in (("q_proj", self.shape.heads), ("k_proj", self.shape.kv_heads)):
            if self._interleaved and f".self_attn.{part}." in name:
                count = self.header.tensors[stored].shape[-1]
                return deinterleave(self._stored_rows(stored, 0, count), heads)[start:stop]
        return self._stored_rows(stored, start, stop)

    def tokenizer_fields(self) -> dict[str, Any]:
        fields = {k: v for k, v in self.header.metadata.items() if k.startswith("tokenizer.")}
        for key, value in fields.items():
            if isinstance(value, SkippedArray):
                fields[key] = read_header(self.path, want=(key,)).metadata[key]
        return fields

    def general_fields(self) -> dict[str, Any]:
        values = {key: self.header.metadata.get(f"general.{key}") for key in _KEPT}
        return {f"general.{key}": value for key, value in values.items() if value is not None}

    def rope_factors(self) -> Array | None:
        if "rope_freqs.weight" not in self.header.tensors:
            return None
        return self._stored_rows("rope_freqs.weight", 0, self.shape.head_dim // 2)

    def _stored_rows(self, stored: str, start: int, stop: int) -> Array:
        info = self.header.tensors[stored]
        _, count, size = TENSOR_TYPES[info.type_id]
        inner = info.shape[:-1]  # a row is everything but the slowest dimension
        width, shape = prod(inner), (stop - start, *reversed(inner))
        begin, end = start * width // count * size, stop * width // count * size
        raw = os.pread(self._fd, end - begin, info.offset + begin)
        if len(raw) != end - begin:
            raise SparseDoctorError(f"{self.path} ended while it was read; was it changed?")
        data = np.frombuffer(raw, np.uint8)
        if info.type_name == "F32":
            return data.view("<f4").reshape(shape)
        if info.type_name == "F16":
            return data.view("<f2").astype(np.float32).reshape(shape)
        blocks = data.reshape(1, -1)  # gguf-py works row by row: one long row is far faster
        values = quants.dequantize(blocks, GGMLQuantizationType(info.type_id))
        return cast(Array, values).reshape(shape)


def _unreadable_type(header: GGUFHeader) -> str | None:
    for type_id in {info.type_id for info in header.tensors.values()}:
        name, _, size = TENSOR_TYPES[type_id]
        if name in ("F32", "F16"):
            continue
        try:
            quants.dequantize(np.zeros((1, size), np.uint8), GGMLQuantizationType(type_id))
        except (NotImplementedError, ValueError):
            return name
    return None


def _shape(header: GGUFHeader, path: Path) -> ModelShape:
    keys, architecture = header.metadata, header.architecture
    family = _ARCHITECTURES.get(architecture)
    if family is None:
        raise SparseDoctorError(
            f"{path} has the architecture {architecture or 'unknown'}; "
            "experts can be exported on Llama, Mistral, SmolLM2, Qwen2/2.5 and Qwen3"
        )
    if keys.get(f"{architecture}.expert_count"):
        raise SparseDoctorError(f"{path} is a mixture of experts already; give its dense base")

    def need(name: str) -> Any:
        value = keys.get(f"{architecture}.{name}")
        if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
            raise SparseDoctorError(
                f"{path}: {architecture}.{name} is {value!r}; the base is damaged or incomplete"
            )
        return value

    heads, hidden = int(need("attention.head_count")), int(need("embedding_length"))
    embedding = header.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise SparseDoctorError(f"{path} has no embedding; it is a part of a model")
    rope = {
        key.removeprefix(f"{architecture}.rope."): value
        for key, value in keys.items()
        if key.startswith(f"{architecture}.rope.scaling.")
    }
    return ModelShape(
        family=family,
        hidden=hidden,
        ffn=int(need("feed_forward_length")),
        layers=int(need("block_count")),
        heads=heads,
        kv_heads=int(keys.get(f"{architecture}.attention.head_count_kv", heads)),
        head_dim=int(keys.get(f"{architecture}.attention.key_length", hidden // heads)),
        vocab=embedding.shape[1],
        context=int(need("context_length")),
        norm_epsilon=float(need("attention.layer_norm_rms_epsilon")),
        rope_theta=float(keys.get(f"{architecture}.rope.freq_base", 10000.0)),
        tied="output.weight" not in header.tensors,
        rope=rope,
    )
