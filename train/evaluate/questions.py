"""A question of a benchmark, whatever file it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

Language = Literal["zh", "en"]


@dataclass(frozen=True, slots=True)
class Question:
    """One exam question, or one open question about a case (then `options` is empty)."""

    id: str  # unique in its benchmark and stable between runs
    text: str
    options: Mapping[str, str]  # letter -> text, in the order in which they are listed
    answer: str  # letters of the key in alphabetical order, "B" or "ACD"; "" for open questions
    subject: str  # rows of the report: CMMLU subject, CMB class, MedMCQA subject, ...
    language: Language
    multiple: bool = False  # the question says that several options may be right
    category: str = ""  # a group of subjects: CMB's six exam types
    explanation: str = ""
    reference: str = ""  # the authors' answer to an open question
    history: tuple[tuple[str, str], ...] = ()  # earlier (question, reference) turns of a case
    labels: Mapping[str, str] = field(default_factory=dict)  # the authors' annotations

    @property
    def letters(self) -> tuple[str, ...]:
        return tuple(self.options)

    def permuted(self, shift: int) -> Question:
        """The same question with its option texts moved `shift` places on; the letters stay.

        The text that stood under letter i stands under letter (i + shift) mod n, and `answer`
        follows it.
        """
        letters, texts = list(self.options), list(self.options.values())
        count = len(letters)
        moved = {letters[(i + shift) % count]: texts[i] for i in range(count)}
        key = sorted(letters[(letters.index(letter) + shift) % count] for letter in self.answer)
        ordered = {letter: moved[letter] for letter in letters}
        return replace(self, options=ordered, answer="".join(key))

    def without_short_options(self) -> Question:
        """As CMB's own script shows it: options of one character or none are left out."""
        kept = {letter: text for letter, text in self.options.items() if len(text) > 1}
        return replace(self, options=kept)


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """What a loader read."""

    questions: Sequence[Question]
    shots: Sequence[Question] = ()  # where few-shot examples may come from
    files: Sequence[str] = ()  # paths that were read for `questions`
    skipped: Sequence[str] = ()  # rows that cannot be scored, each with its reason
    caveats: Sequence[str] = ()  # why these are not the figures that others publish


def letter_set(letters: str) -> str:
    """Letters without repetition, in alphabetical order."""
    return "".join(sorted(set(letters)))
