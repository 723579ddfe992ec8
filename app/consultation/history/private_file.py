"""Writing an export: for its owner alone, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from sparsedoctor.core.errors import SparseDoctorError


def write_private(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path` (0600), replacing it only once everything is on the disk.

    Raises SparseDoctorError; an existing file is then unchanged.
    """
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise SparseDoctorError(
            f"cannot write {path}: {error.strerror or error}; name a folder you can write"
        ) from error
