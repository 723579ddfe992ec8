"""A folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.files import clear_leavings, part_of
from sparsedoctor.export.gguf_file import check_disk


@contextlib.contextmanager
def replacing_folder(path: Path, *, force: bool, need: int) -> Iterator[Path]:
    """A new folder beside `path` that becomes `path` when the block ends well.

    `need` is what the disk must have free, in bytes. With `force` an earlier export there is
    replaced; a folder that holds anything else never is. Raises SparseDoctorError.
    """
    path = Path(os.path.abspath(path))
    _refuse_taken(path, force=force)
    if not path.parent.is_dir():
        raise SparseDoctorError(f"there is no folder {path.parent} to write {path.name} into")
    clear_leavings(path)
    check_disk(path.parent, need, path.name)
    part = part_of(path)
    try:
        part.mkdir()
        yield part
        _refuse_taken(path, force=force)  # something may have come meanwhile
        if path.exists():
            shutil.rmtree(path)
        part.rename(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SparseDoctorError(
                f"the disk of {path.parent} is full; {path.name} was not written"
            ) from error
        raise SparseDoctorError(f"cannot write {path}: {error.strerror}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _refuse_taken(path: Path, *, force: bool) -> None:
    """Raise SparseDoctorError where a folder must not be replaced."""
    if path.exists() and not path.is_dir():
        raise SparseDoctorError(f"{path} is a file; this layout writes a folder")
    if path.exists() and any(path.iterdir()):
        if not force:
            raise SparseDoctorError(f"{path} exists already; --force replaces it")
        if not any((path / mark).is_file() for mark in ("routing.json", "sparsedoctor.json")):
            raise SparseDoctorError(f"{path} holds no earlier export; give another folder")
