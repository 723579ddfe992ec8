"""What an exported model file says about itself: its routing metadata.

Written by the export under the `sparsedoctor.*` keys of a GGUF file, read by everyone else.
The schema is versioned; a reader refuses a major version it does not know.
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
    profile: dict[str, Any] = field(default_factory=dict)  # expert by topic, with baseline


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
            f"{path} has routing metadata of version {version or 'unknown'}, "
            f"this program reads {FORMAT_VERSION}; update SparseDoctor or export the file again"
        )
    try:
        return RoutingMetadata(
            format_version=version,
            base_name=str(keys["base.name"]),
            base_sha256=str(keys["base.sha256"]),
            expert_count=int(keys["expert_count"]),
            expert_used_count=int(keys["expert_used_count"]),
            rank=int(keys["rank"]),
            alpha=float(keys["alpha"]),
            shared_rank=int(keys["shared_rank"]),
            expert_names=tuple(str(name) for name in keys["expert_names"]),
            prompt_template=str(keys["prompt_template"]),
            label=str(keys["label"]),
            licences=tuple(str(licence) for licence in keys["licences"]),
            training=_table(keys, "training"),
            evaluation=_table(keys, "evaluation"),
            profile=_table(keys, "profile"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SparseDoctorError(
            f"{path} has damaged routing metadata ({error}); export the file again"
        ) from error


def bundle_fields(metadata: RoutingMetadata) -> dict[str, Any]:
    """The `sparsedoctor.*` keys and values to write: scalars and text arrays as they are,
    tables as JSON text, so that any GGUF tool can print them."""
    return {
        PREFIX + "format_version": metadata.format_version,
        PREFIX + "base.name": metadata.base_name,
        PREFIX + "base.sha256": metadata.base_sha256,
        PREFIX + "expert_count": metadata.expert_count,
        PREFIX + "expert_used_count": metadata.expert_used_count,
        PREFIX + "rank": metadata.rank,
        PREFIX + "alpha": metadata.alpha,
        PREFIX + "shared_rank": metadata.shared_rank,
        PREFIX + "expert_names": list(metadata.expert_names),
        PREFIX + "prompt_template": metadata.prompt_template,
        PREFIX + "label": metadata.label,
        PREFIX + "licences": list(metadata.licences),
        PREFIX + "training": json.dumps(metadata.training, sort_keys=True),
        PREFIX + "evaluation": json.dumps(metadata.evaluation, sort_keys=True),
        PREFIX + "profile": json.dumps(metadata.profile, sort_keys=True),
    }


def _table(keys: dict[str, Any], name: str) -> dict[str, Any]:
    table = json.loads(keys.get(name, "{}"))
    if not isinstance(table, dict):
        raise ValueError(f"{name} is no table")
    return table
