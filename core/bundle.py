"""What an exported model file says about itself: its routing metadata.

Written by the export under the `sparsedoctor.*` keys of a GGUF file, read by everyone else, and
printed by any GGUF tool: scalars and text arrays as they are, tables as JSON text. SCHEMA says
what is allowed. It is versioned: a reader refuses a major version it does not know and ignores
keys it does not know, so that a minor version may add some.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.gguf_header import GGUFHeader, read_header

FORMAT_VERSION = "1.0"
PREFIX = "sparsedoctor."
_TABLES = ("training", "evaluation", "profile")

_COUNT = {"type": "integer", "minimum": 0}
_TEXTS = {"type": "array", "items": {"type": "string"}}
_HASH = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_SHARES = {"type": "array", "items": _SHARE}
PROFILE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Which experts a calibration set reached, by topic, from llama.cpp's routing.",
    "required": ["data", "topics", "baseline", "utilisation", "entropy"],
    "properties": {
        "data": {
            "type": "object",
            "required": ["name", "examples", "tokens"],
            "properties": {"name": {"type": "string"}, "examples": _COUNT, "tokens": _COUNT},
        },
        "topics": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "examples", "tokens", "shares"],
                "properties": {
                    "name": {"type": "string"},
                    "examples": _COUNT,
                    "tokens": _COUNT,
                    "shares": {**_SHARES, "description": "gate weight per expert, adds up to 1"},
                    "baseline": {**_SHARES, "description": "highest share under shuffled topics"},
                    "favours": {
                        "type": ["integer", "null"],
                        "description": "the expert that stands out beyond the baseline, or null",
                    },
                },
            },
        },
        "baseline": {
            "type": "object",
            "description": "mutual information of expert and topic, as found and when shuffled",
            "required": ["information", "shuffled_mean", "shuffled_95", "shuffles"],
            "properties": {
                "information": {"type": "number", "description": "nats"},
                "shuffled_mean": {"type": "number"},
                "shuffled_95": {"type": "number", "description": "95th percentile of shuffles"},
                "shuffles": _COUNT,
            },
        },
        "utilisation": {
            "type": "array",
            "items": _SHARES,
            "description": "[layers][experts] share of choices",
        },
        "entropy": {
            "type": "array",
            "items": {"type": "number", "minimum": 0},
            "description": "[layers] of the utilisation, nats; log(experts) when balanced",
        },
    },
}
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "SparseDoctor routing metadata 1.0",
    "description": "The sparsedoctor.* keys of a GGUF file, without their prefix, tables decoded.",
    "type": "object",
    "required": [
        "format_version", "base.name", "base.sha256", "expert_count", "expert_used_count", "rank",
        "alpha", "shared_rank", "expert_names", "prompt_template", "label",
    ],
    "properties": {
        "format_version": {"type": "string", "pattern": r"^\d+\.\d+$"},
        "base.name": {"type": "string"},
        "base.sha256": {**_HASH, "description": "of the base file, or of a folder's safetensors"},
        "base.architecture": {"type": "string", "description": "model_type of transformers"},
        "expert_count": {"type": "integer", "minimum": 1},
        "expert_used_count": {"type": "integer", "minimum": 1, "description": "per token"},
        "rank": {"type": "integer", "minimum": 1},
        "alpha": {"type": "number"},
        "sharing": {"type": "number", "description": "part of each other expert in an expert"},
        "shared_rank": _COUNT,
        "shared_alpha": {"type": "number"},
        "attention_rank": _COUNT,
        "expert_names": {**_TEXTS, "minItems": 1},
        "prompt_template": {"type": "string"},
        "label": {"type": "string", "description": "what interfaces call the model"},
        "licences": _TEXTS,
        "file.tensors_sha256": {**_HASH, "description": "from the first tensor to the end of file"},
        "training": {"type": "object"},
        "evaluation": {"type": "object"},
        "profile": {"anyOf": [{"type": "object", "maxProperties": 0}, PROFILE_SCHEMA]},
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RoutingMetadata:
    """How the experts of a file came to be and what they attend to."""

    format_version: str
    base_name: str
    base_sha256: str
    expert_count: int
    expert_used_count: int
    rank: int
    alpha: float
    shared_rank: int
    expert_names: tuple[str, ...]
    prompt_template: str  # name of one of our own templates
    label: str  # what interfaces call the model ("small demonstration model, ...")
    licences: tuple[str, ...]
    training: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    profile: dict[str, Any] = field(default_factory=dict)  # expert by topic, see PROFILE_SCHEMA
    base_architecture: str = ""
    shared_alpha: float = 0.0
    sharing: float = 0.0
    attention_rank: int = 0
    tensors_sha256: str = ""  # empty in files that were written without one


def read_bundle(path: Path) -> RoutingMetadata | None:
    """The routing metadata of a GGUF file, or None when it is another program's file.

    Raises SparseDoctorError for a damaged file or an unknown major format version.
    """
    return parse_bundle(read_header(path), path)


def parse_bundle(header: GGUFHeader, path: Path) -> RoutingMetadata | None:
    """As `read_bundle`, from a header already read; `path` is for the error's text."""
    keys = {
        key.removeprefix(PREFIX): value
        for key, value in header.metadata.items()
        if key.startswith(PREFIX)
    }
    if not keys:
        return None
    version = str(keys.get("format_version", ""))
    if version.split(".")[0] != FORMAT_VERSION.split(".")[0]:
        raise SparseDoctorError(
            f"{path} has routing metadata of version {version or 'unknown'!r}, "
            f"this program reads {FORMAT_VERSION}; update SparseDoctor or export the file again"
        )
    try:
        keys |= {name: json.loads(keys[name]) for name in _TABLES if name in keys}
    except (TypeError, ValueError, RecursionError):
        raise _damaged(path, "a table is no JSON") from None
    problem = check_bundle(keys)
    if problem:
        raise _damaged(path, problem)
    return RoutingMetadata(
        format_version=version,
        base_name=keys["base.name"],
        base_sha256=keys["base.sha256"],
        expert_count=keys["expert_count"],
        expert_used_count=keys["expert_used_count"],
        rank=keys["rank"],
        alpha=float(keys["alpha"]),
        shared_rank=keys["shared_rank"],
        expert_names=tuple(keys["expert_names"]),
        prompt_template=keys["prompt_template"],
        label=keys["label"],
        licences=tuple(keys.get("licences", ())),
        training=keys.get("training", {}),
        evaluation=keys.get("evaluation", {}),
        profile=keys.get("profile", {}),
        base_architecture=keys.get("base.architecture", ""),
        shared_alpha=float(keys.get("shared_alpha", 0.0)),
        sharing=float(keys.get("sharing", 0.0)),
        attention_rank=keys.get("attention_rank", 0),
        tensors_sha256=keys.get("file.tensors_sha256", ""),
    )


