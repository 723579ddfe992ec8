"""CMB (FreedomIntelligence/CMB): the exam questions and the clinical cases.

CMB-Exam test holds questions (`id`, `exam_type`, `exam_class`, `exam_subject`, `question`,
`question_type`, `option`) and, in another file, the key (`id`, `answer`); val and train hold both
in one file, val with explanations. 28 classes of six exam types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.evaluate.loaders.files import (
    MissingFile,
    find_file,
    numbered,
    read_records,
    text_of,
)
from sparsedoctor.train.evaluate.questions import Question, QuestionSet, letter_set

PUBLISHED = (
    "https://huggingface.co/datasets/FreedomIntelligence/CMB and "
    "https://github.com/FreedomIntelligence/CMB (data/CMB.zip)"
)
QUESTIONS = "CMB-Exam/CMB-test/CMB-test-choice-question-merge.json"
KEY = "CMB-test-choice-answer.json"
VAL = "CMB-Exam/CMB-val/CMB-val-merge.json"
TRAIN = "CMB-Exam/CMB-train/CMB-train-merge.json"
CLIN = "CMB-Clin/CMB-Clin-qa.json"
SIZES = {"cmb-exam": 11_200, "cmb-val": 280, "cmb-train": 269_359, "cmb-clin": 74}
_SPLITS = {"cmb-exam": QUESTIONS, "cmb-val": VAL, "cmb-train": TRAIN}
_MULTIPLE = "多项选择题"


def load_cmb_exam(data: Path, benchmark: str = "cmb-exam") -> QuestionSet:
    """Read the test, val or train split (`benchmark` names it), with the key joined by `id`."""
    path = find_file(data, [_SPLITS[benchmark]], f"the {benchmark} file", PUBLISHED)
    rows = read_records(path)
    files = [path]
    if rows and all("answer" not in row and "option" in row for row in rows):
        key_path = _find_key(path)
        files.append(key_path)
        rows = _join(rows, _read_key(key_path), path, key_path)
    questions, skipped = _questions(rows, path)
    caveats = []
    if len(rows) != SIZES[benchmark]:
        caveats.append(
            f"{len(rows)} questions, not the {SIZES[benchmark]:,} of {benchmark}: "
            f"no {benchmark} score"
        )
    if benchmark == "cmb-val":
        caveats.append("CMB-val, 280 questions: not to be reported as CMB")
    return QuestionSet(questions, _val(data, path), list(map(str, files)), skipped, caveats)


def load_cmb_clin(data: Path, benchmark: str = "cmb-clin") -> QuestionSet:
    """Read CMB-Clin: each question of a case follows the case and its earlier questions."""
    path = find_file(data, [CLIN], "CMB-Clin-qa.json", PUBLISHED)
    cases = read_records(path)
    questions, skipped = [], []
    for number, case in numbered(cases):
        pairs = case.get("QA_pairs")
        if (
            not isinstance(pairs, list)
            or not all(isinstance(pair, dict) for pair in pairs)
            or not text_of(case, "description")
        ):
            raise SparseDoctorError(
                f"{path}, case {number}: no description or QA_pairs; this is not CMB-Clin's layout"
            )
        history: list[tuple[str, str]] = []
        for turn, pair in numbered(pairs):
            asked = text_of(pair, "question")
            # The files in circulation call the authors' answer `answer`, their page `solution`.
            reference = text_of(pair, "answer") or text_of(pair, "solution")
            if not asked or not reference:
                skipped.append(f"case {number}, turn {turn}: no question or no answer")
                continue
            if not history:
                asked = f"以下是一位病人的病例：\n{case['description']}\n{asked}"
            questions.append(
                Question(
                    id=f"cmb-clin-{case.get('id', number)}-{turn}",
                    text=asked,
                    options={},
                    answer="",
                    subject=text_of(case, "title"),
                    language="zh",
                    reference=reference,
                    history=tuple(history),
                )
            )
            history.append((asked, reference))
    return QuestionSet(questions, files=[str(path)], skipped=skipped)


def _questions(rows: Sequence[Mapping[str, Any]], path: Path) -> tuple[list[Question], list[str]]:
    questions, skipped, seen = [], [], set()
    for number, row in numbered(rows):
        options = row.get("option")
        if not isinstance(options, dict) or not text_of(row, "question"):
            raise SparseDoctorError(
                f"{path}, entry {number}: no question or option; this is not CMB's layout"
            )
        identity = text_of(row, "id") or f"cmb-{number}"
        listed = {
            str(letter).strip(): str(text).strip()
            for letter, text in options.items()
            if text is not None and str(text).strip()
        }
        answer = letter_set(text_of(row, "answer"))
        if not answer or not set(answer) <= set(listed):
            skipped.append(f"entry {number}: the key {answer or '(none)'} names no listed option")
            continue
        if identity in seen:
            raise SparseDoctorError(f"{path}, entry {number}: the id {identity} comes twice")
        seen.add(identity)
        labels = {name: text_of(row, name) for name in ("exam_type", "exam_class", "exam_subject")}
        kind = text_of(row, "question_type")
        questions.append(
            Question(
                id=identity,
                text=text_of(row, "question"),
                options=dict(sorted(listed.items())),
                answer=answer,
                subject=labels["exam_class"],
                category=labels["exam_type"],
                language="zh",
                multiple=kind == _MULTIPLE or len(answer) > 1,
                explanation=text_of(row, "explanation"),
                labels=labels | {"question_type": kind},
            )
        )
    return questions, skipped


def _find_key(questions: Path) -> Path:
    folders = [questions.parent, *questions.parents[1:4]]
    for folder in [*folders, *(folder / "data" for folder in folders)]:
        if (folder / KEY).is_file():
            return folder / KEY
    raise MissingFile(
        f"{questions} holds questions without their key; its authors publish the key as "
        f"https://github.com/FreedomIntelligence/CMB/blob/main/data/{KEY}: "
        f"put it at {questions.parent / KEY}"
    )


def _read_key(path: Path) -> dict[str, str]:
    return {text_of(row, "id"): text_of(row, "answer") for row in read_records(path)}


def _join(
    rows: Sequence[Mapping[str, Any]], key: Mapping[str, str], path: Path, key_path: Path
) -> list[dict[str, Any]]:
    without = [text_of(row, "id") for row in rows if not key.get(text_of(row, "id"))]
    if len(without) == len(rows):
        raise SparseDoctorError(f"{key_path} has no answer to any question of {path}")
    return [dict(row) | {"answer": key.get(text_of(row, "id"), "")} for row in rows]


def _val(data: Path, path: Path) -> list[Question]:
    """The val split, CMB's source of few-shot examples, where it is at hand."""
    folders = [data] if data.is_dir() else [path.parent, *path.parents[1:3]]
    for folder in folders:
        for name in (VAL, "CMB-val/CMB-val-merge.json", "CMB-val-merge.json"):
            if (folder / name).is_file() and folder / name != path:
                return _questions(read_records(folder / name), folder / name)[0]
    return []
