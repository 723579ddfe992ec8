"""One conversation to learn from, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Turn:
    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation whose assistant turns are learned.

    `topic` is fine (the disease a question is about): a held-out split never has a topic on both
    sides. `subject` is coarse (department, exam class, kind of question): what experts by topic
    tables count and what labels the keys of the expert memory queue.
    """

    turns: tuple[Turn, ...]
    topic: str | None
    source: str  # the file
    line: int  # in that file, from 1: a line, or an entry of a list, or a row of a table
    subject: str | None = None
    stem: str | None = None  # the question alone, where a format puts words of ours around it
    options: tuple[str, ...] = ()  # of an exam question

    @property
    def asked(self) -> str:
        """What the person asks, in all turns, without words of ours."""
        if self.stem is not None:
            return self.stem
        return "\n".join(turn.content for turn in self.turns if turn.role == "user")

    @property
    def question(self) -> str:
        """The first thing the person says."""
        return next((turn.content for turn in self.turns if turn.role == "user"), "")

    @property
    def answers(self) -> tuple[str, ...]:
        return tuple(turn.content for turn in self.turns if turn.role == "assistant")
