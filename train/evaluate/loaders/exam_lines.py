"""MedQA (jind11/MedQA), MedMCQA (medmcqa/medmcqa) and exam questions as JSON lines.

MedQA: `question`, `options` {letter: text}, `answer` (the text) and `answer_idx` (the letter).
MedMCQA: `question`, `opa` to `opd`, `cop` (the right one), `subject_name`, `exp`. The authors count
`cop` from 1, the copy on the hub from 0: told apart by the values that occur.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.evaluate.loaders.files import find_file, numbered, read_records, text_of
from sparsedoctor.train.evaluate.questions import Language, Question, QuestionSet, letter_set

MEDQA_PUBLISHED = "https://github.com/jind11/MedQA (data_clean, a link on that page)"
MEDMCQA_PUBLISHED = "https://github.com/medmcqa/medmcqa (a link on that page)"
MEDQA_FILES = {
    "medqa-zh": (
        "data_clean/questions/Mainland/4_options/test.jsonl",
        "data_clean/questions/Mainland/test.jsonl",
        "questions/Mainland/4_options/test.jsonl",
        "medqa_zh_test.jsonl",
    ),
    "medqa-us": (
        "data_clean/questions/US/4_options/phrases_no_exclude_test.jsonl",
        "data_clean/questions/US/test.jsonl",
        "questions/US/4_options/phrases_no_exclude_test.jsonl",
        "medqa_us_test.jsonl",
    ),
}
MEDQA_SIZES = {"medqa-zh": 3_426, "medqa-us": 1_273}
MEDMCQA_FILES = ("dev.json", "data/dev.json", "medmcqa_dev.jsonl")
MEDMCQA_SIZE = 4_183
_CHOICES = ("opa", "opb", "opc", "opd")


def load_medqa(data: Path, benchmark: str) -> QuestionSet:
    """Read MedQA's test split, Mainland China (`medqa-zh`) or United States (`medqa-us`)."""
    path = find_file(data, MEDQA_FILES[benchmark], f"the test file of {benchmark}", MEDQA_PUBLISHED)
    language: Language = "zh" if benchmark == "medqa-zh" else "en"
    return load_exam_lines(path, prefix=benchmark, language=language, size=MEDQA_SIZES[benchmark])


def load_medmcqa(data: Path, benchmark: str = "medmcqa") -> QuestionSet:
    """Read MedMCQA's dev split: the key of its test split is not public."""
    path = find_file(data, MEDMCQA_FILES, "MedMCQA's dev.json", MEDMCQA_PUBLISHED)
    return load_exam_lines(path, prefix="medmcqa", language="en", size=MEDMCQA_SIZE)


def load_exam_lines(path: Path, *, prefix: str, language: Language, size: int) -> QuestionSet:
    """Read JSON lines of any of the layouts above; `size` is the number its authors publish."""
    rows = read_records(path)
    if rows and "cop" in rows[0]:
        rows = _from_medmcqa(rows)
    questions, skipped = [], []
    for number, row in numbered(rows):
        question = _question(row, number, path, prefix, language)
        if question is None:
            skipped.append(f"line {number}: the key names no option")
        else:
            questions.append(question)
    if not questions:
        raise SparseDoctorError(f"{path} holds no question with options and a key")
    caveats = []
    if len(rows) != size:
        caveats.append(f"{len(rows)} questions, not the {size:,} that its authors publish")
    return QuestionSet(
        questions, _split_for_shots(path, prefix, language), [str(path)], skipped, caveats
    )


def _question(
    row: Mapping[str, Any], number: int, path: Path, prefix: str, language: Language
) -> Question | None:
    listed = row.get("options")
    if isinstance(listed, list):  # [{"key": "A", "value": "..."}], as some copies have it
        listed = {item.get("key"): item.get("value") for item in listed if isinstance(item, dict)}
    if not isinstance(listed, dict) or not text_of(row, "question"):
        raise SparseDoctorError(f"{path}, line {number}: no question or options")
    options = {str(letter): text_of(listed, letter) for letter in sorted(listed, key=str)}
    answer = _key(row, options)
    if answer is None:
        return None
    identity = text_of(row, "id") or f"{prefix}-{number}"
    return Question(
        id=identity,
        text=text_of(row, "question"),
        options=options,
        answer=answer,
        subject=text_of(row, "subject") or text_of(row, "meta_info") or prefix,
        language=language,
        multiple=len(answer) > 1,
        explanation=text_of(row, "explanation") or text_of(row, "exp"),
    )


def _key(row: Mapping[str, Any], options: Mapping[str, str]) -> str | None:
    """The letters of the key: `answer_idx`, or `answer` as letters or as an option's text."""
    for name in ("answer_idx", "answer"):
        given = text_of(row, name)
        if given and set(given) <= set(options):
            return letter_set(given)
    texts = [letter for letter, text in options.items() if text == text_of(row, "answer")]
    return texts[0] if len(texts) == 1 else None


def _from_medmcqa(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    marks = [_mark(row) for row in rows]
    first = 0 if 0 in marks else 1
    letters = "ABCD"
    return [
        {
            "id": text_of(row, "id"),
            "question": row.get("question"),
            "options": {
                letter: text_of(row, choice)
                for letter, choice in zip(letters, _CHOICES, strict=True)
            },
            "answer_idx": letters[mark - first : mark - first + 1] if mark >= first else "",
            "subject": text_of(row, "subject_name"),
            "explanation": text_of(row, "exp"),
        }
        for row, mark in zip(rows, marks, strict=True)
    ]


def _mark(row: Mapping[str, Any]) -> int:
    """`cop` as a number; -1 where it is absent (as in the test split) or no whole number."""
    given = text_of(row, "cop")
    return int(given) if given.isdecimal() else -1


def _split_for_shots(path: Path, prefix: str, language: Language) -> list[Question]:
    """The dev (or, for MedMCQA, train) split beside a test file, where it is at hand."""
    for old, new in (("test", "dev"), ("dev", "train")):
        other = path.with_name(path.name.replace(old, new))
        if other != path and other.is_file():
            rows = read_records(other)
            if rows and "cop" in rows[0]:
                rows = _from_medmcqa(rows)
            found = (
                _question(row, number, other, f"{prefix}-{new}", language)
                for number, row in numbered(rows)
            )
            return [question for question in found if question is not None]
    return []
