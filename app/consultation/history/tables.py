"""Reading and writing the tables. Every function takes a connection; writers are called inside
a transaction of the caller (history.py), and may be repeated on another connection."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sparsedoctor.app.consultation.history import search
from sparsedoctor.app.consultation.history.interrupted import of_rules, region_of, reviewed
from sparsedoctor.app.consultation.history.records import (
    INTERRUPTED,
    Conversation,
    EndStatus,
    Match,
    Message,
    Role,
    Status,
)

_CONVERSATION = (
    "SELECT id, title, created, updated, pinned, parent, branched_at, language, model,"
    " model_sha256, intake,"
    " (SELECT count(*) FROM message WHERE message.conversation = conversation.id)"
    " FROM conversation"
)
_MESSAGE = (
    "SELECT id, conversation, role, text, created, status, error, generation, routing, assessment"
    " FROM message"
)
COPIED = (  # columns of a message that a copy of it shares
    "id, conversation, role, text, created, status, error, generation, routing, assessment, writer"
)
_TITLE = 40  # characters of the first message


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message on its way into the table."""

    id: str
    conversation: str
    role: Role
    text: str
    created: str
    status: Status = "done"
    generation: Mapping[str, object] = field(default_factory=dict)
    assessment: Mapping[str, object] = field(default_factory=dict)
    writer: str = ""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an answer ends. `text` replaces what grew, otherwise `rest` is appended to it; what is
    None stays as it was."""

    status: EndStatus
    text: str | None = None
    rest: str = ""
    error: str = ""
    generation: Mapping[str, object] | None = None
    routing: Sequence[float] | None = None
    assessment: Mapping[str, object] | None = None


def add_conversation(
    connection: sqlite3.Connection,
    conversation: str,
    now: str,
    *,
    title: str = "",
    language: str = "",
    model: str = "",
    model_sha256: str = "",
    intake: Mapping[str, object] | None = None,
) -> None:
    connection.execute(
        "INSERT INTO conversation (id, title, created, updated, language, model, model_sha256,"
        " intake) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (conversation, title, now, now, language, model, model_sha256, as_json(intake or {})),
    )


def add_message(connection: sqlite3.Connection, message: NewMessage) -> bool:
    """Add a message to its conversation; False when that is gone and an answer cannot follow.

    A person's words are never refused: for them a deleted conversation begins anew.
    """
    there = connection.execute(
        "SELECT title FROM conversation WHERE id = ?", (message.conversation,)
    ).fetchone()
    if there is None:
        if message.role == "assistant":
            return False
        add_conversation(connection, message.conversation, message.created)
    number = connection.execute(
        "INSERT INTO message (id, conversation, role, text, created, status, generation,"
        " assessment, writer) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            message.id,
            message.conversation,
            message.role,
            message.text,
            message.created,
            message.status,
            as_json(message.generation),
            as_json(message.assessment),
            message.writer,
        ),
    ).lastrowid
    if message.status != "streaming" and number is not None:
        search.index(connection, number, message.text)
    title = title_of(message.text) if message.role == "user" else ""
    connection.execute(
        "UPDATE conversation SET updated = ?, title = CASE title WHEN '' THEN ? ELSE title END"
        " WHERE id = ?",
        (message.created, title, message.conversation),
    )
    return True


def grow(connection: sqlite3.Connection, message: str, text: str) -> None:
    """Append `text` to a growing answer; an answer that was deleted meanwhile stays so."""
    connection.execute("UPDATE message SET text = text || ? WHERE id = ?", (text, message))


def finish(connection: sqlite3.Connection, message: str, ending: Ending, now: str) -> None:
    """End an answer; one that was deleted meanwhile stays so."""
    row = connection.execute(
        "SELECT number, text, conversation, generation FROM message WHERE id = ?", (message,)
    ).fetchone()
    if row is None:
        return
    number, grown, conversation, generation = row
    whole = grown + ending.rest if ending.text is None else ending.text
    if ending.error == INTERRUPTED and not of_rules(_mapping(generation)):
        asked = connection.execute(
            "SELECT assessment FROM message WHERE conversation = ? AND role = 'user' AND number < ?"
            " ORDER BY number DESC LIMIT 1",
            (conversation, number),
        ).fetchone()
        whole = reviewed(whole, region_of(_mapping(asked[0])) if asked else "")
    connection.execute(
        "UPDATE message SET text = ?, status = ?, error = ?, writer = '',"
        " generation = coalesce(?, generation), routing = coalesce(?, routing),"
        " assessment = coalesce(?, assessment) WHERE id = ?",
        (
            whole,
            ending.status,
            ending.error,
            None if ending.generation is None else as_json(ending.generation),
            None if ending.routing is None else json.dumps(list(ending.routing)),
            None if ending.assessment is None else as_json(ending.assessment),
            message,
        ),
    )
    search.index(connection, number, whole)
    connection.execute("UPDATE conversation SET updated = ? WHERE id = ?", (now, conversation))


def end_abandoned(connection: sqlite3.Connection, writers: Iterable[str], now: str) -> None:
    """End the answers that these writers, which are gone, left growing."""
    for writer in writers:
        rows = connection.execute(
            "SELECT id FROM message WHERE status = 'streaming' AND writer = ?", (writer,)
        ).fetchall()
        for (message,) in rows:
            finish(connection, message, Ending("error", error=INTERRUPTED), now)


def growing_writers(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT DISTINCT writer FROM message WHERE status = 'streaming'")
    return [writer for (writer,) in rows]


def conversations(
    connection: sqlite3.Connection, condition: str = "TRUE", parameters: Sequence[object] = ()
) -> list[Conversation]:
    """Pinned ones first, then the last used ones."""
    rows = connection.execute(
        f"{_CONVERSATION} WHERE {condition} ORDER BY pinned DESC, updated DESC, id", parameters
    )
    return [
        Conversation(
            id=row[0],
            title=row[1],
            created=row[2],
            updated=row[3],
            pinned=bool(row[4]),
            parent=row[5],
            branched_at=row[6],
            language=row[7],
            model=row[8],
            model_sha256=row[9],
            intake=_mapping(row[10]),
            messages=row[11],
        )
        for row in rows
    ]


def messages(
    connection: sqlite3.Connection, condition: str, parameters: Sequence[object]
) -> list[Message]:
    """In the order in which they were said."""
    rows = connection.execute(f"{_MESSAGE} WHERE {condition} ORDER BY number", parameters)
    return [
        Message(*(*row[:7], _mapping(row[7]), _shares(row[8]), _mapping(row[9]))) for row in rows
    ]


def find(connection: sqlite3.Connection, query: str, limit: int) -> list[Match]:
    """Messages that hold every term of `query`, the newest first."""
    condition, parameters = search.condition(query)
    rows = connection.execute(
        "SELECT message.conversation, conversation.title, message.id, message.role,"
        " message.created, message.text, message.assessment FROM words"
        " JOIN message ON message.number = words.rowid"
        " JOIN conversation ON conversation.id = message.conversation"
        f" WHERE {condition} ORDER BY message.created DESC, message.number DESC LIMIT ?",
        (*parameters, limit),
    )
    found = []
    for row in rows:
        role, text = row[3], row[5]
        if role == "assistant" and not _mapping(row[6]):
            text = reviewed(text, "")  # saved unreviewed by an earlier version
        found.append(Match(*(*row[:5], search.excerpt(text, query))))
    return found


def holding(connection: sqlite3.Connection, query: str) -> set[str]:
    """Conversations with a message that holds every term of `query`."""
    condition, parameters = search.condition(query)
    rows = connection.execute(
        "SELECT DISTINCT message.conversation FROM words"
        f" JOIN message ON message.number = words.rowid WHERE {condition}",
        parameters,
    )
    return {conversation for (conversation,) in rows}


def change(connection: sqlite3.Connection, conversation: str, column: str, value: object) -> None:
    """Set one column of a conversation; `column` is a name of the table, never a person's text."""
    connection.execute(f"UPDATE conversation SET {column} = ? WHERE id = ?", (value, conversation))


