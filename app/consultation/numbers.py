"""Emergency, crisis and poison numbers by region, from the curated table numbers.yaml."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from sparsedoctor.app.consultation.assessment import Numbers
from sparsedoctor.app.consultation.language import Language

INTERNATIONAL = "INTL"


def numbers_for(region: str | None) -> Numbers:
    """The numbers of `region` (ISO 3166-1 alpha-2); an unknown one gives the international line."""
    table = _table()
    code = (region or "").upper()
    row = table.get(code) or table[INTERNATIONAL]
    return Numbers(
        region=code if code in table and code != INTERNATIONAL else "",
        emergency=tuple(row["emergency"]),
        crisis=tuple(row.get("crisis", ())),
        poison=tuple(row.get("poison", ())),
        police=tuple(row.get("police", ())),
    )


def with_numbers(advice: str, numbers: Numbers, language: Language) -> str:
    """`advice` with the numbers of the region in the place of what stands for them:
    {emergency}; {or_poison}, the poison line where there is one; {police}, its number if any."""
    chinese = language == "zh"
    police, poison = any_of(numbers.police, language), any_of(numbers.poison, language)
    if police:
        police = f"（{police}）" if chinese else f" ({police})"
    if poison:
        poison = f"或中毒咨询电话 {poison}" if chinese else f" or the poison line {poison}"
    elif not numbers.region:
        poison = "或当地中毒咨询电话" if chinese else " or your poison centre"
    filled = advice.replace("{emergency}", any_of(numbers.emergency, language))
    return filled.replace("{or_poison}", poison).replace("{police}", police)


def any_of(numbers: Sequence[str], language: Language) -> str:
    """Numbers of which any one will do, as one says it."""
    return ("或" if language == "zh" else " or ").join(numbers)


def regions() -> tuple[str, ...]:
    """Every region of the table, sorted."""
    return tuple(sorted(code for code in _table() if code != INTERNATIONAL))


def region_of_locale(environment: Mapping[str, str] = os.environ) -> str:
    """The region that the environment's locale names ("zh_CN.UTF-8" -> "CN"), or "".

    Python's own `locale` turns "C.UTF-8" into "en_US", so the variables are read here, in the
    order that POSIX gives them.
    """
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        name = environment.get(variable, "")
        if name:
            region = name.partition(".")[0].partition("@")[0].partition("_")[2].upper()
            return region if region in _table() else ""
    return ""


def emergency_line(region: str | None, language: Language) -> str:
    """The line that is always visible: whom to call in an emergency, in the person's language."""
    numbers = numbers_for(region)
    if language == "zh":
        if numbers.region:
            return f"紧急情况请立即拨打当地急救电话：{any_of(numbers.emergency, language)}"
        return "紧急情况请立即拨打当地急救电话（手机在多数地区可拨 112）"
    if numbers.region:
        call = any_of(numbers.emergency, language)
        return f"In an emergency call your local emergency number: {call}"
    return (
        "In an emergency call your local emergency number (112 from a mobile phone in most places)"
    )


@cache
def _table() -> dict[str, dict[str, Any]]:
    text = files("sparsedoctor.app.consultation").joinpath("numbers.yaml").read_text("utf-8")
    table: dict[str, dict[str, Any]] = yaml.safe_load(text)["regions"]
    return table
