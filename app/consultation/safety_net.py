"""When to get help earlier than advised: said with every answer to a complaint, by fixed rules.

The model may forget it; this does not depend on the model. The summary for a doctor says the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsedoctor.app.consultation.assessment import Assessment
from sparsedoctor.app.consultation.follow_up import names_complaint
from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.consultation.summary.soap import earlier_if
from sparsedoctor.app.consultation.summary.wording import wording


@dataclass(frozen=True, slots=True)
class SafetyNet:
    """Shown with the answer; the history does not keep it, because it can be made again."""

    text: str


def safety_net(
    words: str, assessment: Assessment, intake: Intake, language: Language
) -> SafetyNet | None:
    """What to say beside the answer to `words`; None where no complaint is found in them."""
    if assessment.general or not (assessment.findings or names_complaint(words, intake)):
        return None
    said = wording(language)
    signs = earlier_if(language, age=intake.age, pregnant=intake.pregnant, crisis=assessment.crisis)
    stop = "。" if language == "zh" else "."
    between = "；" if language == "zh" else "; "
    return SafetyNet(f"{said.earlier}{said.colon}{between.join(signs)}{stop}")
