"""The conversation of one window or tab: asked, saved as it happens, taken up again, summed up.

    Session ─▶ Consultation (rules, model)
          └──▶ Recorder ─▶ History (the file, or only memory in a private conversation)

Knows no interface. One turn at a time; `cancel` may be called from any thread.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from typing import Literal

from sparsedoctor.app.consultation.assessment import Assessment
from sparsedoctor.app.consultation.consultation import (
    Consultation,
    ConsultationEvent,
    Turn,
)
from sparsedoctor.app.consultation.emergency_reply import replaces_model
from sparsedoctor.app.consultation.history import History
from sparsedoctor.app.consultation.history.recorder import (
    Recorder,
    restored_intake,
    restored_turns,
)
from sparsedoctor.app.consultation.history.summary_fields import summary_fields
from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.consultation.safety_net import safety_net
from sparsedoctor.app.consultation.summary import export_summary
from sparsedoctor.app.engine_on_demand import EngineOnDemand
from sparsedoctor.app.model_choice import Model
from sparsedoctor.app.turn_view import TurnView
from sparsedoctor.app.wording import is_alarm, language_of_interface
from sparsedoctor.core.engine.protocol import Sampling
from sparsedoctor.core.errors import SparseDoctorError

SummaryForm = Literal["markdown", "json", "html"]
SUFFIX: dict[SummaryForm, str] = {"markdown": ".md", "json": ".json", "html": ".html"}


class Session:
    """What a window asks and shows. `history` is shared by all windows; it is not closed here."""

    def __init__(
        self,
        engine: EngineOnDemand,
        model: Model,
        history: History,
        *,
        region: str = "",
        private: bool = False,
    ) -> None:
        self._engine, self._model, self._history = engine, model, history
        self._region = region
        self._private: History | None = None
        self._conversation: str | None = None
        self._begin(Intake(), private=private)

    @property
    def private(self) -> bool:
        """Whether nothing of this conversation touches the disk."""
        return self._private is not None

    @property
    def region(self) -> str:
        """Whose emergency numbers are shown, "" when nobody said."""
        return self.intake.region or self._region

    @property
    def intake(self) -> Intake:
        return self._consultation.intake

    @property
    def conversation(self) -> str | None:
        """Its id in the history, once there is a first question."""
        return self._conversation

    @property
    def turns(self) -> tuple[Turn, ...]:
        return self._consultation.turns

    def ask(
        self, words: str, sampling: Sampling | None = None
    ) -> Generator[ConsultationEvent, None, None]:
        """One turn. The rules' finding comes before anything is written to the disk, the words
        are saved before the model begins. A `cancel` counts from this call on, also before the
        first event is asked for. Raises as `Consultation.ask` does, with the first event."""
        self._seat.begin_turn()
        return self._recorded(words, self._consultation.ask(words, sampling), again=False)

    def ask_again(
        self, sampling: Sampling | None = None
    ) -> Generator[ConsultationEvent, None, None]:
        """Answer the last question anew, like `ask`; the history keeps both answers."""
        self._seat.begin_turn()
        words = self.turns[-1].words if self.turns else ""
        return self._recorded(words, self._consultation.regenerate(sampling), again=True)

    def cancel(self) -> None:
        """End the running answer soon; what is written of it stays."""
        self._consultation.cancel()

    def tell(self, intake: Intake) -> None:
        """What the person told about themselves; holds from the next question on."""
        self._consultation.intake = intake
        self._consultation.region = intake.region or self._region
        self._recorder().set_intake(intake)

    def begin(self, *, private: bool) -> None:
        """A new, empty conversation; what the person told about themselves stays."""
        self._begin(self.intake, private=private)

    def resume(self, conversation: str) -> list[TurnView]:
        """Take up a saved conversation; the pictures of its turns. Raises SparseDoctorError when
        it is not there any more."""
        saved = self._history.conversation(conversation)
        turns = restored_turns(self._history.messages(conversation))
        self._begin(restored_intake(saved.intake), private=False, turns=turns, id=conversation)
        return [
            TurnView(turn.assessment, text=turn.answer, earlier=earlier, remarks=turn.remarks)
            for turn, earlier in zip(turns, _earlier(turns, self.intake), strict=True)
        ]

    def alarm(self) -> Assessment | None:
        """The last emergency or crisis of this conversation."""
        found = [turn.assessment for turn in self.turns if is_alarm(turn.assessment)]
        return found[-1] if found else None

    def summary(self, form: SummaryForm, *, remove_identifiers: bool) -> str:
        """The summary for a doctor. Raises SparseDoctorError when nothing was said yet."""
        kept = self._private or self._history
        if self._conversation is None:
            raise SparseDoctorError("nothing was said yet; there is nothing to sum up")
        fields = summary_fields(
            kept.conversation(self._conversation),
            kept.messages(self._conversation),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions={"sparsedoctor": version("sparsedoctor")},
        )
        return export_summary(fields, form, remove=remove_identifiers)

    def close(self) -> None:
        """End what runs; a private conversation is gone."""
        self.cancel()
        if self._private is not None:
            self._private.close()

    def _recorded(
        self, words: str, events: Iterator[ConsultationEvent], *, again: bool
    ) -> Generator[ConsultationEvent, None, None]:
        recorder = self._recorder()
        found = next(events)
        yield found
        with closing(recorder.turn(words, chain((found,), events), again=again)) as recorded:
            next(recorded)  # `found` again, saved now
            self._conversation = recorder.conversation
            yield from recorded

    def _begin(
        self,
        intake: Intake,
        *,
        private: bool,
        turns: tuple[Turn, ...] = (),
        id: str | None = None,
    ) -> None:
        if self._private is not None:
            self._private.close()
        self._private = History.private() if private else None
        self._seat = self._engine.seat()
        self._consultation = Consultation(
            self._seat,
            intake=intake,
            region=intake.region or self._region,
            private=private,
            follow_up=True,
            turns=turns,
        )
        self._conversation = id

    def _recorder(self) -> Recorder:
        return Recorder(
            self._private or self._history,
            intake=self.intake,
            model=lambda: self._engine.info or self._model.known(),
            conversation=self._conversation,
        )


def _earlier(turns: Sequence[Turn], intake: Intake) -> Iterator[str]:
    """When to get help earlier, for every turn that went to the model, "" for the others. It is
    not saved but made again; an answer that ended before its first word had this line as well."""
    asked_about = ""  # the words before, when something was asked back
    for turn in turns:
        words = f"{asked_about}\n\n{turn.words}" if asked_about else turn.words
        asked_about = turn.words if turn.questions else ""
        net = None
        if not turn.questions and not replaces_model(turn.assessment):
            language = language_of_interface(turn.assessment)
            net = safety_net(words, turn.assessment, intake, language)
        yield net.text if net else ""
