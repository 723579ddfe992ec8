"""`answers.jsonl`: one line a question, written as it is answered, read again to go on."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.files import replace_text
from sparsedoctor.core.in_use import in_use
from sparsedoctor.train.evaluate.questions import Question
from sparsedoctor.train.evaluate.scoring import Verdict

ANSWERS = "answers.jsonl"
RUN = "run.json"
RESULT = "result.json"


@dataclass(frozen=True, slots=True)
class Answer:
    """One line: what was right, what was chosen, and by which scores."""

    id: str
    gold: str
    chosen: str | None  # None when nothing could be read
    scores: Mapping[str, float]
    subject: str = ""
    text: str | None = None
    readings: Mapping[str, str] | None = None

    @property
    def correct(self) -> bool:
        return self.chosen is not None and self.chosen == self.gold

    def line(self) -> str:
        """The JSON of this answer, with a line end."""
        row: dict[str, Any] = {"id": self.id, "gold": self.gold, "chosen": self.chosen}
        row["correct"] = self.correct
        row["scores"] = dict(self.scores)
        row["subject"] = self.subject
        if self.text is not None:
            row |= {"text": self.text, "readings": dict(self.readings or {})}
        return json.dumps(row, ensure_ascii=False) + "\n"


def answer_of(question: Question, verdict: Verdict) -> Answer:
    return Answer(
        question.id,
        question.answer,
        verdict.chosen or None,
        # Before any figure is made of them, so that a run that goes on has the same ones.
        {letters: round(value, 6) for letters, value in verdict.scores.items()},
        question.subject,
        verdict.text,
        verdict.readings,
    )


class Journal:
    """Appends answers to `folder`; `done` holds those of an earlier, interrupted run.

    `identity` says what run this is, `part_of` what a finished one of the given questions alone
    would have been: such a sample goes on to this run. Raises SparseDoctorError when the folder
    holds another one, or another process writes into it. To be left as a context.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        part_of: Callable[[Collection[str]], Mapping[str, Any]] | None = None,
    ) -> None:
        self._folder = folder
        with contextlib.ExitStack() as stack:
            stack.enter_context(in_use(folder, "evaluation"))
            earlier = read_answers(folder, torn=True)
            if earlier:  # a run that answered nothing is in nobody's way
                names = {answer.id for answer in earlier}
                if check_identity(folder, identity, lambda: part_of(names) if part_of else None):
                    # It is of the sample; what is written next belongs to more questions.
                    (folder / RESULT).unlink(missing_ok=True)
            write_json(folder / RUN, identity)
            self.done = {answer.id: answer for answer in earlier}
            self._rewrite(self.done.values())  # without a line that an interruption cut
            # Unbuffered: what a full disk did not take is not tried again while closing.
            self._file = stack.enter_context((folder / ANSWERS).open("ab", buffering=0))
            self._held = stack.pop_all()

    def add(self, answer: Answer) -> None:
        rest = memoryview(answer.line().encode())
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise SparseDoctorError(
                f"cannot write to {self._folder / ANSWERS}: {error.strerror}; the answers before "
                "are kept: make room and run the same command again to go on"
            ) from error
        self.done[answer.id] = answer

    def finish(self, order: Sequence[str]) -> list[Answer]:
        """All answers in the order of the benchmark; the file is put in that order too."""
        self._file.close()
        answers = [self.done[identity] for identity in order]
        self._rewrite(answers)
        return answers

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.close()

    def _rewrite(self, answers: Iterable[Answer]) -> None:
        write_text(self._folder / ANSWERS, "".join(answer.line() for answer in answers))


def check_identity(
    folder: Path, identity: Mapping[str, Any], part: Callable[[], Mapping[str, Any] | None]
) -> bool:
    """Whether `folder` holds the finished `part` of the run `identity`, and not this run itself.

    `part` is worked out only where the folder holds another run: it reads every prompt.
    Raises SparseDoctorError when the answers there are of another run, or of nobody knows which.
    """
    path = folder / RUN
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        earlier = None
    if not isinstance(earlier, dict):
        raise SparseDoctorError(
            f"{path} is missing or damaged, and nothing else says whose answers {folder} holds; "
            "choose another --output, or delete that folder"
        )
    differing = [key for key in identity if earlier.get(key) != identity[key]]
    if not differing:
        return False
    found = part()
    if found is not None and all(earlier.get(key) == found[key] for key in found):
        return True
    hint = ""
    if "questions" in differing:
        hint = " (only a finished sample goes on, to one that holds all its questions)"
    raise SparseDoctorError(
        f"{folder} holds another run (its {', '.join(differing)} differ); "
        f"choose another --output, or delete that folder{hint}"
    )


def read_answers(folder: Path, *, torn: bool = False) -> list[Answer]:
    """The answers in `folder`; `torn` forgives a last line that is not whole."""
    path = folder / ANSWERS
    if not path.is_file():
        return []
    answers = []
    try:
        lines = path.read_bytes().split(b"\n")  # a cut line need not be whole UTF-8
    except OSError as error:
        raise SparseDoctorError(f"cannot read {path}: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            row = json.loads(line)
            answers.append(
                Answer(
                    str(row["id"]),
                    str(row["gold"]),
                    row["chosen"],
                    row["scores"],
                    str(row.get("subject", "")),
                    row.get("text"),
                    row.get("readings"),
                )
            )
        except (ValueError, KeyError, TypeError) as error:
            if torn and number == len(lines):
                break
            raise SparseDoctorError(
                f"{path}, line {number} is damaged ({error}); delete the line to have it answered "
                "again"
            ) from error
    return answers


def answers_hash(answers: Iterable[Answer]) -> str:
    """sha256 over ids and chosen letters: equal for runs that chose alike."""
    lines = "".join(f"{answer.id}\t{answer.chosen}\n" for answer in answers)
    return hashlib.sha256(lines.encode()).hexdigest()


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write so that a reader sees the old file or the whole new one, making its folder.

    Raises SparseDoctorError when the disk is full or the place cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, text)
    except OSError as error:
        raise SparseDoctorError(f"cannot write {path}: {error.strerror}") from error
