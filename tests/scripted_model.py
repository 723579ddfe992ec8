"""A model file as the interfaces see it, for tests with the scripted engine."""

from __future__ import annotations

from pathlib import Path

from sparsedoctor.app.model_files import ModelFile
from sparsedoctor.core.bundle import RoutingMetadata

NAMES = ("heart", "medicines", "infections", "children")
BUNDLE = RoutingMetadata(
    format_version="1.0",
    base_name="scripted base",
    base_sha256="0" * 64,
    expert_count=4,
    expert_used_count=2,
    rank=4,
    alpha=16.0,
    shared_rank=16,
    expert_names=NAMES,
    prompt_template="smollm2",
    label="small demonstration model, no medical advice",
    licences=("Apache-2.0",),
)
SPARSE = ModelFile(Path("scripted.gguf"), 4, "llama", 4, BUNDLE)
