"""One browser tab: its consultation and everything it shows. Knows nothing of gradio."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sparsedoctor.app.consultation.assessment import Assessment
from sparsedoctor.app.consultation.consultation import Assessed, Consultation
from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.engine_on_demand import EngineOnDemand
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

    def __init__(self, engine: EngineOnDemand, sampling: Sampling, region: str) -> None:
        self._engine, self._sampling, self._region = engine, sampling, region
        self.turns: list[ShownTurn] = []
        self.alarm: Assessment | None = None
        self.language: Language = "en"
        self.busy = False
        self._consultation = self._begin()

    @property
    def latest(self) -> TurnView:
        return self.turns[-1].view if self.turns else TurnView()

    @property
    def region(self) -> str:
        return self._region

    def ask(self, words: str) -> Iterator[None]:
        """One turn; ends when the answer is whole, stopped or failed."""
        if self.busy or not words.strip():
            return
        self.busy = True
        self.turns.append(ShownTurn(words.strip(), TurnView()))
        drawn = 0.0
        try:
            yield
            for event in self._consultation.ask(words.strip(), self._sampling):
                self.turns[-1] = replace(self.turns[-1], view=self.latest.apply(event))
                if isinstance(event, Assessed):
                    self._consider(event.assessment)
                now = time.monotonic()
                if isinstance(event, Assessed | Finished) or now - drawn >= FRAME:
                    drawn = now
                    yield
        except SparseDoctorError as error:
            self.turns[-1] = replace(self.turns[-1], error=str(error))
        finally:
            # Also reached when the tab was closed in the middle of an answer.
            self._consultation.cancel()
            self.busy = False
        yield

    def stop(self) -> None:
        """End the running answer; what is written stays."""
        if self.busy:
            self._consultation.cancel()

    def begin_anew(self) -> None:
        """A new conversation. An answer being written is stopped."""
        self.stop()
        self.turns, self.alarm = [], None
        self._consultation = self._begin()

    def _begin(self) -> Consultation:
        return Consultation(self._engine.seat(), region=self._region, private=True)

    def _consider(self, assessment: Assessment) -> None:
        self.language = language_of_interface(assessment)
        if is_alarm(assessment):
            self.alarm = assessment
