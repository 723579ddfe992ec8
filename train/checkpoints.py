"""Which checkpoints of a run are whole.

A checkpoint is a folder of several files that the Trainer writes one after the other. The
marker is written last; a folder without it was interrupted and is never resumed from.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from sparsedoctor.core.errors import SparseDoctorError

MARKER = "complete.json"
PREFIX = "checkpoint-"


def mark_complete(run: Path, step: int) -> None:
    """Say, durably, that the checkpoint of `step` is whole."""
    folder = run / f"{PREFIX}{step}"
    for file in folder.iterdir():
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
    write_atomically(folder / MARKER, json.dumps({"step": step}) + "\n")


def last_checkpoint(run: Path) -> Path | None:
    """The newest whole checkpoint of a run, or None."""
    return max(_complete(run), key=_step, default=None)


def remove_incomplete(run: Path) -> None:
    """Remove checkpoints whose writing was interrupted."""
    complete = set(_complete(run))
    for folder in run.glob(f"{PREFIX}*"):
        if folder not in complete:
            shutil.rmtree(folder)


def check_disk_space(folder: Path, needed: int) -> None:
    """Raise SparseDoctorError unless `needed` bytes are free where `folder` lies."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SparseDoctorError(
            f"{folder} has {free / 2**20:,.0f} MiB free and the checkpoints need "
            f"{needed / 2**20:,.0f} MiB; free some space or set a lower keep"
        )


def check_room_for_next(run: Path) -> None:
    """Raise SparseDoctorError unless another checkpoint like the last one finds room."""
    last = last_checkpoint(run)
    if last is None:
        return  # the run looked before its first step
    try:
        check_disk_space(run, sum(file.stat().st_size for file in last.iterdir()))
    except SparseDoctorError as error:
        raise SparseDoctorError(f"{error}; {_how_to_go_on(run)}") from error


@contextmanager
def disk_errors(run: Path) -> Iterator[None]:
    """A disk that is full or gone as one line that says what is left and how to go on."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        # torch and safetensors wrap the system's own error, each in its own words.
        number = error.errno if isinstance(error, OSError) else None
        words = str(error).strip().splitlines()[:1] or [type(error).__name__]
        known = ("os error", "i/o error", "pytorchstreamwriter", "inline_container", "file write")
        told = any(word in str(error).lower() for word in known)
        if number not in _DISK and (isinstance(error, OSError) or not told):
            raise
        reason = os.strerror(number) if number else words[0]
        if "inline_container" in reason:  # torch names its own source, not what happened
            reason = "a file could not be written to its end"
        raise SparseDoctorError(
            f"cannot write in {run} ({reason}); {_how_to_go_on(run)}"
        ) from error


_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


def _how_to_go_on(run: Path) -> str:
    last = last_checkpoint(run)
    if last is None:
        return "no checkpoint was written yet: make room and start again"
    return f"{last.name} is whole: make room, then sparsedoctor-train --resume {run}"


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the whole new one."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    fresh.replace(path)


def _complete(run: Path) -> list[Path]:
    return [marker.parent for marker in run.glob(f"{PREFIX}*/{MARKER}")]


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix(PREFIX))
