"""The default layout: one GGUF file with every expert merged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsedoctor.core.base_models import base_fingerprint
from sparsedoctor.core.engine.importance import Table, importance
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.export.adapter import Adapter, check_fingerprint
from sparsedoctor.export.base import Base, open_base
from sparsedoctor.export.fields import mixture_fields, routing_metadata
from sparsedoctor.export.gguf_file import check_place
from sparsedoctor.export.json_lines import read_conversations
from sparsedoctor.export.model_file import ModelFile, ProgressStart, Weigh, share_of, write_model
from sparsedoctor.export.plan import plan_mixture
from sparsedoctor.export.signal import SignalReport, expert_signal
from sparsedoctor.export.types import FileFormat

WEIGHED = ("q6_k", "q5_k_m", "q4_k_m", "q4_0")  # formats whose rounding can be weighed
_CONVERSATIONS = 80  # read for an importance matrix, at most


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
    importance: Path | None = None  # conversations (JSON lines) to weigh the rounding by


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
    weigh = _weigher(settings, start_progress)
    base = open_base(settings.base)
    try:
        adapter, fingerprint = open_adapter(settings.adapter, base, any_base=settings.any_base)
        metadata = routing_metadata(base, adapter, fingerprint, settings.label)
        report(expert_signal(base, adapter, settings.format), base, adapter)
        file = ModelFile(
            architecture=base.shape.gguf_architecture,
            fields=mixture_fields(base, metadata, settings.format) | _origin_of(settings),
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
            weigh=weigh,
        )
    finally:
        base.close()
    return settings.output


def _weigher(settings: ExportSettings, start_progress: ProgressStart) -> Weigh | None:
    """What computes the importance matrix, once its texts are known to be readable."""
    if settings.importance is None:
        return None
    if settings.format.name not in WEIGHED:
        raise SparseDoctorError(
            f"an importance matrix changes nothing in {settings.format.name}; "
            f"it is for {', '.join(WEIGHED)}"
        )
    conversations = read_conversations(settings.importance, _CONVERSATIONS)

    def weigh(source: Path) -> Table:
        progress = share_of(source, start_progress, "importance")
        return importance(source, conversations, progress=progress)

    return weigh


def _origin_of(settings: ExportSettings) -> dict[str, Any]:
    """llama.cpp's own key for what an importance matrix was computed from."""
    name = settings.importance.name if settings.importance else ""
    return {"quantize.imatrix.dataset": name} if name else {}


def open_adapter(folder: Path, base: Base, *, any_base: bool = False) -> tuple[Adapter, str]:
    """The adapter, checked against the base by its sizes and, unless `any_base`, its hash; and
    the base's sha256."""
    adapter = Adapter(folder, base.shape)
    fingerprint = base_fingerprint(base.path)
    if not any_base:
        check_fingerprint(adapter.settings, fingerprint, folder)
    return adapter, fingerprint
