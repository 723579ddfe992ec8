"""Texts from JSON lines, plain or gzip'd: what calibration and importance are measured on."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sparsedoctor.core.engine.protocol import Message
from sparsedoctor.core.errors import SparseDoctorError

TEXTS = ("question", "instruction", "text", "input", "Question", "prompt")  # fields of a text
_ANSWERS = ("answer", "output", "response", "Answer")


def json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line's number and object. Raises SparseDoctorError, naming the line."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
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
        question = next((str(row[name]) for name in TEXTS if row.get(name)), "")
        answer = next((str(row[name]) for name in _ANSWERS if row.get(name)), "")
        if question:
            told = [Message("user", question), Message("assistant", answer)]
            found.append(tuple(told if answer else told[:1]))
    if not found:
        raise SparseDoctorError(f"{path} has no line with a text ({', '.join(TEXTS)})")
    return found[:: max(1, len(found) // most)][:most]
