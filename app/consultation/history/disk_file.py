"""The files of a history on the disk: for their owner alone, one keeper at a time, kept aside.

    history.db  -wal  -shm       SQLite's own
    history.db.lock              held (shared) by every program that has the history open
    history.db.encrypted         present while history.db is encrypted
    history.db.before-N-TIME     a copy made before the tables were changed to version N
    history.db.new-TIME          a conversion (encryption.py) that is not finished
    history.db.damaged-TIME      a damaged history, kept aside

History files are never opened and closed by hand: closing any descriptor of a file drops all
locks that this process holds on it, also those of SQLite (POSIX record locks).
"""

from __future__ import annotations

import contextlib
import glob
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

_SIDES = ("", "-wal", "-shm", "-journal")


def prepare(path: Path) -> None:
    """Make the folder (0700) and the empty file (0600) if absent; close a file that is too open.

    SQLite gives its side files the permissions of the main file. Raises OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    for side in _SIDES:
        make_private(Path(f"{path}{side}"))


def make_private(path: Path) -> None:
    """Take the rights of everybody else, where that is possible and needed."""
    with contextlib.suppress(OSError):  # somebody else's file, a read-only disk: opening will tell
        if path.stat().st_mode & 0o077:
            path.chmod(0o700 if path.is_dir() else 0o600)


def marker(path: Path) -> Path:
    """The empty file whose presence says that `path` is encrypted.

    An encrypted file looks like random bytes, and so does a damaged one.
    """
    return Path(f"{path}.encrypted")


def set_aside(path: Path) -> Path:
    """Rename a damaged history and its side files; the caller holds the lock alone."""
    aside = Path(f"{path}.damaged-{_stamp()}")
    for side in _SIDES[1:]:
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{path}{side}", f"{aside}{side}")
    os.replace(path, aside)
    with contextlib.suppress(FileNotFoundError):
        os.replace(marker(path), marker(aside))
    sync_folder(path.parent)
    return aside


def backup_path(path: Path, version: int) -> Path:
    """Where the copy goes that is made before migrating to `version`."""
    return Path(f"{path}.before-{version}-{_stamp()}")


def remove_backups(path: Path) -> None:
    """Remove the copies made before migrations."""
    _remove(path, "before-*")


def unfinished_path(path: Path) -> Path:
    """Where a conversion writes until the new file takes the place of `path`."""
    return Path(f"{path}.new-{_stamp()}")


def remove_unfinished(path: Path) -> None:
    """Remove what an interrupted conversion left; the caller holds the lock."""
    _remove(path, "new-*")


def remove_with_sides(path: Path) -> None:
    """Remove a file of this program's own and its side files, as far as they are there."""
    for side in _SIDES:
        Path(f"{path}{side}").unlink(missing_ok=True)


def damaged_files(path: Path) -> list[Path]:
    """Damaged histories kept aside, with their side files."""
    return sorted(path.parent.glob(f"{glob.escape(path.name)}.damaged-*"))


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove(path: Path, pattern: str) -> None:
    for leftover in path.parent.glob(f"{glob.escape(path.name)}.{pattern}"):
        leftover.unlink(missing_ok=True)


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")


class KeeperLock:
    """Shared by all that use the history; held alone by whoever replaces its file.

    Where the system has no such locks (Windows, some network disks) it always succeeds; Windows
    itself refuses to replace an open file.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = None
        with contextlib.suppress(OSError):
            self._descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)

    def share(self, seconds: float) -> bool:
        return self._take(exclusive=False, seconds=seconds)

    def alone(self, seconds: float) -> bool:
        """Whether nobody else uses the history. On failure the lock is held by nobody here."""
        return self._take(exclusive=True, seconds=seconds)

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _take(self, *, exclusive: bool, seconds: float) -> bool:
        if self._descriptor is None:
            return True
        if sys.platform == "win32":
            return True
        else:
            import fcntl

            wanted = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
            end = time.monotonic() + seconds
            while True:
                try:
                    fcntl.flock(self._descriptor, wanted | fcntl.LOCK_NB)
                    return True
                except BlockingIOError:
                    if time.monotonic() >= end:
                        return False
                    time.sleep(0.05)
                except OSError:
                    return True  # this file system has no such locks
