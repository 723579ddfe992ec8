"""The tables, and how an older history becomes a newer one.

    conversation 1 ── n message 1 ── 0..1 words

`words` is a full-text index of three-character pieces over the folded text of every finished
message (search.py); its rowid is the message's number. `upkeep` holds work to be finished at the
next start. `PRAGMA user_version` counts the migrations; `application_id` says the file is ours.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

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
    """0 for an empty file. Raises NotOurs for somebody else's database."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables or version:
            raise NotOurs
    return int(version)


def migrate(
    connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS
) -> None:
    """Bring the tables up to date, inside the caller's transaction."""
    for statements in migrations[version_of(connection) :]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(migrations)}")
