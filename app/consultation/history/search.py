"""Finding words: any piece of text, from one character on, in Chinese as in English.

Text is folded first (full-width forms, case), on both sides. Pieces of three characters and more
are found through the trigram index; shorter ones, as most Chinese words are, by looking through
the folded texts, which a person's whole history is small enough for.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata

EXCERPT = 80  # characters
_INDEXED = 3  # characters in a piece of the index


def folded(text: str) -> str:
    """The form that is searched: NFKC, no case, single spaces."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"\s+", " ", plain).strip()


def index(connection: sqlite3.Connection, number: int, text: str) -> None:
    """Make the message `number` findable by `text`, replacing what was there."""
    connection.execute("DELETE FROM words WHERE rowid = ?", (number,))
    connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (number, folded(text)))


def condition(query: str) -> tuple[str, list[str]]:
    """An SQL condition on `words` that every term of `query` occurs, and its parameters."""
    terms = folded(query).split()
    long = [term for term in terms if len(term) >= _INDEXED]
    short = [term for term in terms if len(term) < _INDEXED]
    clauses = ["instr(words.text, ?) > 0"] * len(short)
    parameters = list(short)
    if long:
        clauses.append("words.text MATCH ?")
        parameters.append(" AND ".join('"' + term.replace('"', '""') + '"' for term in long))
    return " AND ".join(clauses) or "FALSE", parameters


def holds(text: str, query: str) -> bool:
    """Whether every term of `query` occurs in `text`."""
    plain = folded(text)
    terms = folded(query).split()
    return bool(terms) and all(term in plain for term in terms)


def excerpt(text: str, query: str) -> str:
    """About EXCERPT characters of `text` around the first term, on one line."""
    line = re.sub(r"\s+", " ", text).strip()
    if len(line) <= EXCERPT:
        return line
    plain = unicodedata.normalize("NFKC", line).casefold()
    places = [plain.find(term) for term in folded(query).split()]
    found = min((place for place in places if place >= 0), default=0)
    # folding may change lengths a little; an excerpt does not need to be exact
    start = max(0, min(found - EXCERPT // 3, len(line) - EXCERPT))
    end = start + EXCERPT
    return ("…" if start else "") + line[start:end].strip() + ("…" if end < len(line) else "")
