"""One browser tab: its session and everything it shows. Knows nothing of gradio."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from sparsedoctor.app.consultation.assessment import Assessment
from sparsedoctor.app.consultation.consultation import Assessed, ConsultationEvent
from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.session import Session
from sparsedoctor.app.turn_view import TurnView
from sparsedoctor.app.wording import is_alarm, language_of_interface
from sparsedoctor.core.engine.protocol import Finished, Sampling
from sparsedoctor.core.errors import SparseDoctorError

FRAME = 0.06  # seconds between two pictures of a growing answer


@dataclass(frozen=True, slots=True)
class ShownTurn:
    """One question and what is known of its answer; `error` when the engine failed."""

    words: str
    view: TurnView
    error: str = ""


class Visit:
    """What one tab sees. `ask` changes it in place and yields whenever there is news to draw."""

    def __init__(self, session: Session, sampling: Sampling) -> None:
        self.session = session
        self._sampling = sampling
        self.turns: list[ShownTurn] = []
        self.alarm: Assessment | None = None
        self.language: Language = "en"
        self.busy = False

    @property
    def latest(self) -> TurnView:
        return self.turns[-1].view if self.turns else TurnView()

    def ask(self, words: str) -> Iterator[None]:
        """One turn; ends when the answer is whole, stopped or failed."""
        words = words.strip()
        if not self.busy and words:
            yield from self._turn(words, lambda: self.session.ask(words, self._sampling))

    def ask_again(self) -> Iterator[None]:
        """The last question answered anew."""
        if not self.busy and self.session.turns:
            words = self.session.turns[-1].words
            yield from self._turn(words, lambda: self.session.ask_again(self._sampling))

    def stop(self) -> None:
        """End the running answer; what is written stays."""
        if self.busy:
            self.session.cancel()

    def begin(self, *, private: bool) -> None:
        """A new conversation. An answer being written is stopped."""
        self.stop()
        self.session.begin(private=private)
        self.turns, self.alarm = [], None

    def resume(self, conversation: str) -> None:
        """Take up a saved conversation. Raises SparseDoctorError when it is gone."""
        self.stop()
        views = self.session.resume(conversation)
        self.turns = [
            ShownTurn(turn.words, view)
            for turn, view in zip(self.session.turns, views, strict=True)
        ]
        self.alarm = self.session.alarm()

    def tell(self, intake: Intake) -> None:
        """What the person told about themselves."""
        self.session.tell(intake)
        self.language = intake.language or self.language

    def leave(self) -> None:
        """The tab was closed."""
        self.session.close()

    def _turn(self, words: str, ask: Callable[[], Iterator[ConsultationEvent]]) -> Iterator[None]:
        self.busy = True
        mine = self.turns  # a new conversation replaces the list while this turn still ends
        mine.append(ShownTurn(words, TurnView()))
        drawn = 0.0
        try:
            yield
            for event in ask():
                mine[-1] = replace(mine[-1], view=mine[-1].view.apply(event))
                if isinstance(event, Assessed) and mine is self.turns:
                    self._consider(event.assessment)
                now = time.monotonic()
                if isinstance(event, Assessed | Finished) or now - drawn >= FRAME:
                    drawn = now
                    yield
        except SparseDoctorError as error:
            mine[-1] = replace(mine[-1], error=str(error))
        finally:
            # Also reached when the tab was closed in the middle of an answer.
            self.session.cancel()
            self.busy = False
        yield

    def _consider(self, assessment: Assessment) -> None:
        self.language = language_of_interface(assessment)
        if is_alarm(assessment):
            self.alarm = assessment
