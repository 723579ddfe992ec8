"""Which checkpoints of a run are whole.

A checkpoint is a folder of several files that the Trainer writes one after the other. The
marker is written last; a folder without it was interrupted and is never resumed from.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.files import sha256_of

MARKER = "complete.json"
PREFIX = "checkpoint-"
_STATE = "trainer_state.json"  # the Trainer's own: steps, log, the best checkpoint


def mark_complete(run: Path, step: int, *, last: bool = False) -> None:
    """Say, durably, that the checkpoint of `step` is whole, and whether training ends with it."""
    folder = run / f"{PREFIX}{step}"
    digests = {}
    for file in sorted(folder.iterdir()):
        if file.is_file():
            digests[file.name] = sha256_of(file)
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
    digests.pop(_STATE, None)  # `take_along` may change it
    write_atomically(
        folder / MARKER, json.dumps({"step": step, "last": last, "sha256": digests}) + "\n"
    )


def last_checkpoint(run: Path) -> Path | None:
    """The newest checkpoint of a run that was written to its end, or None."""
    return max(_complete(run), key=step_of, default=None)


def sound_checkpoint(run: Path, tell: Callable[[str], None] = print) -> Path | None:
    """The newest checkpoint that is as it was written, or None; tells of damaged newer ones."""
    for folder in sorted(_complete(run), key=step_of, reverse=True):
        damaged = _damaged(folder)
        if damaged is None:
            return folder
        tell(f"note: {folder.name} is damaged ({damaged}); an earlier state is taken")
    return None


def ends_training(checkpoint: Path, steps: int) -> bool:
    """Whether no step of a training of `steps` is left after `checkpoint`."""
    return bool(_table(checkpoint / MARKER).get("last")) or step_of(checkpoint) >= steps


def keep_only_until(run: Path, checkpoint: Path | None) -> None:
    """Remove what is newer than `checkpoint`, and checkpoints whose writing was interrupted."""
    complete = set(_complete(run))
    newest = step_of(checkpoint) if checkpoint else 0
    for folder in run.glob(f"{PREFIX}*"):
        if folder not in complete or step_of(folder) > newest:
            shutil.rmtree(folder)


def take_along(run: Path, checkpoint: Path) -> None:
    """Let a checkpoint name the best one by where the run lies now: the folder may have been
    moved, or named from another directory. A best one that is damaged or gone is told; the
    checkpoint itself then counts as the best so far."""
    state = _table(checkpoint / _STATE)
    recorded = state.get("best_model_checkpoint")
    if not recorded:
        return
    best = run / Path(recorded).name
    damaged = _damaged(best)
    if damaged is not None:
        print(
            f"note: {best.name}, the best one, is damaged ({damaged}); {checkpoint.name} counts "
            "as the best so far",
            flush=True,
        )
        best, step = checkpoint, step_of(checkpoint)
        lines = (line for line in state["log_history"] if line["step"] == step)
        losses = (line["eval_loss"] for line in lines if "eval_loss" in line)
        state["best_metric"] = next(losses, None)
        state["best_global_step"] = step
    if str(best) != recorded:
        state["best_model_checkpoint"] = str(best)
        write_atomically(checkpoint / _STATE, json.dumps(state, indent=2, sort_keys=True) + "\n")


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
        return f"no checkpoint was written yet: make room, then sparsedoctor-train --resume {run}"
    return f"{last.name} is whole: make room, then sparsedoctor-train --resume {run}"


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the whole new one."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    fresh.replace(path)


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix(PREFIX))


def _complete(run: Path) -> list[Path]:
    return [marker.parent for marker in run.glob(f"{PREFIX}*/{MARKER}")]


def _table(path: Path) -> dict[str, Any]:
    """The JSON object of a file; empty where there is none."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}


def _damaged(checkpoint: Path) -> str | None:
    """The name of a file that is not as it was written; None when all are."""
    marker = _table(checkpoint / MARKER)
    for name, digest in marker.get("sha256", {}).items():
        try:
            if sha256_of(checkpoint / name) != digest:
                return str(name)
        except OSError:
            return str(name)
    return None if marker and _table(checkpoint / _STATE) else _STATE
