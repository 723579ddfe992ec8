"""Write one GGUF model in any number format: directly, or through llama.cpp's quantiser."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsedoctor.core.engine.importance import Table
from sparsedoctor.core.engine.quantize import quantize
from sparsedoctor.export.gguf_file import (
    PlannedTensor,
    Progress,
    file_bytes,
    replacing,
    seal,
    write_gguf,
    write_in_place,
)
from sparsedoctor.export.types import FORMATS, FileFormat

ProgressStart = Callable[[int, str], Progress]  # total bytes and what is written
Weigh = Callable[[Path], Table]  # from the float32 file, what matters to its matrices


@dataclass(frozen=True, slots=True)
class ModelFile:
    """What a file holds; `plan` gives its tensors in a number format."""

    architecture: str
    fields: dict[str, Any]
    plan: Callable[[FileFormat], Sequence[PlannedTensor]]


def write_model(
    file: ModelFile,
    output: Path,
    fmt: FileFormat,
    *,
    force: bool,
    threads: int,
    start_progress: ProgressStart,
    tell: Callable[[str], None],
    weigh: Weigh | None = None,
) -> None:
    """Write `output`, whole or not at all. Raises SparseDoctorError.

    `tell` is given how much temporary disk a format needs that is not written directly; with
    `weigh` none is.
    """
    direct = fmt.native and weigh is None
    tensors = file.plan(fmt if direct else FORMATS["f32"])
    whole = sum(tensor.size for tensor in tensors)
    if direct:
        write_gguf(
            output,
            file.architecture,
            file.fields,
            tensors,
            force=force,
            threads=threads,
            progress=start_progress(whole, output.name),
        )
        return
    temporary = file_bytes(file.fields, tensors)
    tell(f"{fmt.name} goes through a float32 file: {temporary / 1e6:.0f} MB of temporary disk")
    # The quantiser gives some tensors a wider type than the one that names the file.
    need = temporary + int(1.2 * file_bytes(file.fields, file.plan(fmt)))
    with replacing(output, force=force, need=need) as part:
        source = output.with_name(f".{output.name}.f32.{os.getpid()}.part")
        try:
            write_in_place(
                source,
                file.architecture,
                file.fields,
                tensors,
                threads=threads,
                progress=start_progress(whole, "float32"),
            )
            table = weigh(source) if weigh else {}
            _quantise(source, part, fmt.name, table, start_progress)
        finally:
            source.unlink(missing_ok=True)
        seal(part)


def _quantise(
    source: Path, destination: Path, name: str, table: Table, start_progress: ProgressStart
) -> None:
    """llama.cpp's quantiser with a progress bar, which counts the bytes of the source."""
    progress = share_of(source, start_progress, name)
    quantize(source, destination, name.upper(), imatrix=table, progress=progress)


def share_of(source: Path, start_progress: ProgressStart, what: str) -> Callable[[int, int], None]:
    """Progress told as so many parts of all, shown as bytes of `source`."""
    size = source.stat().st_size
    advance = start_progress(size, what)
    shown = 0

    def progress(done: int, whole: int) -> None:
        nonlocal shown
        now = size * done // max(whole, 1)
        advance(now - shown)
        shown = now

    return progress
