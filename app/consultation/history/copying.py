"""Copying conversations from one database into another, as far as the source can be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from sparsedoctor.app.consultation.history import search
from sparsedoctor.app.consultation.history.tables import COPIED


def copy_all(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    errors: tuple[type[Exception], ...],
    only: Iterable[str] | None = None,
) -> int:
    """Copy conversations and messages into `target`, replacing those of the same id.

    Takes what can be read: stops a table at the first row that `source` cannot give (`errors`).
    `only` names the conversations to copy. Returns the number of messages copied.
    """
    wanted = None if only is None else set(only)
    parents: list[tuple[str, str]] = []
    columns = (
        "id, title, created, updated, pinned, parent, branched_at, language, model,"
        " model_sha256, intake"
    )
    for row in _readable(source, f"SELECT {columns} FROM conversation", errors):
        if wanted is not None and row[0] not in wanted:
            continue
        if row[5]:
            parents.append((row[0], row[5]))
        target.execute(
            f"INSERT INTO conversation ({columns}) VALUES (?, ?, ?, ?, ?, NULL, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET title = excluded.title, updated = excluded.updated,"
            " pinned = excluded.pinned, intake = excluded.intake",
            (*row[:5], *row[6:]),
        )
    for conversation, parent in parents:
        target.execute(
            "UPDATE conversation SET parent = (SELECT id FROM conversation WHERE id = ?)"
            " WHERE id = ?",
            (parent, conversation),
        )
    copied = 0
    for row in _readable(source, f"SELECT {COPIED} FROM message ORDER BY number", errors):
        if wanted is not None and row[1] not in wanted:
            continue
        copied += _copy_message(target, row)
    return copied


def _copy_message(target: sqlite3.Connection, row: tuple[Any, ...]) -> int:
    """Add or renew one message; 0 when its conversation is not there."""
    known = target.execute("SELECT number FROM message WHERE id = ?", (row[0],)).fetchone()
    if known:
        target.execute(
            "UPDATE message SET text = ?, status = ?, error = ?, generation = ?, routing = ?,"
            " assessment = ?, writer = ? WHERE number = ?",
            (row[3], *row[5:], known[0]),
        )
        number = known[0]
    else:
        there = target.execute("SELECT 1 FROM conversation WHERE id = ?", (row[1],)).fetchone()
        if not there:
            return 0
        marks = ", ".join("?" * len(row))
        number = target.execute(f"INSERT INTO message ({COPIED}) VALUES ({marks})", row).lastrowid
    if row[5] != "streaming":
        search.index(target, number, row[3])
    return 1


def _readable(
    source: sqlite3.Connection, statement: str, errors: tuple[type[Exception], ...]
) -> Iterable[tuple[Any, ...]]:
    try:
        yield from source.execute(statement)
    except errors:
        return
