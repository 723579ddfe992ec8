"""Files that several parts know: their hashes, and what a training run's folder is."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import shutil
from pathlib import Path

import psutil

from sparsedoctor.core.errors import SparseDoctorError

RUN_FILE = "run.json"  # in the folder of a training run
ADAPTER = "adapter"  # the folder in it that a finished run leaves


def sha256_of(path: Path) -> str:
    """sha256 of a file's content, in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replace_text(path: Path, text: str) -> None:
    """Write so that a reader sees the old file or the whole new one, also where two programs write
    at once. Raises OSError."""
    fresh = part_of(path)
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise


def part_of(path: Path) -> Path:
    """Where this process writes what becomes `path`: .NAME.PID.part beside it."""
    return path.with_name(f".{path.name.removeprefix('.')}.{os.getpid()}.part")


def clear_leavings(path: Path) -> None:
    """Remove what programs that are gone left half written beside `path`, see `part_of`."""
    name = path.name.removeprefix(".")
    for left in path.parent.glob(f".{glob.escape(name)}.*.part"):
        words = left.name.removeprefix(f".{name}.").split(".")
        if any(word.isdigit() and not psutil.pid_exists(int(word)) for word in words):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def refuse_run(folder: Path) -> None:
    """Raise SparseDoctorError, naming the adapter, where a run was given in its adapter's place."""
    if (folder / RUN_FILE).is_file():
        raise SparseDoctorError(f"{folder} is a training run; its adapter is {folder / ADAPTER}")
