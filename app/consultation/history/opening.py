"""Opening the file of a history: check it, mend what a crash left, give a plain way out.

prepare ─▶ lock ─▶ connect ─▶ quick_check ─▶ newest tables ─▶ end abandoned answers
                                  │damaged         │older
                                  ▼                ▼
                        keep aside, begin anew   copy, migrate
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

from sparsedoctor.app.consultation.history import copying, database, disk_file, schema, tables
from sparsedoctor.app.consultation.history.disk_file import KeeperLock
from sparsedoctor.app.consultation.history.notices import HistoryNotice, Trouble
from sparsedoctor.app.consultation.history.writers import is_alive
from sparsedoctor.core.errors import SparseDoctorError

KEEPER_SECONDS = 2.0  # to wait for another window that is mending the file


class PassphraseNeeded(SparseDoctorError):
    """The history is encrypted and no passphrase was given."""


class Unusable(Exception):
    """The file cannot be used now; the conversation goes on in memory."""

    def __init__(self, notice: HistoryNotice) -> None:
        super().__init__(str(notice))
        self.notice = notice


@dataclass(slots=True)
class Opened:
    """A history ready for use. Whoever has it closes the connection and releases the lock."""

    connection: sqlite3.Connection
    lock: KeeperLock
    notices: list[HistoryNotice] = field(default_factory=list)


class _Damaged(Exception):
    pass


class _Older(Exception):
    pass


def open_file(path: Path, passphrase: str | None, now: str) -> Opened:
    """Open the history at `path`, making it if absent.

    Raises Unusable when it cannot be read or written now, SparseDoctorError (PassphraseNeeded,
    WrongPassphrase) when the person can put it right.
    """
    try:
        disk_file.prepare(path)
    except OSError as error:
        raise Unusable(_explain_system(error, path)) from error
    lock = KeeperLock(path)
    opened: Opened | None = None
    try:
        opened = _open_locked(path, passphrase, lock)
        _recover(opened.connection, now)
        return opened
    except BaseException as error:
        if opened is not None:
            opened.connection.close()
        lock.release()
        if isinstance(error, database.database_errors()):
            raise Unusable(database.explain(error, path)) from error
        raise


def read_into(target: sqlite3.Connection, path: Path, passphrase: str | None) -> None:
    """Copy what can be read of a file that cannot be written; nothing when nothing can."""
    errors = database.database_errors()
    lock = KeeperLock(path)
    try:
        if not lock.share(0):
            return  # another window replaces the file; a reader would stand in its way
        source = database.connect_read_only(path, passphrase)
        with contextlib.closing(source), contextlib.suppress(*errors, schema.NotOurs):
            if schema.version_of(source) == schema.VERSION:
                with database.transaction(target):
                    copying.copy_all(source, target, errors)
    except errors + (SparseDoctorError, ValueError):  # noqa: RUF005 (mypy cannot follow *)
        return
    finally:
        lock.release()


def _open_locked(path: Path, passphrase: str | None, lock: KeeperLock) -> Opened:
    if not lock.share(KEEPER_SECONDS):
        raise Unusable(HistoryNotice(Trouble.LOCKED, {"path": str(path)}))
    with contextlib.suppress(OSError):
        disk_file.remove_unfinished(path)  # nobody converts while the lock is shared
    notices: list[HistoryNotice] = []
    try:
        return Opened(_checked(path, passphrase, lock, notices), lock, notices)
    except (_Damaged, _Older) as reason:
        if not lock.alone(KEEPER_SECONDS):
            return Opened(_mended(path, passphrase, lock, notices, reason), lock, notices)
    # Alone now, but another program may have mended the file in between: look again.
    try:
        connection = _checked(path, passphrase, lock, notices)
    except _Damaged:
        connection = _begin_anew(path, passphrase, notices)
    except _Older:
        connection = _connect(path, passphrase, lock, notices)
        _migrate(connection, path)
    _share_again(lock, connection, path)
    return Opened(connection, lock, notices)


def _share_again(lock: KeeperLock, connection: sqlite3.Connection, path: Path) -> None:
    """Let others in again. Raises Unusable where one was quicker and has the file alone: it may
    put another file in its place, and what is written by `connection` would be lost."""
    if not lock.share(0):
        connection.close()
        raise Unusable(HistoryNotice(Trouble.LOCKED, {"path": str(path)}))


def _mended(
    path: Path,
    passphrase: str | None,
    lock: KeeperLock,
    notices: list[HistoryNotice],
    reason: _Damaged | _Older,
) -> sqlite3.Connection:
    """What the other window that has the file made of it meanwhile. Raises Unusable where that
    one merely uses it."""
    trouble = Trouble.DAMAGED_IN_USE if isinstance(reason, _Damaged) else Trouble.LOCKED
    if lock.share(KEEPER_SECONDS):
        with contextlib.suppress(_Damaged, _Older):
            return _checked(path, passphrase, lock, notices)
    raise Unusable(HistoryNotice(trouble, {"path": str(path)})) from reason


def _checked(
    path: Path, passphrase: str | None, lock: KeeperLock, notices: list[HistoryNotice]
) -> sqlite3.Connection:
    """A connection to an undamaged history with the newest tables."""
    try:
        connection = _connect(path, passphrase, lock, notices)
    except UnicodeDecodeError as error:  # SQLite's complaint quotes what is damaged
        raise _Damaged from error
    except database.database_errors() as error:
        if database.is_damage(error):
            raise _Damaged from error
        raise
    try:
        version = schema.version_of(connection)
        if version > schema.VERSION:
            raise Unusable(HistoryNotice(Trouble.NEWER, {"path": str(path)}))
        if version < 0 or connection.execute("PRAGMA quick_check (1)").fetchone() != ("ok",):
            raise _Damaged
        if 0 < version < schema.VERSION:
            raise _Older
        if version == 0:
            with database.transaction(connection):
                schema.migrate(connection)
        elif not schema.is_whole(connection):
            raise _Damaged
        return connection
    except BaseException as error:
        connection.close()
        if isinstance(error, schema.NotOurs):
            raise SparseDoctorError(
                f"{path} is a database of another program; name another file for the history"
            ) from error
        if isinstance(error, UnicodeDecodeError):
            raise _Damaged from error
        if isinstance(error, database.database_errors()) and database.is_damage(error):
            raise _Damaged from error
        raise


def _connect(
    path: Path, passphrase: str | None, lock: KeeperLock, notices: list[HistoryNotice]
) -> sqlite3.Connection:
    """Plain or encrypted, as the file is: the marker decides, and mistakes of it are put right."""
    marker = disk_file.marker(path)
    if marker.exists():
        if passphrase is None:
            raise PassphraseNeeded(f"the history at {path} is encrypted; give its passphrase")
        try:
            return database.connect(path, passphrase)
        except database.WrongPassphrase:
            # A conversion ended between marking and replacing? Looking needs to be alone:
            # closing a plain connection would drop the locks of an encrypted one.
            connection = _plain_after_all(path) if lock.alone(0) else None
            if connection is None:
                raise
            marker.unlink(missing_ok=True)
            _share_again(lock, connection, path)
    else:
        try:
            connection = database.connect(path)
        except database.database_errors() as error:
            if passphrase is None or not database.is_damage(error):
                raise
            connection = database.connect(path, passphrase)
            marker.touch(mode=0o600)  # the file was copied here without it
            return connection
        if passphrase is None:
            return connection
    notices.append(HistoryNotice(Trouble.NOT_ENCRYPTED, {"path": str(path)}))
    return connection


def _plain_after_all(path: Path) -> sqlite3.Connection | None:
    try:
        return database.connect(path)
    except database.database_errors():
        return None


def _begin_anew(
    path: Path, passphrase: str | None, notices: list[HistoryNotice]
) -> sqlite3.Connection:
    """Keep the damaged file aside, begin a new one, take over what can still be read."""
    encrypted = disk_file.marker(path).exists()
    aside = disk_file.set_aside(path)
    notices.append(HistoryNotice(Trouble.DAMAGED, {"aside": str(aside)}))
    disk_file.prepare(path)
    if encrypted:
        disk_file.marker(path).touch(mode=0o600)
    connection = database.connect(path, passphrase if encrypted else None)
    try:
        with database.transaction(connection):
            schema.migrate(connection)
        rescued = _rescue(aside, passphrase if encrypted else None, connection)
    except BaseException:
        connection.close()
        raise
    if rescued:
        notices.append(HistoryNotice(Trouble.RESCUED, {"count": str(rescued)}))
    return connection


def _rescue(aside: Path, passphrase: str | None, target: sqlite3.Connection) -> int:
    """Messages copied out of a damaged file: none, some or all of them."""
    errors = database.database_errors()
    try:
        source = database.connect_read_only(aside, passphrase)
    except errors + (SparseDoctorError, ValueError):  # noqa: RUF005
        return 0
    with (
        contextlib.closing(source),
        contextlib.suppress(*errors, ValueError, TypeError),
        database.transaction(target),
    ):
        return copying.copy_all(source, target, errors)
    return 0


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """To the newest tables; a copy of the old ones stays until something is deleted."""
    backup = disk_file.backup_path(path, schema.VERSION)
    try:
        os.close(os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        connection.execute("VACUUM INTO ?", (str(backup),))
        with database.transaction(connection):
            schema.migrate(connection)
    except OSError as error:
        connection.close()
        raise Unusable(_explain_system(error, path)) from error
    except BaseException:
        connection.close()
        raise


def _recover(connection: sqlite3.Connection, now: str) -> None:
    """End the answers whose program is gone. Also shows whether the file can be written."""
    with database.transaction(connection):
        gone = [w for w in tables.growing_writers(connection) if not is_alive(w)]
        tables.end_abandoned(connection, gone, now)


def _explain_system(error: OSError, path: Path) -> HistoryNotice:
    values = {"path": str(path), "detail": error.strerror or str(error)}
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return HistoryNotice(Trouble.DISK_FULL, values)
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return HistoryNotice(Trouble.READ_ONLY, values)
    return HistoryNotice(Trouble.FAILED, values)
