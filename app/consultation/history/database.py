"""Connections to SQLite, plain or encrypted, set up so that what was committed stays.

WAL lets two programs read and write side by side; `synchronous=FULL` makes a commit survive a
power cut; `secure_delete` overwrites what is deleted; `temp_store=MEMORY` keeps words out of
temporary files.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import sys
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from sparsedoctor.app.consultation.history.notices import HistoryNotice, Trouble
from sparsedoctor.core.errors import SparseDoctorError

BUSY_SECONDS = 5.0
_BUSY_TIMEOUT = f"PRAGMA busy_timeout = {round(BUSY_SECONDS * 1000)}"  # milliseconds
_LOOK_AGAIN_SECONDS = (0.001, 0.004)
_CIPHER = "sqlcipher3.dbapi2"
_STORAGE = (
    *("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"),
    *("SQLITE_AUTH", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL", "SQLITE_NOLFS"),
)


class WrongPassphrase(SparseDoctorError):
    """The passphrase does not open the history."""


def memory() -> sqlite3.Connection:
    """A database that never touches the disk."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    _set_up(connection)
    return connection


def connect(path: Path, passphrase: str | None = None) -> sqlite3.Connection:
    """Open the existing file `path` for reading and writing.

    With a passphrase the file is SQLCipher's. Raises the errors of `database_errors()`, and
    WrongPassphrase when the passphrase does not fit.
    """
    uri = f"{path.absolute().as_uri()}?mode=rw"
    if passphrase is None:
        plain = sqlite3.connect(
            uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        return _ready(plain)
    encrypted = _cipher_connect(uri)
    _unlock(encrypted, passphrase, path)
    return _ready(encrypted)


def connect_read_only(path: Path, passphrase: str | None = None) -> sqlite3.Connection:
    """Open `path` without writing anything, also where SQLite's side files cannot be made."""
    for mode in ("mode=ro", "mode=ro&immutable=1"):
        uri = f"{path.absolute().as_uri()}?{mode}"
        if passphrase is None:
            connection = sqlite3.connect(
                uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        else:
            connection = _cipher_connect(uri)
        try:
            if passphrase is not None:
                _unlock(connection, passphrase, path)
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            connection.text_factory = _readable
        except database_errors():
            connection.close()
            if "immutable" in mode:
                raise
        else:
            return connection
    raise AssertionError("unreachable")


def cipher_available() -> None:
    """Raises SparseDoctorError, saying what to install, when SQLCipher is not."""
    try:
        import sqlcipher3  # noqa: F401
    except ImportError as error:
        raise SparseDoctorError(
            'an encrypted history needs an extra: pip install "sparsedoctor[encrypt]"'
        ) from error


def quoted(passphrase: str) -> str:
    """The passphrase as an SQL string, because PRAGMA takes no parameters.

    Composed characters (NFC), so that every keyboard gives the same key. Raises
    SparseDoctorError for what cannot be a passphrase: SQLCipher takes an empty one for "plain".
    """
    text = unicodedata.normalize("NFC", passphrase)
    if not text or "\0" in text:
        raise SparseDoctorError("a passphrase cannot be empty or hold a NUL; choose another")
    return "'" + text.replace("'", "''") + "'"


def _cipher_connect(uri: str) -> sqlite3.Connection:
    """A connection of SQLCipher's own SQLite; the same interface, another class."""
    cipher_available()
    from sqlcipher3 import dbapi2

    connection = dbapi2.connect(
        uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    return cast(sqlite3.Connection, connection)


def _unlock(connection: sqlite3.Connection, passphrase: str, path: Path) -> None:
    """Give SQLCipher the passphrase and see that it fits; closes the connection if not."""
    try:
        key = quoted(passphrase)
        # SQLCipher writes its complaints to file descriptor 2, through any screen drawn there
        connection.execute("PRAGMA cipher_log_level = NONE").fetchall()
        connection.execute(f"PRAGMA key = {key}").fetchall()
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException as error:
        connection.close()
        if isinstance(error, database_errors()) and is_damage(error):
            raise WrongPassphrase(
                f"this passphrase does not open the history at {path}; try again"
            ) from error
        raise


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Everything inside is committed together, or not at all."""
    _in_turn(connection, "BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has already rolled back after some failures (full disk)
        if connection.in_transaction:
            with contextlib.suppress(*database_errors()):
                connection.execute("ROLLBACK")
        raise


def _in_turn(connection: sqlite3.Connection, statement: str) -> None:
    """Run a statement that needs the file for itself, after at most BUSY_SECONDS of others' use.

    SQLite itself looks again only every 100 ms. Where a commit takes that long (a slow disk), two
    other windows that write in turn leave gaps too short to be met that way, and one would starve.
    For the change to WAL it does not wait at all: of two programs that begin a file in the same
    moment, one would be refused.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    connection.execute("PRAGMA busy_timeout = 0").fetchall()
    try:
        while True:
            try:
                connection.execute(statement).fetchall()
                return
            except database_errors() as error:
                if not _name(error).startswith("SQLITE_BUSY") or time.monotonic() >= deadline:
                    raise
            time.sleep(random.uniform(*_LOOK_AGAIN_SECONDS))
    finally:
        connection.execute(_BUSY_TIMEOUT).fetchall()


def database_errors() -> tuple[type[Exception], ...]:
    """The error classes of the drivers in use; SQLCipher's is not a subclass of sqlite3's."""
    cipher = sys.modules.get(_CIPHER)
    return (sqlite3.Error, cipher.Error) if cipher else (sqlite3.Error,)


def is_damage(error: Exception) -> bool:
    """Whether the file is not (or no longer) a readable database."""
    return _name(error).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def is_storage(error: Exception) -> bool:
    """Whether the disk or the file is to blame, not the statement."""
    return is_damage(error) or _name(error).startswith(_STORAGE)


def explain(error: Exception, path: Path) -> HistoryNotice:
    """What to tell a person about a failure of the file at `path`."""
    name = _name(error)
    values = {"path": str(path), "detail": str(error)}
    if name.startswith("SQLITE_FULL"):
        return HistoryNotice(Trouble.DISK_FULL, values)
    # SQLite says "cannot open" when its side files cannot be made
    closed = name.startswith("SQLITE_CANTOPEN") and not os.access(path.parent, os.W_OK)
    if closed or name.startswith(("SQLITE_READONLY", "SQLITE_PERM")):
        return HistoryNotice(Trouble.READ_ONLY, values)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return HistoryNotice(Trouble.LOCKED, values)
    return HistoryNotice(Trouble.FAILED, values)


def _ready(connection: sqlite3.Connection) -> sqlite3.Connection:
    try:
        _set_up(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _readable(raw: bytes) -> str:
    """Text as far as it can be read: a damaged letter must not hide the rest."""
    return raw.decode("utf-8", errors="replace")


def _set_up(connection: sqlite3.Connection) -> None:
    connection.text_factory = _readable
    connection.execute(_BUSY_TIMEOUT).fetchall()
    for pragma in (
        "temp_store = MEMORY",
        "secure_delete = ON",
        "foreign_keys = ON",
        "trusted_schema = OFF",
        "synchronous = FULL",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    _in_turn(connection, "PRAGMA journal_mode = WAL")


def _name(error: Exception) -> str:
    return str(getattr(error, "sqlite_errorname", None) or "")
