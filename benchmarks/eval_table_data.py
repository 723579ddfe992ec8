"""The training files of `eval_table.py`, without what is asked in its benchmarks."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from eval_table_rows import Track

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.data.formats import read_examples
from sparsedoctor.train.data.overlap import exclude_overlap
from sparsedoctor.train.evaluate.journal import write_text
from sparsedoctor.train.evaluate.prompts import WORDINGS, cloze_for


def clean_training(track: Track, data: Path, folder: Path) -> list[Path]:
    """The training files without the rows that hold a test question, as JSON lines.

    Exam questions in the form of the track.
    """
    cleaned = [folder / Path(name).name.removesuffix(".gz") for name in track.training]
    if all(path.is_file() for path in cleaned):
        return cleaned
    evaluation = [data / path for _, path in dict.fromkeys((*track.benchmarks, track.loss))]
    # A folder of subjects stands for its test files.
    evaluation = [path / "test" if path.is_dir() else path for path in evaluation]
    for name, target in zip(track.training, cleaned, strict=True):
        source = data / name
        if not source.is_file():
            raise SparseDoctorError(f"there is no training file {source}; see docs/data.md")
        overlap = exclude_overlap(read_examples(source), evaluation)
        print(f"{source.name}: {overlap.report()}")
        left_out = {excluded.example.line for excluded in overlap.excluded}
        with gzip.open(source, "rt", encoding="utf-8") as file:
            lines = [line for number, line in enumerate(file, 1) if number not in left_out]
        if track.form != "whole":
            form = letters_only if track.form == "letters" else cloze
            rows = form(row for row in map(json.loads, lines) if len(row["answer"]) == 1)
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        write_text(target, "".join(lines))
    return cleaned


def cloze(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Questions with the text of their right option as the answer, as `--candidates cloze` asks."""
    for row in rows:
        answer = WORDINGS[cloze_for("zh")].lead + row["options"][row["answer"]]
        yield {"question": row["question"], "answer": answer}


def letters_only(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Questions without their explanations, which name letters.

    Options are turned round by a random number of places, so that no letter is right more often
    than others: a training of few steps would learn that first.
    """
    draw = random.Random(1)
    for row in rows:
        row.pop("explanation", None)
        letters, texts = list(row["options"]), list(row["options"].values())
        turned = draw.randrange(len(letters))
        right = (letters.index(row["answer"]) - turned) % len(letters)
        row["options"] = dict(zip(letters, texts[turned:] + texts[:turned], strict=True))
        row["answer"] = letters[right]
        yield row
