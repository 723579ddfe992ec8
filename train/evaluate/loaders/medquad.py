"""MedQuAD as JSON lines: open questions with the authors' answer, for the loss on answers."""

from __future__ import annotations

from pathlib import Path

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.evaluate.loaders.files import find_file, numbered, read_records, text_of
from sparsedoctor.train.evaluate.questions import Question, QuestionSet

PUBLISHED = "https://github.com/abachaa/MedQuAD"


def load_medquad(data: Path, benchmark: str = "medquad") -> QuestionSet:
    """Read `question`, `answer`, `focus` and `qtype`; answers are kept whole."""
    path = find_file(data, ["medquad_dev.jsonl"], "a MedQuAD JSON lines file", PUBLISHED)
    questions, skipped = [], []
    for number, row in numbered(read_records(path)):
        if "options" in row or "option" in row:
            raise SparseDoctorError(
                f"{path}, line {number}: an exam question with options; name its benchmark instead"
            )
        if not text_of(row, "question") or not text_of(row, "answer"):
            skipped.append(f"line {number}: no question or no answer")
            continue
        questions.append(
            Question(
                id=text_of(row, "id") or f"medquad-{number}",
                text=text_of(row, "question"),
                options={},
                answer="",
                subject=text_of(row, "qtype") or "MedQuAD",
                language="en",
                reference=text_of(row, "answer"),
                labels={"focus": text_of(row, "focus"), "source": text_of(row, "source")},
            )
        )
    return QuestionSet(questions, files=[str(path)], skipped=skipped)
