"""Writing an export: for its owner alone, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from itertools import count
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
        raise _cannot_write(path, error) from error


def write_new(path: Path, text: str) -> Path:
    """Write `text` as `write_private` does, but never over a file: of `notes.md`, `notes-2.md`,
    `notes-3.md` ... the first free name is taken. Returns it; raises SparseDoctorError.
    """
    for number in count(1):
        free = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        try:
            os.close(os.open(free, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            continue
        except OSError as error:
            raise _cannot_write(path, error) from error
        break
    try:
        write_private(free, text)
    except BaseException:
        free.unlink(missing_ok=True)
        raise
    return free


def _cannot_write(path: Path, error: OSError) -> SparseDoctorError:
    return SparseDoctorError(
        f"cannot write {path}: {error.strerror or error}; name a folder you can write"
    )
