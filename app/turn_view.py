"""What one turn looks like so far: events go in, a picture to draw comes out. Pure.

TurnView() ─▶ apply(Assessed) ─▶ apply(TextDelta) ... ─▶ apply(Reviewed)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sparsedoctor.app.consultation.assessment import Assessment
from sparsedoctor.app.consultation.consultation import (
    Assessed,
    ConsultationEvent,
    FollowUp,
    Reviewed,
)
from sparsedoctor.app.consultation.safety_net import SafetyNet
from sparsedoctor.core.engine.protocol import (
    Finished,
    Notice,
    RoutingUpdate,
    Started,
    TextDelta,
)


@dataclass(frozen=True, slots=True)
class TurnView:
    """Everything an interface shows of one turn."""

    assessment: Assessment | None = None
    questions: tuple[str, ...] = ()
    text: str = ""
    notices: tuple[str, ...] = ()
    earlier: str = ""  # when to get help earlier
    remarks: tuple[str, ...] = ()
    started: Started | None = None
    reading: RoutingUpdate | None = None  # routing of the question
    answering: RoutingUpdate | None = None  # routing of the answer
    finished: Finished | None = None
    reviewed: Reviewed | None = None

    def apply(self, event: ConsultationEvent) -> TurnView:
        """The view after `event`. A review replaces the text by what may be shown."""
        match event:
            case Assessed(assessment):
                return replace(self, assessment=assessment.most_urgent())
            case FollowUp(questions):
                return replace(self, questions=questions)
            case Started():
                return replace(self, started=event)
            case SafetyNet(text):
                return replace(self, earlier=text)
            case TextDelta(text):
                return replace(self, text=self.text + text)
            case RoutingUpdate(phase="prompt"):
                return replace(self, reading=event)
            case RoutingUpdate():
                return replace(self, answering=event)
            case Notice(message):
                return replace(self, notices=(*self.notices, message))
            case Finished():
                return replace(self, finished=event)
            case Reviewed(text, remarks):
                # A turn that asks back has no answer; its text says the questions once more.
                shown = "" if self.questions else text
                return replace(self, text=shown, remarks=remarks, reviewed=event)

    @property
    def routing(self) -> RoutingUpdate | None:
        """The routing to show: of the answer as soon as there is any, else of the question."""
        return self.answering if self.answering and self.answering.tokens else self.reading

    @property
    def cancelled(self) -> bool:
        return self.finished is not None and self.finished.reason == "cancelled"

    @property
    def seed(self) -> int | None:
        return self.started.seed if self.started else None
