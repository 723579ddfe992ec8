"""An encrypted history (SQLCipher, extra `encrypt`): making one, undoing it, a new passphrase.

    history.db ──copy──▶ history.db.new-TIME ──check──▶ takes the place of history.db

The old file is whole until the new one takes its place in one step, so an interruption loses
nothing. Without its passphrase an encrypted history cannot be read by anybody, ever: there is no
second key.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from pathlib import Path

from sparsedoctor.app.consultation.history import copying, database, disk_file, opening, schema
from sparsedoctor.app.consultation.history.opening import Unusable, open_file
from sparsedoctor.core.errors import SparseDoctorError

LOST_WITHOUT = {
    "en": "Whoever forgets this passphrase loses every conversation in the history: there is no "
    "second key, and nobody can restore it.",
    "zh": "忘记密码将失去历史记录中的全部对话：没有备用密钥，任何人都无法恢复。",
}
_BLOCK = 1 << 20  # bytes


def is_encrypted(path: Path) -> bool:
    """Whether the history at `path` asks for a passphrase."""
    return disk_file.marker(path).exists()


def refuse_if_in_use(path: Path) -> None:
    """Raises SparseDoctorError while another program has the history at `path` open."""
    lock = disk_file.KeeperLock(path)
    try:
        if not lock.alone(0):
            raise _in_use(path)
    finally:
        lock.release()


def convert(path: Path, old: str | None, new: str | None, now: str) -> list[Path]:
    """Give the history at `path` another passphrase; None stands for "not encrypted".

    All windows must be closed. Returns plain copies that are still there (damaged files kept
    aside) after encrypting. Raises WrongPassphrase, PassphraseNeeded, SparseDoctorError.
    """
    if new is not None:
        database.quoted(new)  # refuses what cannot be a passphrase
        database.cipher_available()
    if not path.is_file():
        raise SparseDoctorError(f"there is no history at {path} yet; begin a conversation first")
    try:
        opened = open_file(path, old, now)
    except Unusable as reason:
        raise SparseDoctorError(str(reason)) from reason
    copy = disk_file.unfinished_path(path)
    try:
        if not opened.lock.alone(opening.KEEPER_SECONDS):
            raise _in_use(path)
        _copy(opened.connection, copy, new)
        # Without a write-ahead log beside it, which would be taken for that of the new file.
        opened.connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        opened.connection.close()
        _take_place(copy, path, plain=old is None, encrypted=new is not None)
    except database.database_errors() + (OSError,) as error:  # noqa: RUF005
        raise SparseDoctorError(
            f"the history at {path} was left as it is: {error}; free disk space and try again"
        ) from error
    finally:
        with contextlib.suppress(*database.database_errors()):
            opened.connection.close()
        with contextlib.suppress(OSError):
            disk_file.remove_with_sides(copy)  # not another window's
        opened.lock.release()
    if new is None:
        return []
    disk_file.remove_backups(path)
    return disk_file.damaged_files(path)


def _in_use(path: Path) -> SparseDoctorError:
    return SparseDoctorError(
        f"the history at {path} is open in another window; close it and try again"
    )


def _copy(source: sqlite3.Connection, copy: Path, passphrase: str | None) -> None:
    """Write everything of `source` into the new file `copy` and see that it is all there."""
    disk_file.prepare(copy)
    target = database.connect(copy, passphrase)
    try:
        with database.transaction(target):
            schema.migrate(target)
            copying.copy_all(source, target, errors=())  # every row, or none
        if _counts(source) != _counts(target):
            raise sqlite3.DatabaseError("the copy is not complete")
        if target.execute("PRAGMA integrity_check (1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("the copy is damaged")
        target.execute("PRAGMA journal_mode = DELETE").fetchone()
    finally:
        target.close()


def _take_place(copy: Path, path: Path, *, plain: bool, encrypted: bool) -> None:
    """Put `copy` in the place of `path` (`plain`: not encrypted so far).

    The marker is there whenever the file is encrypted.
    """
    marker = disk_file.marker(path)
    if encrypted:
        marker.touch(mode=0o600)
    old = None
    try:
        # No connection of this process is open any more, so that the files may be opened by hand.
        with copy.open("rb+") as file:
            os.fsync(file.fileno())
        # Windows replaces no file that is open; there old blocks stay until they are used again.
        if plain and sys.platform != "win32":
            old = path.open("rb+")
        os.replace(copy, path)
        disk_file.sync_folder(path.parent)
        if old:
            _overwrite(old.fileno())
    except OSError:
        if plain:
            marker.unlink(missing_ok=True)
        raise
    finally:
        if old:
            old.close()
    if not encrypted:
        marker.unlink(missing_ok=True)


def _overwrite(descriptor: int) -> None:
    """Zeros over the old plain file, which has no name any more. A file system or a disk that
    writes elsewhere (copy on write, SSD) may keep the old blocks for a while."""
    with contextlib.suppress(OSError):
        left = os.fstat(descriptor).st_size
        os.lseek(descriptor, 0, os.SEEK_SET)
        while left > 0:
            left -= os.write(descriptor, bytes(min(left, _BLOCK)))
        os.fsync(descriptor)


def _counts(connection: sqlite3.Connection) -> tuple[int, ...]:
    row = connection.execute(
        "SELECT (SELECT count(*) FROM conversation), (SELECT count(*) FROM message),"
        " (SELECT coalesce(sum(length(text)), 0) FROM message)"
    ).fetchone()
    return tuple(row)
