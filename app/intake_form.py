"""The form about the person as texts; `Intake.from_json` reads it back. Pure."""

from __future__ import annotations

from typing import Any

from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.consultation.language import Language

TEXTS = ("age", "allergies", "medicines", "conditions", "region")

_YEAR = 365.25  # days
_LENGTHS = (_YEAR / 12, 7.0, 1.0)  # days
_NAMES: dict[Language, tuple[str, ...]] = {
    "en": (" months", " weeks", " days"),
    "zh": ("个月", "周", "天"),
}


def filled(intake: Intake, language: Language = "en") -> dict[str, Any]:
    """The form's fields for `intake`: texts, choices ("" for none) and boxes."""
    comma = "、" if language == "zh" else ", "
    return {
        "age": "" if intake.age is None else age_text(intake.age, language),
        "sex": intake.sex or "",
        "pregnant": intake.pregnant,
        "breastfeeding": intake.breastfeeding,
        "allergies": comma.join(intake.allergies),
        "medicines": comma.join(intake.medicines),
        "conditions": comma.join(intake.conditions),
        "region": intake.region or "",
        "language": intake.language or "",
    }


def age_text(years: float, language: Language = "en") -> str:
    """Years as people say them; infants in months, weeks or days."""
    if years >= 2:
        return f"{round(years, 1):g}"
    days = years * _YEAR
    for name, length in zip(_NAMES[language], _LENGTHS, strict=True):
        count = round(days / length)
        if count and abs(count * length - days) < 0.5:
            return f"{count}{name}"
    return f"{round(days)}{_NAMES[language][-1]}"