def drop_empty(connection: sqlite3.Connection, conversations: Iterable[str]) -> None:
    """Remove those of `conversations` that never got a message."""
    for conversation in conversations:
        connection.execute(
            "DELETE FROM conversation WHERE id = ?1"
            " AND NOT EXISTS (SELECT 1 FROM message WHERE conversation = ?1)",
            (conversation,),
        )


def branch(connection: sqlite3.Connection, message: str, conversation: str, now: str) -> bool:
    """Copy what was said up to `message` into the new `conversation`."""
    row = connection.execute(
        "SELECT number, conversation FROM message WHERE id = ?", (message,)
    ).fetchone()
    if row is None:
        return False
    last, parent = row
    connection.execute(
        "INSERT INTO conversation (id, title, created, updated, parent, branched_at, language,"
        " model, model_sha256, intake) SELECT ?, title, ?, ?, id, ?, language, model,"
        " model_sha256, intake FROM conversation WHERE id = ?",
        (conversation, now, now, message, parent),
    )
    copied = connection.execute(
        "SELECT number, status FROM message WHERE conversation = ? AND number <= ? ORDER BY number",
        (parent, last),
    ).fetchall()
    for number, status in copied:
        copy = connection.execute(
            f"INSERT INTO message ({COPIED}) SELECT lower(hex(randomblob(16))), ?, role, text,"
            " created, status, error, generation, routing, assessment, ''"
            " FROM message WHERE number = ?",
            (conversation, number),
        ).lastrowid
        id, text = connection.execute(
            "SELECT id, text FROM message WHERE number = ?", (copy,)
        ).fetchone()
        if status == "streaming":  # it goes on elsewhere, and there it will be reviewed
            finish(connection, id, Ending("cancelled", error=INTERRUPTED), now)
        else:
            search.index(connection, int(copy or 0), text)
    return True


def delete(connection: sqlite3.Connection, conversation: str | None) -> None:
    """Delete one conversation or all, with every piece of their words in the index."""
    condition, parameters = ("id = ?", (conversation,)) if conversation else ("TRUE", ())
    connection.execute(
        "DELETE FROM words WHERE rowid IN (SELECT number FROM message WHERE conversation IN"
        f" (SELECT id FROM conversation WHERE {condition}))",
        parameters,
    )
    connection.execute(f"DELETE FROM conversation WHERE {condition}", parameters)
    # deleting only marks the pieces in the index as deleted; building it anew leaves them out
    connection.execute("INSERT INTO words (words) VALUES ('rebuild')")
    connection.execute("INSERT OR IGNORE INTO upkeep VALUES ('compact')")


def as_json(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _mapping(text: str) -> dict[str, object]:
    """Empty when it is damaged: what is said beside a message must not hide the message."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(share) for share in json.loads(text))
    except (ValueError, TypeError):
        return ()


def title_of(text: str) -> str:
    """The first line, cut to some 40 characters."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= _TITLE else line[: _TITLE - 1].rstrip() + "…"
