"""Files that several parts know: their hashes, and what a training run's folder is."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sparsedoctor.core.errors import SparseDoctorError

RUN_FILE = "run.json"  # in the folder of a training run
ADAPTER = "adapter"  # the folder in it that a finished run leaves


def sha256_of(path: Path) -> str:
    """sha256 of a file's content, in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_run(folder: Path) -> None:
    """Raise SparseDoctorError, naming the adapter, where a run was given in its adapter's place."""
    if (folder / RUN_FILE).is_file():
        raise SparseDoctorError(f"{folder} is a training run; its adapter is {folder / ADAPTER}")
