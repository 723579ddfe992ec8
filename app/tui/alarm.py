"""What the rules found, as it stands on the screen: the line at the top and the card of a turn."""

from __future__ import annotations

from textual.widgets import Static

from sparsedoctor.app.consultation.assessment import Assessment, Urgency
from sparsedoctor.app.tui.flowing import flowing
from sparsedoctor.app.wording import (
    is_alarm,
    is_silent,
    numbers_to_call,
    urgency_title,
    wording,
)

_CLASS = {
    Urgency.EMERGENCY: "-emergency",
    Urgency.TODAY: "-today",
    Urgency.DAYS: "-days",
    Urgency.SELF_CARE: "-self-care",
    Urgency.UNCLEAR: "-unclear",
}


class AlarmBanner(Static):
    """An emergency or crisis of this conversation; it stays until a new one begins.

    Later words that make light of it do not take it away.
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("", id=id, markup=False)
        self.display = False

    def consider(self, assessment: Assessment) -> None:
        """Show `assessment` if it is an alarm; otherwise leave what is there."""
        if not is_alarm(assessment):
            return
        numbers = "  ·  ".join(numbers_to_call(assessment))
        self.update(f"{urgency_title(assessment)}\n{numbers}")
        self.display = True

    def clear(self) -> None:
        self.update("")
        self.display = False


class AssessmentCard(Static):
    """What the rules say to one question, before the first word of its answer."""

    def __init__(self, *, classes: str | None = None) -> None:
        super().__init__("", classes=classes, markup=False)
        self.display = False

    def show(self, assessment: Assessment) -> None:
        if is_silent(assessment):
            return
        self.update(flowing(assessment_text(assessment)))
        self.set_classes(f"card {_CLASS[assessment.urgency]}{' -crisis' * assessment.crisis}")
        self.display = True


def assessment_text(assessment: Assessment) -> str:
    """Headline, numbers for an alarm, and what each rule advises and why."""
    words = wording(assessment.language)
    lines = [urgency_title(assessment)]
    if is_alarm(assessment):
        lines += numbers_to_call(assessment)
    for finding in assessment.findings:
        lines.append(f"• {finding.advice}")
        lines.append(
            f"  {words.why.format(finding.why)} ({words.your_words.format(finding.words)})"
        )
    return "\n".join(lines)
