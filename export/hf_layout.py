"""The layout `hf`: a Hugging Face mixture that transformers, vLLM and SGLang load as it is.

    base                           checkpoint               experts are called
    Llama, Mistral without biases  MixtralForCausalLM       block_sparse_moe.experts.<e>.w1 (gate), w3 (up), w2 (down)
    Qwen2 (biases on q, k, v)      Qwen2MoeForCausalLM      mlp.experts.<e>.gate_proj, ...
    Qwen3                          Qwen3MoeForCausalLM      mlp.experts.<e>.gate_proj, ...

All three route as the adapter did: softmax, the best k, weights renormalised. Qwen2-MoE adds an
expert that every token passes; here its weights are zero, and so is what it adds.
"""  # noqa: E501

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sparsedoctor.core.bundle import PREFIX, RoutingMetadata, bundle_fields
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.export.adapter import Adapter, Projection
from sparsedoctor.export.base import Base, open_base
from sparsedoctor.export.fields import routing_metadata
from sparsedoctor.export.folder import replacing_folder
from sparsedoctor.export.gguf_file import PlannedTensor
from sparsedoctor.export.hf_base import HuggingFaceBase
from sparsedoctor.export.hf_tokenizer import write_tokenizer
from sparsedoctor.export.mixture import ExportSettings, open_adapter
from sparsedoctor.export.model_file import ProgressStart
from sparsedoctor.export.plan import (
    attention_tensors,
    experts_tensor,
    plain_tensor,
    ready_tensor,
)
from sparsedoctor.export.safetensors_writer import write_shards
from sparsedoctor.export.types import FileFormat

_PROJECTIONS: tuple[Projection, ...] = ("gate", "up", "down")
_MIXTRAL = {"gate": "w1", "up": "w3", "down": "w2"}
_ARCHITECTURES = {
    "llama": ("mixtral", "MixtralForCausalLM"),
    "mistral": ("mixtral", "MixtralForCausalLM"),
    "qwen2": ("qwen2_moe", "Qwen2MoeForCausalLM"),
    "qwen3": ("qwen3_moe", "Qwen3MoeForCausalLM"),
}
_DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
_IDLE = 64  # width of Qwen2-MoE's shared expert, all zero


def export_hugging_face(settings: ExportSettings, start_progress: ProgressStart) -> Path:
    """Write the folder `settings.output` and return it. Raises SparseDoctorError."""
    if settings.format.name not in _DTYPES:
        raise SparseDoctorError(
            f"the layout hf holds f32, f16 or bf16, not {settings.format.name}; say --type bf16"
        )
    base = open_base(settings.base)
    try:
        _refuse_unrepresentable(base)
        adapter, fingerprint = open_adapter(settings.adapter, base, any_base=settings.any_base)
        metadata = routing_metadata(base, adapter, fingerprint, settings.label)
        tensors = list(_tensors(base, adapter, settings.format))
        size = sum(tensor.size for tensor in tensors)
        config = hugging_face_config(base, metadata, _DTYPES[settings.format.name])
        with replacing_folder(settings.output, force=settings.force, need=size + (1 << 25)) as part:
            write_tokenizer(base, part)
            progress = start_progress(size, settings.output.name)
            write_shards(part, tensors, threads=settings.threads, progress=progress)
            _write_json(part / "config.json", config)
            _write_json(part / "routing.json", _described(metadata))
    finally:
        base.close()
    return settings.output


def hugging_face_config(base: Base, metadata: RoutingMetadata, dtype: str) -> dict[str, Any]:
    """`config.json` of the mixture."""
    shape = base.shape
    model_type, architecture = _ARCHITECTURES[shape.family]
    config: dict[str, Any] = {
        "architectures": [architecture],
        "model_type": model_type,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocab,
        "max_position_embeddings": shape.context,
        "rms_norm_eps": shape.norm_epsilon,
        "hidden_act": "silu",
        "tie_word_embeddings": shape.tied,
        "torch_dtype": dtype,
        "sliding_window": None,
        "num_experts_per_tok": metadata.expert_used_count,
        "router_aux_loss_coef": 0.0,
        "rope_theta": shape.rope_theta,
        "rope_scaling": _rope_scaling(base),
    }
    tokens = base.tokenizer_fields()
    for name in ("bos", "eos"):
        if f"tokenizer.ggml.{name}_token_id" in tokens:
            config[f"{name}_token_id"] = tokens[f"tokenizer.ggml.{name}_token_id"]
    if model_type == "mixtral":
        return config | {"num_local_experts": metadata.expert_count}
    config |= {
        "num_experts": metadata.expert_count,
        "moe_intermediate_size": shape.ffn,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "use_sliding_window": False,
    }
    if model_type == "qwen2_moe":
        config |= {"shared_expert_intermediate_size": _IDLE, "qkv_bias": True}
    return config


