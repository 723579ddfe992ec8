"""The tables, and how an older history becomes a newer one.

    conversation 1 ── n message 1 ── 0..1 words

`words` is a full-text index of three-character pieces over the folded text of every finished
message (search.py); its rowid is the message's number. `upkeep` holds work to be finished at the
next start. `PRAGMA user_version` counts the migrations; `application_id` says the file is ours.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from sparsedoctor.app.consultation.history.database import database_errors

APPLICATION_ID = 0x53446F63  # "SDoc"

# Migration n takes a history from version n to n + 1. They are history themselves: add, never edit.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE conversation (
            id TEXT PRIMARY KEY,
            title TEXT NOT NULL DEFAULT '',
            created TEXT NOT NULL,
            updated TEXT NOT NULL,
            pinned INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1)),
            parent TEXT REFERENCES conversation (id) ON DELETE SET NULL,
            branched_at TEXT,
            language TEXT NOT NULL DEFAULT '',
            model TEXT NOT NULL DEFAULT '',
            model_sha256 TEXT NOT NULL DEFAULT '',
            intake TEXT NOT NULL DEFAULT '{}'
        )
        """,
        """
        CREATE TABLE message (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            conversation TEXT NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
            role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
            text TEXT NOT NULL,
            created TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('streaming', 'done', 'cancelled', 'error')),
            error TEXT NOT NULL DEFAULT '',
            generation TEXT NOT NULL DEFAULT '{}',
            routing TEXT NOT NULL DEFAULT '[]',
            assessment TEXT NOT NULL DEFAULT '{}',
            writer TEXT NOT NULL DEFAULT ''
        )
        """,
        "CREATE INDEX message_of_conversation ON message (conversation, number)",
        "CREATE INDEX message_growing ON message (status) WHERE status = 'streaming'",
        "CREATE VIRTUAL TABLE words USING fts5 (text, tokenize = 'trigram case_sensitive 1')",
        "CREATE TABLE upkeep (task TEXT PRIMARY KEY)",
    ),
)

VERSION = len(MIGRATIONS)


class NotOurs(Exception):
    """A database that another program made."""


def version_of(connection: sqlite3.Connection) -> int:
    """0 for an empty file, -1 for our tables in a file whose header is damaged.

    Raises NotOurs for somebody else's database.
    """
    with _one_moment(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if application == APPLICATION_ID and version > 0:
        return int(version)
    if not names and not version and not application:
        return 0
    if {"conversation", "message", "upkeep"} <= names:
        return -1
    raise NotOurs


@contextlib.contextmanager
def _one_moment(connection: sqlite3.Connection) -> Iterator[None]:
    """Read everything inside as it was at one moment: another program may be making the tables."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        with contextlib.suppress(*database_errors()):  # some failures have ended it already
            connection.execute("ROLLBACK")


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables up to date, inside the caller's transaction."""
    for statements in MIGRATIONS[version_of(connection) :]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def is_whole(connection: sqlite3.Connection) -> bool:
    """Whether the tables of the newest version are defined as they should be.

    SQLite's own check does not notice a damaged byte in the text of a definition.
    """
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        migrate(model)
        return _definitions(connection) == _definitions(model)


def _definitions(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    # the tables inside an index (words_data, ...) are the affair of SQLite's version
    return connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'words@_%'"
        " ESCAPE '@' ORDER BY name"
    ).fetchall()
