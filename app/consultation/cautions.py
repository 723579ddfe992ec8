"""Cautions about medicines: those of the intake against those named, from a curated list.

The list (cautions.yaml) is short; that something is not on it says nothing. So a caution always
ends with "ask a pharmacist", and nothing here ever says that two medicines go together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.consultation.triage.text import normalise


@dataclass(frozen=True, slots=True)
class Caution:
    text: str
    source: str


_ASK = {
    "en": "Ask a pharmacist or doctor before you take it; do not stop a prescribed medicine "
    "by yourself.",
    "zh": "服用前请询问药师或医生；医生开的药不要自行停用。",
}


def cautions(intake: Intake, text: str, language: Language) -> tuple[Caution, ...]:
    """What to mind about the medicines named in `text`, given the intake; each said once."""
    table = _table()
    named = _groups_in(text, table["groups"])
    taken = _groups_in("\n".join(intake.medicines), table["groups"])
    if not named:
        return ()
    found = [
        *_pairs(named, taken, language),
        *_allergies(intake, named, language),
        *_conditions(intake, named, language),
        *_ages_of_life(intake, named, language),
    ]
    return tuple(dict.fromkeys(found))


def _pairs(
    named: Mapping[str, set[str]], taken: Mapping[str, set[str]], language: Language
) -> Iterable[Caution]:
    either = {
        group: named.get(group, set()) | taken.get(group, set()) for group in {*named, *taken}
    }
    table = _table()
    for pair in table["pairs"]:
        first, second = pair["of"]
        if first in either and second in either and (first in named or second in named):
            one, other = _one(either[first]), _one(either[second])
            if one != other:
                yield _caution(language, f"{one} + {other}", pair[language], pair["source"])
    for entry in table["same_twice"]:
        names = either.get(entry["group"], set())
        if len(names) > 1 and entry["group"] in named:
            yield _caution(language, " + ".join(sorted(names)), entry[language], entry["source"])


def _allergies(
    intake: Intake, named: Mapping[str, set[str]], language: Language
) -> Iterable[Caution]:
    told = normalise("\n".join(intake.allergies))
    if not told:
        return
    for entry in _table()["allergies"]:
        allergy = next((name for name in entry["allergy"] if _names(name, told)), None)
        for group in entry["groups"] if allergy else ():
            if group in named:
                what = f"allergy: {allergy}" if language == "en" else f"过敏：{allergy}"
                yield _caution(language, _one(named[group]), what, entry["source"])
    for medicine in {name for names in named.values() for name in names}:
        if _names(medicine, told):
            what = "you named an allergy to it" if language == "en" else "您说过对它过敏"
            yield _caution(language, medicine, what, "intake")


def _conditions(
    intake: Intake, named: Mapping[str, set[str]], language: Language
) -> Iterable[Caution]:
    table = _table()
    told = normalise("\n".join(intake.conditions))
    for entry in table["with_condition"]:
        if any(_names(name, told) for name in table["conditions"][entry["condition"]]):
            for group in entry["groups"]:
                if group in named:
                    yield _caution(language, _one(named[group]), entry[language], entry["source"])


def _ages_of_life(
    intake: Intake, named: Mapping[str, set[str]], language: Language
) -> Iterable[Caution]:
    table = _table()
    times = [
        (intake.pregnant, table["in_pregnancy"], {"en": "pregnancy", "zh": "怀孕"}),
        (intake.breastfeeding, table["in_breastfeeding"], {"en": "breast-feeding", "zh": "哺乳"}),
    ]
    for entry in table["children"]:
        child = intake.age is not None and intake.age < entry["below"]
        times.append((child, entry, {"en": "a child or adolescent", "zh": "儿童或青少年"}))
    for holds, entry, what in times:
        for group in entry["groups"] if holds else ():
            if group in named:
                yield _caution(language, _one(named[group]), what[language], entry["source"])


def _caution(language: Language, names: str, what: str, source: str) -> Caution:
    text = f"注意 {names}：{what}。" if language == "zh" else f"Caution, {names}: {what}."
    return Caution(f"{text}{'' if language == 'zh' else ' '}{_ASK[language]}", source)


def _groups_in(text: str, groups: Mapping[str, list[str]]) -> dict[str, set[str]]:
    plain = normalise(text)
    found = {
        group: _without_parts({name for name in names if _names(name, plain)}, plain)
        for group, names in groups.items()
    }
    return {group: names for group, names in found.items() if names}


def _without_parts(names: set[str], plain: str) -> set[str]:
    """`names` without those that only stand inside a longer one, or that say in brackets what
    the medicine before them is: one medicine is not two."""
    kept = set()
    for name in names:
        rest = plain
        for other in names - {name}:
            part, whole = normalise(name), normalise(other)
            if part != whole and part in whole:
                rest = rest.replace(whole, " ")
            bracketed = rf"{re.escape(whole)}\s*\(\s*{re.escape(part)}[^)]*\)"
            rest = re.sub(bracketed, " ", rest)
        if _names(name, rest):
            kept.add(name)
    return kept


def _names(name: str, plain: str) -> bool:
    """Whether `plain` (normalised) names it; English names begin at a word ("cef" in cefalexin)."""
    name = normalise(name)
    if name not in plain:
        return False
    return not name[0].isascii() or re.search(rf"\b{re.escape(name)}", plain) is not None


def _one(names: set[str]) -> str:
    return min(names, key=lambda name: (-len(name), name))


@cache
def _table() -> Any:
    text = files("sparsedoctor.app.consultation").joinpath("cautions.yaml").read_text("utf-8")
    return yaml.safe_load(text)
