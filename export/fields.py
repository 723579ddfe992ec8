"""The keys of an exported file: what the model is, its tokenizer, its routing metadata."""

from __future__ import annotations

from typing import Any

from gguf import Keys, TokenType

from sparsedoctor.core.bundle import FORMAT_VERSION, RoutingMetadata, bundle_fields
from sparsedoctor.core.engine.templates import guess_template
from sparsedoctor.export.adapter import Adapter
from sparsedoctor.export.base import Base
from sparsedoctor.export.gguf_file import HASH_BLANK
from sparsedoctor.export.types import FileFormat


def routing_metadata(
    base: Base, adapter: Adapter, fingerprint: str, label: str = ""
) -> RoutingMetadata:
    """What the exported file says about its routing."""
    trained = adapter.settings
    names = trained.expert_names or tuple(f"expert {n + 1}" for n in range(trained.experts))
    return RoutingMetadata(
        format_version=FORMAT_VERSION,
        base_name=trained.base_name,
        base_sha256=fingerprint,
        expert_count=trained.experts,
        expert_used_count=trained.top_k,
        rank=trained.rank,
        alpha=trained.alpha,
        sharing=trained.sharing,
        shared_rank=trained.shared_rank,
        expert_names=names,
        prompt_template=prompt_template(base.tokenizer_fields()),
        label=label or trained.label or f"{trained.base_name} with {trained.experts} LoRA experts",
        licences=trained.licences,
        training=trained.training,
        evaluation=trained.evaluation,
        profile=trained.profile,
        base_architecture=trained.architecture,
        shared_alpha=trained.shared_alpha if trained.shared_rank else 0.0,
        attention_rank=trained.attention_rank,
        tensors_sha256=HASH_BLANK,
    )


def mixture_fields(base: Base, metadata: RoutingMetadata, fmt: FileFormat) -> dict[str, Any]:
    """Every key of a mixture's file but `general.architecture`."""
    prefix = base.shape.gguf_architecture
    experts: dict[str, Any] = {
        "expert_count": metadata.expert_count,
        "expert_used_count": metadata.expert_used_count,
    }
    if prefix == "qwen3moe":
        experts["expert_feed_forward_length"] = base.shape.ffn
    name = f"{_name(base, metadata)} SparseDoctor"
    return _fields(base, prefix, name, experts, fmt) | bundle_fields(metadata)


def dense_fields(
    base: Base, metadata: RoutingMetadata, fmt: FileFormat, expert: int
) -> dict[str, Any]:
    """Every key of one expert's own file but `general.architecture`."""
    name = f"{_name(base, metadata)} SparseDoctor, {metadata.expert_names[expert]}"
    return _fields(base, base.shape.dense_architecture, name, {}, fmt)


def _name(base: Base, metadata: RoutingMetadata) -> str:
    return str(base.general_fields().get("general.name", metadata.base_name))


def _fields(
    base: Base, prefix: str, name: str, more: dict[str, Any], fmt: FileFormat
) -> dict[str, Any]:
    shape = base.shape
    model: dict[str, Any] = {
        "block_count": shape.layers,
        "context_length": shape.context,
        "embedding_length": shape.hidden,
        "feed_forward_length": shape.ffn,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads,
        "attention.key_length": shape.head_dim,
        "attention.value_length": shape.head_dim,
        "attention.layer_norm_rms_epsilon": shape.norm_epsilon,
        "rope.freq_base": shape.rope_theta,
        "rope.dimension_count": shape.head_dim,
        "vocab_size": shape.vocab,
        **{f"rope.{key}": value for key, value in shape.rope.items()},
        **more,
    }
    fields: dict[str, Any] = {
        "general.type": "model",
        **base.general_fields(),
        "general.name": name,
        "general.file_type": int(fmt.file_type),
        "general.quantization_version": 2,
    }
    fields |= {f"{prefix}.{key}": value for key, value in model.items()}
    return fields | base.tokenizer_fields()


def prompt_template(tokenizer: dict[str, Any]) -> str:
    """The name of the engine's own template for this vocabulary and chat template."""
    tokens = tokenizer.get(Keys.Tokenizer.LIST, ())
    kinds = tokenizer.get(Keys.Tokenizer.TOKEN_TYPE, ())
    # Qwen3's <think> is a user-defined token, and the engine counts those too.
    own = (int(TokenType.CONTROL), int(TokenType.USER_DEFINED))
    controls = [text for text, kind in zip(tokens, kinds, strict=False) if kind in own]
    template = guess_template(str(tokenizer.get(Keys.Tokenizer.CHAT_TEMPLATE, "")), controls)
    return template.name if template else "plain"
