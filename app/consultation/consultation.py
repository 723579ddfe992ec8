"""One consultation: the person's words go in, events come out.

    words ─▶ rules ─▶ Assessed ─▶ model (engine events) ─▶ rules on the answer ─▶ Reviewed
                         ├─▶ FollowUp ──────────────────────────────────────────────▶ │
                         └─▶ fixed text of an emergency (TextDelta, Finished) ──────▶ │

Independent of any interface; the terminal and the browser show the same events. The rules speak
before the model's first word, and what they say does not depend on the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sparsedoctor.app.consultation.assessment import Assessment
from sparsedoctor.app.consultation.cautions import cautions
from sparsedoctor.app.consultation.emergency_reply import emergency_reply, replaces_model
from sparsedoctor.app.consultation.follow_up import questions
from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.consultation.language import Language, language_of
from sparsedoctor.app.consultation.numbers import numbers_for
from sparsedoctor.app.consultation.prompts import instructions
from sparsedoctor.app.consultation.review import review
from sparsedoctor.app.consultation.safety_net import SafetyNet, safety_net
from sparsedoctor.app.consultation.summary.wording import DISCLAIMER
from sparsedoctor.app.consultation.triage import assess
from sparsedoctor.core.engine.protocol import (
    Engine,
    Event,
    Finished,
    Message,
    Notice,
    Sampling,
    Statistics,
    TextDelta,
)
from sparsedoctor.core.errors import SparseDoctorError

LONGEST_WORDS = 20_000  # characters of one message


@dataclass(frozen=True, slots=True)
class Assessed:
    """Always the first event of a turn: what the rules found in the person's words."""

    assessment: Assessment


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What is missing and matters, at most three questions; asked before advice is given.

    The model is not asked in such a turn: the person answers first.
    """

    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Always the last event of a turn: the answer as it may be shown, and what was changed."""

    text: str
    remarks: tuple[str, ...]  # "a dose of a prescription medicine was removed", ...
    assessment: Assessment  # of the answer


