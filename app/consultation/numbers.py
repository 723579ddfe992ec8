"""Emergency, crisis and poison numbers by region, from the curated table numbers.yaml."""

from __future__ import annotations

import locale
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
    )


def regions() -> tuple[str, ...]:
    """Every region of the table, sorted."""
    return tuple(sorted(code for code in _table() if code != INTERNATIONAL))


def region_of_locale() -> str:
    """The region that the computer's locale names ("zh_CN" -> "CN"), or ""."""
    name = locale.getlocale()[0] or ""
    region = name.partition("_")[2].partition(".")[0].partition("@")[0].upper()
    return region if region in _table() else ""


def emergency_line(region: str | None, language: Language) -> str:
    """The line that is always visible: whom to call in an emergency, in the person's language."""
    numbers = numbers_for(region)
    if language == "zh":
        if numbers.region:
            return f"紧急情况请立即拨打当地急救电话：{'、'.join(numbers.emergency)}"
        return "紧急情况请立即拨打当地急救电话（手机在多数地区可拨 112）"
    if numbers.region:
        return f"In an emergency call your local emergency number: {' or '.join(numbers.emergency)}"
    return (
        "In an emergency call your local emergency number (112 from a mobile phone in most places)"
    )


@cache
def _table() -> dict[str, dict[str, Any]]:
    text = files("sparsedoctor.app.consultation").joinpath("numbers.yaml").read_text("utf-8")
    table: dict[str, dict[str, Any]] = yaml.safe_load(text)["regions"]
    return table
