"""Texts from JSON lines, plain or gzip'd: what calibration and importance are measured on."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsedoctor.core.engine.protocol import Message
from sparsedoctor.core.errors import SparseDoctorError

TEXTS = ("question", "instruction", "text", "input", "Question", "prompt")  # fields of a text
_ANSWERS = ("answer", "output", "response", "Answer")
_CHATS = (("messages", "role", "content"), ("conversations", "from", "value"))
KNOWN = (*TEXTS, *(name for name, _, _ in _CHATS))  # what a line may call its text
_ASKING, _ANSWERING = ("user", "human"), ("assistant", "gpt")


def json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line's number and object. Raises SparseDoctorError, naming the line."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise SparseDoctorError(f"{path}, line {number}: no JSON ({error})") from error
                if not isinstance(row, dict):
                    raise SparseDoctorError(f"{path}, line {number}: no JSON object")
                yield number, row
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise SparseDoctorError(f"cannot read {path}: {error}") from error


def read_conversations(path: Path, most: int) -> list[tuple[Message, ...]]:
    """At most `most` questions with their answers, spread evenly over the file; a line without
    an answer is a question alone. Raises SparseDoctorError."""
    found = []
    for _, row in json_objects(path):
        question, answer = question_of(row), _first(row, _ANSWERS) or _said(row, _ANSWERING)
        if question:
            told = [Message("user", question), Message("assistant", answer)]
            found.append(tuple(told if answer else told[:1]))
    if not found:
        raise SparseDoctorError(f"{path} has no line with a text ({', '.join(KNOWN)})")
    return found[:: max(1, len(found) // most)][:most]


def question_of(row: Mapping[str, Any]) -> str:
    """A line's text: of one of TEXTS, or what a person says first in its chat; "" for none."""
    return _first(row, TEXTS) or _said(row, _ASKING)


def _first(row: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((str(row[name]) for name in names if row.get(name)), "")


def _said(row: Mapping[str, Any], speakers: Sequence[str]) -> str:
    """The first message of one of `speakers` in a chat."""
    for name, speaker, words in _CHATS:
        turns = row.get(name)
        for turn in turns if isinstance(turns, list) else ():
            if isinstance(turn, dict) and turn.get(speaker) in speakers and turn.get(words):
                return str(turn[words])
    return ""
