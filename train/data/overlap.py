"""Leaving out of training what an evaluation asks.

Two questions are the same when their normalised words are (exam questions with their options,
in any order), or when they share a run of 13 words; a Chinese character counts as a word.
Thirteen is the length that language-model reports commonly use for this check. Answers are not
compared: reference texts share whole sentences without giving a question away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.data.example import Example, Turn
from sparsedoctor.train.data.formats import to_example
from sparsedoctor.train.data.records import Record, read_records
from sparsedoctor.train.evaluate.overlap import ngrams, words

RUN = 13  # words


@dataclass(frozen=True, slots=True)
class Excluded:
    example: Example
    reason: Literal["the same question", "13 words in a row"]
    evaluation: str  # file and line of the evaluation question


@dataclass(frozen=True, slots=True)
class Overlap:
    kept: list[Example]
    excluded: list[Excluded]

    def report(self) -> str:
        """What was left out and why, for a person."""
        total = len(self.kept) + len(self.excluded)
        if not self.excluded:
            return f"none of {total:,} examples overlaps with the evaluation files"
        reasons = Counter(excluded.reason for excluded in self.excluded)
        counted = ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items()))
        lines = [f"{len(self.excluded):,} of {total:,} examples overlap with evaluation: {counted}"]
        for excluded in self.excluded[:5]:
            example = excluded.example
            lines.append(
                f"  {Path(example.source).name}, {example.line}: {_short(example.asked)} "
                f"({excluded.reason}: {excluded.evaluation})"
            )
        if len(self.excluded) > 5:
            lines.append(f"  and {len(self.excluded) - 5:,} more")
        return "\n".join(lines)


def exclude_overlap(examples: Sequence[Example], evaluation: Iterable[Path]) -> Overlap:
    """`examples` without those that the files of `evaluation` ask as well."""
    same: dict[int, str] = {}
    runs: dict[int, str] = {}
    for path in evaluation:
        for record in read_records(path):
            asked = _asked(record)
            place = f"{record.file.name}, {record.unit} {record.line}"
            same.setdefault(_identity(asked), place)
            for run in _runs(asked):
                runs.setdefault(run, place)
    kept: list[Example] = []
    excluded: list[Excluded] = []
    for example in examples:
        if (twin := same.get(_identity(example))) is not None:
            excluded.append(Excluded(example, "the same question", twin))
            continue
        shared = next((runs[run] for run in _runs(example) if run in runs), None)
        if shared is not None:
            excluded.append(Excluded(example, "13 words in a row", shared))
        else:
            kept.append(example)
    return Overlap(kept, excluded)


def _asked(record: Record) -> Example:
    try:
        return to_example(record.fields, record.place, str(record.file), record.line)
    except SparseDoctorError:
        # An evaluation layout that is no training format (cases with questions to them): all
        # its text counts.
        text = "\n".join(_strings(record.fields))
        return Example((Turn("user", text),), None, str(record.file), record.line)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


# Hashes instead of the words themselves: an evaluation set has millions of runs.
def _identity(example: Example) -> int:
    options = sorted(" ".join(words(option)) for option in example.options)
    return hash((" ".join(words(example.asked)), *options))


def _runs(example: Example) -> Iterator[int]:
    return map(hash, ngrams(words(example.asked), RUN))


def _short(text: str, length: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 3] + "..."
