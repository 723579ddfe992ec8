"""What a person may tell about themselves: optional, editable, used by the rules and the prompt."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from sparsedoctor.core.errors import SparseDoctorError

Sex = Literal["female", "male"]

_MOST_ENTRIES = 40
_LONGEST_ENTRY = 120  # characters
_OLDEST = 130.0  # years


@dataclass(frozen=True, slots=True)
class Intake:
    """Every field may be left empty. `age` in years; fractions for infants.

    Raises SparseDoctorError when a value cannot be, with what to put right.
    """

    age: float | None = None
    sex: Sex | None = None
    pregnant: bool = False
    breastfeeding: bool = False
    allergies: tuple[str, ...] = ()
    medicines: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    region: str | None = None  # ISO 3166-1 alpha-2
    language: Literal["en", "zh"] | None = None

    def __post_init__(self) -> None:
        if self.age is not None and not (math.isfinite(self.age) and 0 <= self.age <= _OLDEST):
            raise SparseDoctorError(f"the age {self.age:g} cannot be; give years from 0 to 130")
        if self.sex not in (None, "female", "male"):
            raise SparseDoctorError(f"sex is {self.sex!r}; choose female, male or leave it empty")
        if self.pregnant and self.sex == "male":
            raise SparseDoctorError("pregnant and male do not go together; change one of them")
        if self.region is not None and not re.fullmatch("[A-Z]{2}", self.region):
            raise SparseDoctorError(
                f"the region {self.region!r} is no country code; give two letters such as CN or GB"
            )
        if self.language not in (None, "en", "zh"):
            raise SparseDoctorError(f"the language {self.language!r} is not en or zh")
        for name in ("allergies", "medicines", "conditions"):
            entries = getattr(self, name)
            if len(entries) > _MOST_ENTRIES:
                raise SparseDoctorError(f"more than {_MOST_ENTRIES} {name}; name the main ones")
            if any(len(entry) > _LONGEST_ENTRY for entry in entries):
                raise SparseDoctorError(
                    f"one of the {name} has more than {_LONGEST_ENTRY} characters; shorten it"
                )

    @property
    def empty(self) -> bool:
        return self == Intake()

    def as_json(self) -> dict[str, Any]:
        """Plain data without the empty fields; `from_json` reads it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value not in (None, False, ())
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Intake:
        """Read what `as_json` or a form gave; texts are cleaned, unknown names refused."""
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise SparseDoctorError(f"the intake has no field {', '.join(sorted(unknown))}")
        return cls(
            age=parse_age(values.get("age")),
            sex=values.get("sex") or None,
            pregnant=bool(values.get("pregnant")),
            breastfeeding=bool(values.get("breastfeeding")),
            allergies=parse_list(values.get("allergies")),
            medicines=parse_list(values.get("medicines")),
            conditions=parse_list(values.get("conditions")),
            region=str(values["region"]).strip().upper() if values.get("region") else None,
            language=values.get("language") or None,
        )


def parse_age(value: object) -> float | None:
    """Years from a number or from "45", "8 months", "6周", "3 天"; None for an empty text."""
    if value is None or value == "":
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    text = str(value).strip().lower()
    match = re.fullmatch(
        r"(\d{1,3}(?:\.\d+)?)\s*(years?|y|岁|months?|mo|个?月|weeks?|w|周|days?|d|天)?"
        r"(?:\s*old|大)?",
        text,
    )
    if match is None:
        raise SparseDoctorError(f"the age {text!r} is not understood; write 45, 8 months or 6 周")
    unit = (match[2] or "y")[0]
    per_year = {"y": 1.0, "岁": 1.0, "m": 12.0, "个": 12.0, "月": 12.0, "w": 52.18, "周": 52.18}
    return float(match[1]) / per_year.get(unit, 365.25)


def parse_list(value: object) -> tuple[str, ...]:
    """Entries from a list or from a text separated by commas, semicolons or lines; each once."""
    if value is None:
        return ()
    parts: Iterable[object] = (
        re.split(r"[,，;；、\n]", value)
        if isinstance(value, str)
        else value
        if isinstance(value, Iterable)
        else (value,)
    )
    cleaned = (" ".join(str(part).split()) for part in parts)
    return tuple(dict.fromkeys(part for part in cleaned if part))