def check_bundle(keys: dict[str, Any]) -> str:
    """What is wrong with the keys (without their prefix, tables decoded); empty when nothing is."""
    # Imported here: most files a person lists have no such keys, and the import takes a while.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(SCHEMA).iter_errors(keys))
    if error is not None:
        where = ".".join(str(step) for step in error.absolute_path)
        return " ".join(f"{where or 'it'}: {error.message}".split())[:200]
    if len(keys["expert_names"]) != keys["expert_count"]:
        return f"{len(keys['expert_names'])} names for {keys['expert_count']} experts"
    if keys["expert_used_count"] > keys["expert_count"]:
        return "more experts used than there are"
    return ""


def bundle_fields(metadata: RoutingMetadata) -> dict[str, Any]:
    """The `sparsedoctor.*` keys and values to write."""
    fields: dict[str, Any] = {
        "format_version": metadata.format_version,
        "base.name": metadata.base_name,
        "base.sha256": metadata.base_sha256,
        "base.architecture": metadata.base_architecture,
        "expert_count": metadata.expert_count,
        "expert_used_count": metadata.expert_used_count,
        "rank": metadata.rank,
        "alpha": metadata.alpha,
        "sharing": metadata.sharing,
        "shared_rank": metadata.shared_rank,
        "shared_alpha": metadata.shared_alpha,
        "attention_rank": metadata.attention_rank,
        "expert_names": list(metadata.expert_names),
        "prompt_template": metadata.prompt_template,
        "label": metadata.label,
        "licences": list(metadata.licences),
    }
    if metadata.tensors_sha256:
        fields["file.tensors_sha256"] = metadata.tensors_sha256
    for name in _TABLES:
        text = json.dumps(getattr(metadata, name), sort_keys=True, ensure_ascii=False)
        fields[name] = text
    return {PREFIX + name: value for name, value in fields.items()}


def _damaged(path: Path, problem: str) -> SparseDoctorError:
    return SparseDoctorError(f"{path} has damaged routing metadata ({problem}); export it again")
