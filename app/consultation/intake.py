"""What a person may tell about themselves: optional, editable, used by the rules and the prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Sex = Literal["female", "male"]


@dataclass(frozen=True, slots=True)
class Intake:
    """Every field may be left empty. `age` in years; fractions for infants."""

    age: float | None = None
    sex: Sex | None = None
    pregnant: bool = False
    breastfeeding: bool = False
    allergies: tuple[str, ...] = ()
    medicines: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    region: str | None = None
    language: Literal["en", "zh"] | None = None
