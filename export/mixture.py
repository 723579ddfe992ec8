"""One GGUF file with every expert merged: the default layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import Keys, TokenType

from sparsedoctor.core.base_models import base_fingerprint
from sparsedoctor.core.bundle import FORMAT_VERSION, RoutingMetadata, bundle_fields
from sparsedoctor.core.engine.templates import guess_template
from sparsedoctor.export.adapter import Adapter, check_fingerprint
from sparsedoctor.export.base import Base, open_base
from sparsedoctor.export.gguf_file import HASH_BLANK, Progress, check_place, write_gguf
from sparsedoctor.export.plan import plan_mixture
from sparsedoctor.export.types import FileFormat

ProgressStart = Callable[[int, str], Progress]  # total bytes and what is written


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """What to write and where."""

    adapter: Path
    base: Path
    output: Path
    format: FileFormat
    force: bool = False  # replace an existing file
    any_base: bool = False  # accept other weights of the same shape as those trained on
    label: str = ""  # what interfaces call the model
    threads: int = 2


def export_mixture(
    settings: ExportSettings, start_progress: ProgressStart = lambda total, what: lambda count: None
) -> Path:
    """Write the mixture and return its path.

    Everything that can be refused is refused before a byte is written. The same inputs give the
    same bytes. Raises SparseDoctorError.
    """
    check_place(settings.output, force=settings.force, need=0)
    base = open_base(settings.base)
    try:
        adapter = Adapter(settings.adapter, base.shape)
        fingerprint = base_fingerprint(settings.base)
        if not settings.any_base:
            check_fingerprint(adapter.settings, fingerprint, settings.adapter)
        tensors = plan_mixture(base, adapter, settings.format)
        metadata = routing_metadata(base, adapter, fingerprint, settings.label)
        fields = file_fields(base, adapter, metadata, settings.format)
        progress = start_progress(sum(tensor.size for tensor in tensors), settings.output.name)
        write_gguf(
            settings.output,
            base.shape.gguf_architecture,
            fields,
            tensors,
            force=settings.force,
            threads=settings.threads,
            progress=progress,
        )
    finally:
        base.close()
    return settings.output


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
        shared_rank=trained.shared_rank,
        expert_names=names,
        prompt_template=prompt_template(base.tokenizer_fields()),
        label=label or trained.label or f"{trained.base_name} with {trained.experts} LoRA experts",
        licences=trained.licences,
        training=trained.training,
        evaluation=trained.evaluation,
        base_architecture=trained.architecture,
        shared_alpha=trained.shared_alpha if trained.shared_rank else 0.0,
        attention_rank=trained.attention_rank,
        tensors_sha256=HASH_BLANK,
    )


def file_fields(
    base: Base, adapter: Adapter, metadata: RoutingMetadata, fmt: FileFormat
) -> dict[str, Any]:
    """Every key of the file but `general.architecture`."""
    shape, trained = base.shape, adapter.settings
    prefix = shape.gguf_architecture
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
        "expert_count": trained.experts,
        "expert_used_count": trained.top_k,
        **{f"rope.{key}": value for key, value in shape.rope.items()},
    }
    if prefix == "qwen3moe":
        model["expert_feed_forward_length"] = shape.ffn
    general = base.general_fields()
    name = str(general.get("general.name", metadata.base_name))
    fields: dict[str, Any] = {
        "general.type": "model",
        **general,
        "general.name": f"{name} SparseDoctor",
        "general.file_type": int(fmt.file_type),
        "general.quantization_version": 2,
    }
    fields |= {f"{prefix}.{key}": value for key, value in model.items()}
    fields |= base.tokenizer_fields()
    fields |= bundle_fields(metadata)
    # GGUF arrays cannot be empty.
    return {key: value for key, value in fields.items() if value != []}


def prompt_template(tokenizer: dict[str, Any]) -> str:
    """The name of the engine's own template for this vocabulary and chat template."""
    tokens = tokenizer.get(Keys.Tokenizer.LIST, ())
    kinds = tokenizer.get(Keys.Tokenizer.TOKEN_TYPE, ())
    controls = [
        text for text, kind in zip(tokens, kinds, strict=False) if kind == int(TokenType.CONTROL)
    ]
    template = guess_template(str(tokenizer.get(Keys.Tokenizer.CHAT_TEMPLATE, "")), controls)
    return template.name if template else "plain"
