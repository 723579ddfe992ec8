"""The default layout: one GGUF file with every expert merged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sparsedoctor.core.base_models import base_fingerprint
from sparsedoctor.export.adapter import Adapter, check_fingerprint
from sparsedoctor.export.base import Base, open_base
from sparsedoctor.export.fields import mixture_fields, routing_metadata
from sparsedoctor.export.gguf_file import check_place
from sparsedoctor.export.model_file import ModelFile, ProgressStart, write_model
from sparsedoctor.export.plan import plan_mixture
from sparsedoctor.export.signal import SignalReport, expert_signal
from sparsedoctor.export.types import FileFormat


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
    settings: ExportSettings,
    start_progress: ProgressStart = lambda total, what: lambda count: None,
    tell: Callable[[str], None] = lambda line: None,
    report: Callable[[SignalReport, Base, Adapter], None] = lambda signal, base, adapter: None,
) -> Path:
    """Write the mixture and return its path.

    Everything that can be refused is refused before a byte is written. The same inputs give the
    same bytes. `tell` gets what a person should know beforehand, `report` how much of the experts
    the format keeps. Raises SparseDoctorError.
    """
    check_place(settings.output, force=settings.force, need=0)
    base = open_base(settings.base)
    try:
        adapter, fingerprint = open_adapter(settings.adapter, base, any_base=settings.any_base)
        metadata = routing_metadata(base, adapter, fingerprint, settings.label)
        report(expert_signal(base, adapter, settings.format), base, adapter)
        file = ModelFile(
            architecture=base.shape.gguf_architecture,
            fields=mixture_fields(base, metadata, settings.format),
            plan=lambda fmt: plan_mixture(base, adapter, fmt),
        )
        write_model(
            file,
            settings.output,
            settings.format,
            force=settings.force,
            threads=settings.threads,
            start_progress=start_progress,
            tell=tell,
        )
    finally:
        base.close()
    return settings.output


def open_adapter(folder: Path, base: Base, *, any_base: bool = False) -> tuple[Adapter, str]:
    """The adapter, checked against the base by its sizes and, unless `any_base`, its hash; and
    the base's sha256."""
    adapter = Adapter(folder, base.shape)
    fingerprint = base_fingerprint(base.path)
    if not any_base:
        check_fingerprint(adapter.settings, fingerprint, folder)
    return adapter, fingerprint
