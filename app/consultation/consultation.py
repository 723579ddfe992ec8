"""One consultation: the person's words go in, events come out.

    words ─▶ rules ─▶ Assessed ─▶ model (engine events) ─▶ rules on the answer ─▶ Reviewed

Independent of any interface; the terminal and the browser show the same events. The rules speak
before the model's first word, and what they say does not depend on the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sparsedoctor.app.consultation.assessment import Assessment
from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.consultation.language import Language, language_of
from sparsedoctor.app.consultation.prompts import instructions
from sparsedoctor.app.consultation.triage import assess
from sparsedoctor.core.engine.protocol import Engine, Event, Finished, Message, Sampling
from sparsedoctor.core.errors import SparseDoctorError


@dataclass(frozen=True, slots=True)
class Assessed:
    """Always the first event of a turn: what the rules found in the person's words."""

    assessment: Assessment


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What is missing and matters, at most three questions; asked before advice is given."""

    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Always the last event of a turn: the answer as it may be shown, and what was changed."""

    text: str
    remarks: tuple[str, ...]  # "a dose of a prescription medicine was removed", ...
    assessment: Assessment  # of the answer


ConsultationEvent = Assessed | FollowUp | Event | Reviewed


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer, as far as it came."""

    words: str
    assessment: Assessment
    answer: str = ""
    remarks: tuple[str, ...] = ()
    finished: Finished | None = None


class Consultation:
    """A conversation about one health matter.

    One turn at a time; `cancel` may be called from any thread. `region` goes before the intake's.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        intake: Intake | None = None,
        region: str | None = None,
        private: bool = True,
        turns: Sequence[Turn] = (),
    ) -> None:
        """`turns` are those of a conversation that is taken up again."""
        self.intake = intake or Intake()
        self.private = private
        self._engine = engine
        self._region = region
        self._turns: list[Turn] = list(turns)

    @property
    def turns(self) -> tuple[Turn, ...]:
        return tuple(self._turns)

    @property
    def region(self) -> str | None:
        return self._region or self.intake.region

    @region.setter
    def region(self, region: str | None) -> None:
        self._region = region

    def ask(self, words: str, sampling: Sampling | None = None) -> Iterator[ConsultationEvent]:
        """One turn: `Assessed`, what the engine reports, `Reviewed`.

        Raises SparseDoctorError for empty words, EngineError when the model fails; the words
        and what came of the answer are kept in `turns` either way.
        """
        if not words.strip():
            raise SparseDoctorError("nothing was asked; type a question or describe a complaint")
        language = self._language(words)
        assessment = self._assess(words, language)
        self._turns.append(Turn(words, assessment))
        yield Assessed(assessment)
        yield from self._answer(language, sampling or Sampling())

    def regenerate(self, sampling: Sampling | None = None) -> Iterator[ConsultationEvent]:
        """Answer the last question anew."""
        if not self._turns:
            raise SparseDoctorError("there is no question yet to answer again")
        last = self._turns.pop()
        yield from self.ask(last.words, sampling)

    def cancel(self) -> None:
        """End the running answer soon; what was written of it stays."""
        self._engine.cancel()

    def _answer(self, language: Language, sampling: Sampling) -> Iterator[ConsultationEvent]:
        messages = self._messages(language)
        for event in self._engine.generate(messages, sampling):
            if isinstance(event, Finished):
                self._turns[-1] = replace(self._turns[-1], answer=event.text, finished=event)
            yield event
        answer = self._turns[-1].answer
        yield Reviewed(answer, (), self._assess(answer, language))

    def _messages(self, language: Language) -> list[Message]:
        messages = [Message("system", instructions(language, self.intake))]
        for turn in self._turns[:-1]:
            messages.append(Message("user", turn.words))
            if turn.answer:
                messages.append(Message("assistant", turn.answer))
        messages.append(Message("user", self._turns[-1].words))
        return messages

    def _language(self, words: str) -> Language:
        if self.intake.language:
            return self.intake.language
        return language_of(words, self._turns[-1].assessment.language if self._turns else "en")  # type: ignore[arg-type]

    def _assess(self, text: str, language: Language) -> Assessment:
        return assess(
            text,
            age=self.intake.age,
            sex=self.intake.sex,
            pregnant=self.intake.pregnant,
            conditions=self.intake.conditions,
            medicines=self.intake.medicines,
            region=self.region,
            language=language,
        )
