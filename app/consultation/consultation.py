"""One consultation: the person's words go in, events come out.

    words ─▶ rules ─▶ Assessed ─▶ model (engine events) ─▶ rules on the answer ─▶ Reviewed

Independent of any interface; the terminal and the browser show the same events. The rules speak
before the model's first word, and what they say does not depend on the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sparsedoctor.app.consultation.assessment import Assessment
from sparsedoctor.core.engine.protocol import Engine, Event, Finished, Message, Sampling


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
