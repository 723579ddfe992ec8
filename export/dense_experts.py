"""The layout `experts`: one dense GGUF per expert, and their routing beside them.

Each file is a complete model that any llama.cpp runs, for small machines and for looking at one
expert alone. What the router knew is in `routing.json` and `routers.safetensors`
(`layers.<i>.router` `[E, hidden]`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from safetensors.numpy import save

from sparsedoctor.core.bundle import PREFIX, bundle_fields
from sparsedoctor.export.base import open_base
from sparsedoctor.export.fields import dense_fields, routing_metadata
from sparsedoctor.export.folder import replacing_folder
from sparsedoctor.export.gguf_file import data_sha256, file_bytes
from sparsedoctor.export.mixture import ExportSettings, open_adapter
from sparsedoctor.export.model_file import ModelFile, ProgressStart, write_model
from sparsedoctor.export.plan import plan_expert

_TABLES = ("training", "evaluation", "profile")


def export_experts(
    settings: ExportSettings, start_progress: ProgressStart, tell: Callable[[str], None]
) -> Path:
    """Write the folder `settings.output` and return it. Raises SparseDoctorError."""
    base = open_base(settings.base)
    try:
        adapter, fingerprint = open_adapter(settings.adapter, base, any_base=settings.any_base)
        metadata = routing_metadata(base, adapter, fingerprint, settings.label)
        files = [
            ModelFile(
                architecture=base.shape.dense_architecture,
                fields=dense_fields(base, metadata, settings.format, expert),
                plan=lambda fmt, expert=expert: plan_expert(base, adapter, fmt, expert),  # type: ignore[misc]
            )
            for expert in range(metadata.expert_count)
        ]
        one = file_bytes(files[0].fields, files[0].plan(settings.format))
        with replacing_folder(settings.output, force=settings.force, need=one * len(files)) as part:
            rows = []
            for number, file in enumerate(files, start=1):
                path = part / f"expert-{number}.gguf"
                write_model(
                    file,
                    path,
                    settings.format,
                    force=False,
                    threads=settings.threads,
                    start_progress=start_progress,
                    tell=tell,
                )
                name = metadata.expert_names[number - 1]
                rows.append({"name": name, "file": path.name, "tensors_sha256": data_sha256(path)})
            routers = {
                f"layers.{layer}.router": adapter.router(layer)
                for layer in range(base.shape.layers)
            }
            (part / "routers.safetensors").write_bytes(save(routers))
            keys = bundle_fields(metadata)
            described = {key.removeprefix(PREFIX): value for key, value in keys.items()}
            described |= {name: getattr(metadata, name) for name in _TABLES}
            del described["file.tensors_sha256"]
            described |= {"experts": rows, "routers": "routers.safetensors"}
            text = json.dumps(described, indent=2, ensure_ascii=False) + "\n"
            (part / "routing.json").write_text(text, encoding="utf-8")
    finally:
        base.close()
    return settings.output
