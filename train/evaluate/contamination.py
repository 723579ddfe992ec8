"""Which training rows hold a benchmark's questions: the same question, or 13 words in a row.

A Chinese character counts as a word. 13 is the length commonly used in language-model reports;
shorter questions are found only when they are the same. Every text of a training row but its
options is compared with the question's text: options repeat across exams.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sparsedoctor.train.data.records import Record, read_records
from sparsedoctor.train.evaluate.benchmarks import Benchmark
from sparsedoctor.train.evaluate.journal import write_json
from sparsedoctor.train.evaluate.overlap import ngrams, spelled, words
from sparsedoctor.train.evaluate.questions import Question

REPORT = "contamination.json"
_SHOWN = 5
_OPTIONS = {"option", "options", "a", "b", "c", "d", "e", "opa", "opb", "opc", "opd"}
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Index:
    """A benchmark's questions by their normalised text, and by their runs of `n` words."""

    n: int
    same: Mapping[tuple[str, ...], str]
    runs: Mapping[tuple[str, ...], str]

    @classmethod
    def of(cls, questions: Sequence[Question], n: int) -> Index:
        same: dict[tuple[str, ...], str] = {}
        runs: dict[tuple[str, ...], str] = {}
        for question in questions:
            asked = words(question.text)
            same.setdefault(tuple(asked), question.id)
            for run in ngrams(asked, n):
                runs.setdefault(run, question.id)
        return cls(n, same, runs)

    def find(self, texts: Sequence[str]) -> tuple[str, str, str] | None:
        """(kind, question's id, what is shared) of the first overlap with any of `texts`."""
        spoken = [words(text) for text in texts]
        for tokens in spoken:
            if tokens and (identity := self.same.get(tuple(tokens))) is not None:
                return "exact", identity, spelled(tokens)
        for tokens in spoken:
            for run in ngrams(tokens, self.n):
                if (identity := self.runs.get(run)) is not None:
                    return f"{self.n}-gram", identity, spelled(run)
        return None


def check_files(
    files: Sequence[Path], benchmark: Benchmark, questions: Sequence[Question], output: Path, n: int
) -> str:
    """Compare, write `contamination.json` into `output`, and return what a person reads."""
    index = Index.of(questions, n)
    tables, rows = [], []
    for file in files:
        read = 0
        found: list[Row] = []
        for record in tqdm(read_records(file), desc=file.name, unit="row", mininterval=0.5):
            read += 1
            overlap = index.find(list(strings_of(record.fields)))
            if overlap is not None:
                found.append(_row(record, *overlap))
        tables.append(_table(file, read, found))
        rows += found
    touched = {row["question"] for row in rows}
    report = {
        "benchmark": benchmark.name,
        "questions": len(questions),
        "questions_touched": len(touched),
        "n": n,
        "files": tables,
        "rows": rows,
    }
    write_json(output / REPORT, report)
    return _told(report, output / REPORT)


def strings_of(value: Any) -> Iterator[str]:
    """Every text inside a record, however deep, without the options of an exam question."""
    if isinstance(value, str):
        yield value
        # Some published files keep a conversation as JSON inside a field.
        if value.startswith(("[", "{")):
            with contextlib.suppress(json.JSONDecodeError):
                yield from strings_of(json.loads(value))
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if str(name).casefold() not in _OPTIONS:
                yield from strings_of(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from strings_of(inner)


def _row(record: Record, kind: str, question: str, shared: str) -> Row:
    return {
        "file": str(record.file),
        "line": record.line,
        "kind": kind,
        "question": question,
        "shared": shared,
    }


def _table(file: Path, read: int, found: Sequence[Row]) -> Row:
    exact = sum(row["kind"] == "exact" for row in found)
    return {"file": str(file), "rows": read, "exact": exact, "ngram": len(found) - exact}


def _told(report: Mapping[str, Any], path: Path) -> str:
    lines = [
        f"{report['benchmark']}: {report['questions_touched']} of {report['questions']} questions "
        "appear in the training files"
    ]
    for table in report["files"]:
        lines.append(
            f"  {Path(table['file']).name}: {table['rows']:,} rows, {table['exact']} with the same "
            f"question, {table['ngram']} with {report['n']} words in a row"
        )
    for row in report["rows"][:_SHOWN]:
        lines.append(
            f"    {Path(row['file']).name}, {row['line']} = {row['question']} ({row['kind']}): "
            f"{row['shared'][:80]}"
        )
    lines.append(f"written: {path}")
    return "\n".join(lines)
