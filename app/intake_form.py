"""The form about the person as texts; `Intake.from_json` reads it back. Pure."""

from __future__ import annotations

from typing import Any

from sparsedoctor.app.consultation.intake import Intake

TEXTS = ("age", "allergies", "medicines", "conditions", "region")

_YEAR = 365.25  # days
_NAMED = (("months", _YEAR / 12), ("weeks", 7.0), ("days", 1.0))


def filled(intake: Intake) -> dict[str, Any]:
    """The form's fields for `intake`: texts, choices ("" for none) and boxes."""
    return {
        "age": "" if intake.age is None else age_text(intake.age),
        "sex": intake.sex or "",
        "pregnant": intake.pregnant,
        "breastfeeding": intake.breastfeeding,
        "allergies": ", ".join(intake.allergies),
        "medicines": ", ".join(intake.medicines),
        "conditions": ", ".join(intake.conditions),
        "region": intake.region or "",
        "language": intake.language or "",
    }


def age_text(years: float) -> str:
    """Years as people say them; infants in months, weeks or days."""
    if years >= 2:
        return f"{round(years, 1):g}"
    days = years * _YEAR
    for name, length in _NAMED:
        count = round(days / length)
        if count and abs(count * length - days) < 0.5:
            return f"{count} {name}"
    return f"{round(days)} days"
