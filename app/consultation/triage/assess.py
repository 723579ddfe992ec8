"""From a person's words to an `Assessment`."""

from __future__ import annotations

from typing import Literal

from sparsedoctor.app.consultation.assessment import Assessment, Urgency
from sparsedoctor.app.consultation.language import Language, language_of
from sparsedoctor.app.consultation.numbers import numbers_for


def assess(
    text: str,
    *,
    age: float | None = None,
    sex: Literal["female", "male"] | None = None,
    pregnant: bool = False,
    conditions: tuple[str, ...] = (),
    medicines: tuple[str, ...] = (),
    region: str | None = None,
    language: Language | None = None,
) -> Assessment:
    """Read `text` by the rules. What the person told about themselves comes as keywords.

    age: years. region: ISO 3166-1 alpha-2, None for the international line. language: of the
    advice; None takes the language of the text.
    """
    return Assessment(
        urgency=Urgency.UNCLEAR,
        crisis=False,
        findings=(),
        numbers=numbers_for(region),
        language=language or language_of(text),
    )
