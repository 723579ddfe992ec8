"""CMExam (williamliujl/CMExam): CSV with `Question,Options,Answer,Explanation`.

`Options` holds one option a line, "A text". `test_with_annotations.csv` adds five annotations;
their column names differ between the files in circulation, hence the synonyms below.
"""

from __future__ import annotations

import re
from pathlib import Path

from sparsedoctor.train.evaluate.loaders.files import find_file, numbered, read_table
from sparsedoctor.train.evaluate.questions import Question, QuestionSet, letter_set

PUBLISHED = "https://github.com/williamliujl/CMExam (data/)"
TEST_FILES = ("data/test_with_annotations.csv", "data/test.csv")
VAL_FILE = "data/val.csv"
SIZE = 6_811
ANNOTATIONS = {
    "disease_group": ("Disease Group", "ICD-11 Group", "ICD-11"),
    "clinical_department": ("Clinical Department", "Clinical department", "Subject"),
    "medical_discipline": ("Medical Discipline", "Discipline", "一级标签"),
    "competency": ("Area of Competency", "Competency", "Ability"),
    "difficulty": ("Difficulty level", "Difficulty Level", "Difficulty"),
}
_OPTION = re.compile(r"^\s*([A-Z])[\s.．、:：)）]\s*(.*?)\s*$")


def load_cmexam(data: Path, benchmark: str = "cmexam") -> QuestionSet:
    """Read the test file (or the CSV that `data` is)."""
    path = find_file(data, TEST_FILES, "CMExam's test_with_annotations.csv", PUBLISHED)
    questions, skipped = _read(path)
    caveats = []
    if len(questions) + len(skipped) != SIZE:
        caveats.append(f"{len(questions)} questions, not the {SIZE:,} of CMExam's test split")
    return QuestionSet(questions, _val(data, path), [str(path)], skipped, caveats)


def parse_options(text: str) -> dict[str, str]:
    """Options by letter; a line without a letter continues the option above it."""
    options: dict[str, str] = {}
    last = ""
    for line in text.split("\n"):
        match = _OPTION.match(line)
        if match and match[1] == chr(ord("A") + len(options)):
            last = match[1]
            options[last] = match[2]
        elif last and line.strip():
            options[last] = f"{options[last]} {line.strip()}".strip()
    return {letter: body for letter, body in options.items() if body}


def _read(path: Path) -> tuple[list[Question], list[str]]:
    questions, skipped = [], []
    for number, row in numbered(read_table(path, ("Question", "Options", "Answer"))):
        options = parse_options(row["Options"])
        answer = letter_set(re.sub(r"[^A-Z]", "", row["Answer"]))
        if not row["Question"].strip() or len(options) < 2:
            skipped.append(f"row {number}: fewer than two options")
            continue
        if not answer or not set(answer) <= set(options):
            skipped.append(f"row {number}: the key {row['Answer'] or '(none)'} names no option")
            continue
        labels = {
            name: next((row[column] for column in columns if row.get(column)), "")
            for name, columns in ANNOTATIONS.items()
        }
        labels = {name: value.strip() for name, value in labels.items() if value.strip()}
        questions.append(
            Question(
                id=f"cmexam-{number}",
                text=row["Question"].strip(),
                options=options,
                answer=answer,
                subject=labels.get("medical_discipline", "CMExam"),
                language="zh",
                multiple=len(answer) > 1,
                explanation=row.get("Explanation", "").strip(),
                labels=labels,
            )
        )
    return questions, skipped


def _val(data: Path, path: Path) -> list[Question]:
    folder = data if data.is_dir() else path.parent
    for candidate in (folder / VAL_FILE, folder / Path(VAL_FILE).name):
        if candidate.is_file() and candidate != path:
            return _read(candidate)[0]
    return []