def _refuse_unrepresentable(base: Base) -> None:
    biases = [name for name in base.shape.optional_shapes() if base.tensor_shape(name) is not None]
    allowed = ("q_proj", "k_proj", "v_proj") if base.shape.family == "qwen2" else ()
    for name in biases:
        if not any(part in name for part in allowed):
            raise SparseDoctorError(
                f"{base.path}: {_ARCHITECTURES[base.shape.family][1]} has no place for {name}; "
                "export this base with --layout moe"
            )
    if not isinstance(base, HuggingFaceBase) and base.rope_factors() is not None:
        raise SparseDoctorError(
            f"{base.path} scales its rotary embedding by a tensor, which no config.json can say; "
            "give the Hugging Face folder of this base"
        )


def _rope_scaling(base: Base) -> dict[str, Any] | None:
    if isinstance(base, HuggingFaceBase):
        settings = base.config.get("rope_parameters") or base.config.get("rope_scaling")
        return dict(settings) if settings else None
    rope = base.shape.rope
    if not rope:
        return None
    settings = {"rope_type": rope["scaling.type"], "factor": rope.get("scaling.factor", 1.0)}
    if "scaling.original_context_length" in rope:
        settings["original_max_position_embeddings"] = rope["scaling.original_context_length"]
    return settings


def _tensors(base: Base, adapter: Adapter, fmt: FileFormat) -> Iterator[PlannedTensor]:
    """Under their Hugging Face names, in the order of the layers."""
    family, shape = base.shape.family, base.shape
    mixtral = _ARCHITECTURES[family][0] == "mixtral"
    block = "block_sparse_moe" if mixtral else "mlp"
    yield _called("model.embed_tokens.weight", plain_tensor, base, fmt)
    for layer in range(shape.layers):
        at = f"model.layers.{layer}."
        yield _called(at + "input_layernorm.weight", plain_tensor, base, fmt)
        for tensor, name in zip(
            attention_tensors(base, adapter, layer, fmt, permute=False),
            _attention_names(base, layer),
            strict=True,
        ):
            yield replace(tensor, name=name)
        yield _called(at + "post_attention_layernorm.weight", plain_tensor, base, fmt)
        router = ready_tensor("ffn_gate_inp.weight", adapter.router(layer), fmt)
        yield replace(router, name=f"{at}{block}.gate.weight")
        for expert in range(adapter.settings.experts):
            for projection in _PROJECTIONS:
                one = experts_tensor(base, adapter, layer, projection, fmt, expert)
                part = _MIXTRAL[projection] if mixtral else f"{projection}_proj"
                yield replace(one, name=f"{at}{block}.experts.{expert}.{part}.weight")
        if family == "qwen2":
            yield from _idle_expert(at, shape.hidden, fmt)
    yield _called("model.norm.weight", plain_tensor, base, fmt)
    if not shape.tied:
        yield _called("lm_head.weight", plain_tensor, base, fmt)


def _called(
    name: str, make: Callable[[Base, str, FileFormat], PlannedTensor], base: Base, fmt: FileFormat
) -> PlannedTensor:
    return replace(make(base, name, fmt), name=name)


def _attention_names(base: Base, layer: int) -> Iterator[str]:
    for part in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm"):
        for kind in ("weight", "bias"):
            name = f"model.layers.{layer}.self_attn.{part}.{kind}"
            if base.tensor_shape(name) is not None:
                yield name


def _idle_expert(at: str, hidden: int, fmt: FileFormat) -> Iterator[PlannedTensor]:
    shapes = {
        "shared_expert.gate_proj": (_IDLE, hidden),
        "shared_expert.up_proj": (_IDLE, hidden),
        "shared_expert.down_proj": (hidden, _IDLE),
        "shared_expert_gate": (1, hidden),
    }
    for name, shape in shapes.items():
        zeros = ready_tensor("zeros.weight", np.zeros(shape, np.float32), fmt)
        yield replace(zeros, name=f"{at}mlp.{name}.weight")


def _described(metadata: RoutingMetadata) -> dict[str, Any]:
    fields = {
        key.removeprefix(PREFIX): value
        for key, value in bundle_fields(replace(metadata, tensors_sha256="")).items()
    }
    tables = ("training", "evaluation", "profile")
    return fields | {name: getattr(metadata, name) for name in tables}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")
