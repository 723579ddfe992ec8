"""CMMLU and MMLU: one CSV a subject, `dev` for few-shot examples and `test`.

CMMLU files have a header (`,Question,A,B,C,D,Answer`); MMLU files have none and carry the split
in their name (`test/anatomy_test.csv`). "CMMLU-Med" has no single definition: each list in use
has a name here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.evaluate.loaders.exam_lines import load_exam_lines
from sparsedoctor.train.evaluate.loaders.files import (
    MissingFile,
    numbered,
    read_bare_table,
    read_table,
)
from sparsedoctor.train.evaluate.questions import Question, QuestionSet

PUBLISHED = "https://github.com/haonan-li/CMMLU and https://huggingface.co/datasets/haonan-li/cmmlu"
MMLU_PUBLISHED = "https://people.eecs.berkeley.edu/~hendrycks/data.tar"
_SHARED = (  # by both lists of seven
    "clinical_knowledge",
    "college_medicine",
    "genetics",
    "nutrition",
    "traditional_chinese_medicine",
    "virology",
)
_APOLLO = ("anatomy", *_SHARED)
# The lists in use, by the work that published them.
CMMLU_LISTS: dict[str, tuple[str, ...]] = {
    "cmmlu-med-apollo": _APOLLO,
    "cmmlu-med-o1": ("agronomy", *_SHARED),
    "cmmlu-med-meditron": (
        "anatomy",
        "clinical_knowledge",
        "college_medicine",
        "genetics",
        "professional_medicine",
    ),
    "cmmlu-med-9": (*_APOLLO, "college_medical_statistics", "professional_medicine"),
}
# Every subject of any list: one run from which each list is rebuilt.
CMMLU_LISTS["cmmlu-med"] = tuple(
    sorted({subject for subjects in CMMLU_LISTS.values() for subject in subjects})
)
MMLU_MED = (
    "anatomy",
    "clinical_knowledge",
    "college_biology",
    "college_medicine",
    "medical_genetics",
    "professional_medicine",
)
SUBJECT_NAMES_ZH = {
    "agronomy": "农学",
    "anatomy": "解剖学",
    "clinical_knowledge": "临床知识",
    "college_medical_statistics": "大学医学统计",
    "college_medicine": "大学医学",
    "genetics": "遗传学",
    "nutrition": "营养学",
    "professional_medicine": "专业医学",
    "traditional_chinese_medicine": "中医中药",
    "virology": "病毒学",
}
_LETTERS = ("A", "B", "C", "D")


def load_cmmlu(data: Path, benchmark: str = "cmmlu-med") -> QuestionSet:
    """Read the subjects of the list `benchmark`; `data` holds `dev` and `test`."""
    layout = _Layout("CMMLU", PUBLISHED, CMMLU_LISTS[benchmark], "{subject}.csv", _read_cmmlu)
    return _load(data, layout)


def load_mmlu(data: Path, benchmark: str = "mmlu-med") -> QuestionSet:
    """Read the medical subjects of MMLU, as CSV or as one JSON lines file."""
    for path in (data, data / "mmlu_med_test.jsonl.gz", data / "mmlu_med_test.jsonl"):
        if path.is_file():
            return load_exam_lines(path, prefix="mmlu", language="en", size=1_089)
    layout = _Layout("MMLU", MMLU_PUBLISHED, MMLU_MED, "{subject}_{split}.csv", _read_mmlu)
    return _load(data, layout)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the files of a benchmark of subjects lie: `split`/`file`."""

    name: str
    published: str
    subjects: Sequence[str]
    file: str
    read: Callable[[Path, str, str], list[Question]]  # of a file, with subject and split

    def path(self, root: Path, subject: str, split: str) -> Path:
        return root / split / self.file.format(subject=subject, split=split)


def _load(data: Path, layout: _Layout) -> QuestionSet:
    if data.is_file():
        raise SparseDoctorError(
            f"{data} is a file; {layout.name} is read from the folder that holds dev/ and test/"
        )
    if not data.exists() and not data.parent.joinpath("test").is_dir():
        raise MissingFile(
            f"there is no {data}; {layout.name}'s authors publish it at {layout.published}: put "
            "its folders dev/ and test/ there"
        )
    roots = [root for root in (data, data / "data", data.parent) if (root / "test").is_dir()]
    root = roots[0] if roots else data
    questions, shots, files = [], [], []
    for subject in layout.subjects:
        path = layout.path(root, subject, "test")
        if not path.is_file():
            raise MissingFile(
                f"{layout.name}'s subject {subject} is not at {path}; its authors publish it at "
                f"{layout.published}: put it there"
            )
        questions += layout.read(path, subject, "test")
        files.append(str(path))
        examples = layout.path(root, subject, "dev")
        if examples.is_file():
            shots += layout.read(examples, subject, "dev")
    return QuestionSet(questions, shots, files)


def _read_cmmlu(path: Path, subject: str, split: str) -> list[Question]:
    rows = read_table(path, ("Question", *_LETTERS, "Answer"))
    cells = [
        [row["Question"], *(row[letter] for letter in _LETTERS), row["Answer"]] for row in rows
    ]
    return _questions(path, cells, f"cmmlu-{subject}-{split}", subject, "zh")


def _read_mmlu(path: Path, subject: str, split: str) -> list[Question]:
    return _questions(path, read_bare_table(path), f"mmlu-{subject}-{split}", subject, "en")


def _questions(
    path: Path, rows: list[list[str]], prefix: str, subject: str, language: str
) -> list[Question]:
    questions = []
    for number, row in numbered(rows):
        answer = row[-1].strip().upper()
        if len(row) != 6 or answer not in _LETTERS:
            raise SparseDoctorError(
                f"{path}, row {number}: a question, four options and a letter were expected"
            )
        questions.append(
            Question(
                id=f"{prefix}-{number - 1}",
                text=row[0].strip(),
                options=dict(zip(_LETTERS, (cell.strip() for cell in row[1:5]), strict=True)),
                answer=answer,
                subject=subject,
                language="zh" if language == "zh" else "en",
            )
        )
    return questions