ConsultationEvent = Assessed | FollowUp | SafetyNet | Event | Reviewed


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer, as far as it came."""

    words: str
    assessment: Assessment
    answer: str = ""
    remarks: tuple[str, ...] = ()
    finished: Finished | None = None
    questions: tuple[str, ...] = ()  # asked back in the place of an answer


class Consultation:
    """A conversation about one health matter.

    One turn at a time; `cancel` may be called from any thread. `region` goes before the intake's.
    `follow_up`: ask for what is missing before the model answers. Nothing is written anywhere
    here; `history.recorder.Recorder` saves the events as they pass by.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        intake: Intake | None = None,
        region: str | None = None,
        private: bool = True,
        follow_up: bool = False,
        turns: Sequence[Turn] = (),
    ) -> None:
        """`turns` are those of a conversation that is taken up again."""
        self.intake = intake or Intake()
        self.private = private
        self.follow_up = follow_up
        self._engine = engine
        self._region = region
        self._turns: list[Turn] = list(turns)
        self._asked: set[str] = set()  # questions that were asked already

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
        """One turn: `Assessed`, then `FollowUp` or an answer with the engine's events, `Reviewed`.

        In an emergency or crisis a fixed text stands in the place of the model's answer. Raises
        SparseDoctorError for empty or endless words, EngineError when the model fails; what came
        of the answer is kept in `turns` either way.
        """
        if not words.strip():
            raise SparseDoctorError("nothing was asked; type a question or describe a complaint")
        if len(words) > LONGEST_WORDS:
            raise SparseDoctorError(
                f"{len(words):,} characters are too many; write at most {LONGEST_WORDS:,}"
            )
        language = self._language(words)
        assessment = self._assess(self._in_context(words), language)
        self._turns.append(Turn(words, assessment))
        yield Assessed(assessment)
        open_questions = self._open_questions(words, assessment, language)
        if open_questions:
            yield from self._ask_back(open_questions, language)
        else:
            yield from self._answer(language, sampling or Sampling())

    def regenerate(self, sampling: Sampling | None = None) -> Iterator[ConsultationEvent]:
        """Answer the last question anew."""
        if not self._turns:
            raise SparseDoctorError("there is no question yet to answer again")
        last = self._turns[-1]
        self._turns[-1] = Turn(last.words, last.assessment)
        yield Assessed(last.assessment)
        language: Language = "zh" if last.assessment.language == "zh" else "en"
        yield from self._answer(language, sampling or Sampling())

    def cancel(self) -> None:
        """End the running answer soon; what was written of it stays."""
        self._engine.cancel()

    # --- the ways a turn can go ---

    def _ask_back(self, asked: tuple[str, ...], language: Language) -> Iterator[ConsultationEvent]:
        self._asked.update(asked)
        text = "\n".join(f"{number}. {one}" for number, one in enumerate(asked, 1))
        self._turns[-1] = replace(self._turns[-1], answer=text, questions=asked)
        nothing = self._assess("", language)
        # What is asked about may be taken before anything is answered.
        yield from self._cautions(language)
        yield FollowUp(asked)
        yield Reviewed(text, (), nothing)

    def _answer(self, language: Language, sampling: Sampling) -> Iterator[ConsultationEvent]:
        turn = self._turns[-1]
        if replaces_model(turn.assessment):
            yield from self._fixed_answer(turn.assessment, sampling)
            return
        first = not any(_of_model(earlier) for earlier in self._turns[:-1])
        yield from self._cautions(language)
        if first:
            yield Notice(DISCLAIMER[language])
        said = self._asked_about()
        if net := safety_net(said, turn.assessment, self.intake, language):
            yield net
        yield from self._model_answer(language, sampling)

    def _cautions(self, language: Language) -> Iterator[Notice]:
        for caution in cautions(self.intake, self._turns[-1].words, language):
            yield Notice(caution.text)

    def _fixed_answer(
        self, assessment: Assessment, sampling: Sampling
    ) -> Iterator[ConsultationEvent]:
        text = emergency_reply(assessment)
        finished = Finished("stop", text, Statistics(0, 0, 0, 0.0, 0.0), sampling)
        self._turns[-1] = replace(self._turns[-1], answer=text, finished=finished)
        yield TextDelta(text)
        yield finished
        yield Reviewed(text, (), assessment)

    def _model_answer(self, language: Language, sampling: Sampling) -> Iterator[ConsultationEvent]:
        finished: Finished | None = None
        grown = ""
        try:
            for event in self._engine.generate(self._messages(language), sampling):
                if isinstance(event, TextDelta):
                    grown += event.text
                elif isinstance(event, Finished):
                    finished = event
                yield event
        except BaseException as error:
            reviewed = self._review(grown, finished, language)
            if grown and isinstance(error, Exception):  # the model failed, and somebody reads
                yield reviewed
            raise
        yield self._review(grown, finished, language)

    def _review(self, grown: str, finished: Finished | None, language: Language) -> Reviewed:
        answer = finished.text if finished else grown
        checked = review(answer, language, numbers_for(self.region))
        turn = self._turns[-1]
        said = cautions(self.intake, turn.words, language)
        more = [c.text for c in cautions(self.intake, answer, language) if c not in said]
        remarks = (*checked.remarks, *more)
        self._turns[-1] = replace(turn, answer=checked.text, remarks=remarks, finished=finished)
        return Reviewed(checked.text, remarks, self._assess(checked.text, language))

    # --- what a turn is made from ---

    def _open_questions(
        self, words: str, assessment: Assessment, language: Language
    ) -> tuple[str, ...]:
        if not self.follow_up or (len(self._turns) > 1 and self._turns[-2].questions):
            return ()  # never twice in a row: after an answer to questions comes advice
        asked = questions(words, assessment, self.intake, language)
        return tuple(question for question in asked if question not in self._asked)

    def _in_context(self, words: str) -> str:
        """The words with those they answer: "since Monday, and vomiting" belongs to "headache"."""
        if self._turns and self._turns[-1].questions:
            return f"{self._turns[-1].words}\n\n{words}"
        return words

    def _asked_about(self) -> str:
        """The last words, with those that they answer."""
        asked_back = len(self._turns) > 1 and self._turns[-2].questions
        return "\n\n".join(turn.words for turn in self._turns[-2 if asked_back else -1 :])

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
        before = self._turns[-1].assessment.language if self._turns else "en"
        return language_of(words, "zh" if before == "zh" else "en")

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


def _of_model(turn: Turn) -> bool:
    """Whether the model has answered: an emergency is answered without it."""
    return turn.finished is not None and not replaces_model(turn.assessment)
