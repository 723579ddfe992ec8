"""What the person measured, taken from their own words: values with the unit they gave.

Careful rather than complete: a number counts only with its unit or the name of what was measured
beside it, in a range that a living body can have, and not in a clause about what is normal or
what would be if. A missing unit stays missing; nothing is converted.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "temperature",
    "blood_pressure",
    "oxygen",
    "glucose",
    "pulse",
    "breaths",
    "weight",
]

_N = r"(?<![\d./])(\d{1,3}(?:\.\d{1,2})?)"
_END = r"(?![\d/]|\.\d)"
_GAP = r"[^\d\n]{0,16}?"
_CLAUSE = re.compile(r"(?:[^.,;!?，。；！？\n]|\.(?=\d))+")
_SENTENCE = re.compile(r"(?:[^.;!?。；！？\n]|\.(?=\d))+")
_NOT_MEASURED = re.compile(
    r"\b(?:if|unless|normal|should be|supposed|target|goal|what counts|above which|below)\b"
    r"|如果|要是|假如|万一|正常|应该是|标准|目标|多少算|超过多少|水温|室温|气温|洗澡水"
    r"|\b(?:water|room|oven|outside|weather)\b",
    re.I,
)
_C_UNIT = r"(?:°\s?c\b|℃|c\b|度|摄氏度|degrees?\s?(?:c\b|celsius)|celsius)"
_F_UNIT = r"(?:°\s?f\b|℉|f\b|华氏度|degrees?\s?(?:f\b|fahrenheit)|fahrenheit)"
_TEMPERATURE_NAME = r"(?:temperature|temp|fever|体温|發燒|发烧|高烧|低烧|发热|烧到了?|烧)"
_TEMPERATURES = (
    (re.compile(rf"{_N}\s?{_F_UNIT}", re.I), "°F", 90.0, 115.0),
    (re.compile(r"(?<![\d.])(\d{2})度(\d)(?!\d)"), "°C", 30.0, 45.0),  # 39度5
    (re.compile(rf"{_N}\s?{_C_UNIT}", re.I), "°C", 30.0, 45.0),
    (re.compile(rf"{_TEMPERATURE_NAME}{_GAP}{_N}(?:\s?degrees?)?{_END}", re.I), "°F", 90.0, 115.0),
    (re.compile(rf"{_TEMPERATURE_NAME}{_GAP}{_N}(?:\s?degrees?)?{_END}", re.I), "°C", 30.0, 45.0),
)
_PRESSURE_NAME = re.compile(r"\bbp\b|blood pressure|mm\s?hg|血压|血壓|高压|收缩压|systolic", re.I)
_PRESSURES = (
    re.compile(r"(?<![\d/.])(\d{2,3})\s?(?:/|over)\s?(\d{2,3})(?![\d/]|\s?m(?:g|cg|l)\b)", re.I),
    re.compile(
        r"(?:高压|收缩压|systolic)\D{0,6}?(\d{2,3})\D{0,8}"
        r"(?:低压|舒张压|diastolic)\D{0,6}?(\d{2,3})(?!\d)",
        re.I,
    ),
    re.compile(r"血[压壓]\D{0,6}?(\d{2,3})\s?(?:到|至|和|比|、|-|\s)\s?(\d{2,3})(?!\d)"),
)
_SYSTOLIC = re.compile(
    r"(?:高压|收缩压|systolic|\bbp\b|blood pressure|血[压壓])[^\d\n。.]{0,10}?(\d{2,3})(?![\d/.])",
    re.I,
)
_OXYGEN = re.compile(
    r"(?:spo2|o2 sats?|\bsats?\b|oxygen(?: level| saturation)?|saturation|血氧饱和度|血氧)"
    rf"{_GAP}{_N}\s?%?{_END}"
    rf"|{_N}\s?%\s?(?:spo2|oxygen|o2|血氧)",
    re.I,
)
_GLUCOSE_UNIT = r"(mmol(?:/l)?|mg(?:/dl)?|毫摩尔?(?:每升)?)"
_GLUCOSE = re.compile(
    rf"(?:blood sugar|sugar|glucose|血糖){_GAP}{_N}(?:\s?{_GLUCOSE_UNIT})?{_END}"
    rf"|{_N}\s?(mmol/l|mg/dl)",
    re.I,
)
_PULSE = re.compile(
    rf"(?:heart ?rate|pulse|\bhr\b|心率|脉搏|脈搏|心跳){_GAP}{_N}{_END}"
    rf"|{_N}\s?(?:bpm|beats (?:per|a) minute)",
    re.I,
)
_BREATHS = re.compile(
    rf"(?:respiratory rate|breathing rate|\brr\b|呼吸频率|呼吸){_GAP}{_N}{_END}"
    rf"|{_N}\s?breaths (?:per|a) minute",
    re.I,
)
_WEIGHT = re.compile(
    rf"(?:\bweighs?\b|\bweight\b|体重|體重){_GAP}{_N}\s?(kg|kilos?|kilograms?|lbs?|pounds?|st(?:one)?\b|公斤|千克|斤|磅)",
    re.I,
)
_WEIGHT_CHANGE = re.compile(
    r"\b(?:lost|lose|losing|loss|gain\w*|dropp?\w*|down by|put on|up by)\b"
    r"|下降|减|掉|增|涨|轻了|重了|瘦",
    re.I,
)
_WEIGHT_UNIT = {
    "kilo": "kg",
    "公斤": "kg",
    "千克": "kg",
    "lb": "lb",
    "pound": "lb",
    "磅": "lb",
    "st": "st",
    "斤": "斤",
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """`values` as written: one, or systolic and diastolic. `unit` is "" when none was given."""

    kind: Kind
    values: tuple[float, ...]
    unit: str
    words: str  # the clause of the person's text
    turn: int  # counted from 0

    @property
    def text(self) -> str:
        """ "38.5 °C", "152/95 mmHg"."""
        numbers = "/".join(f"{value:g}" for value in self.values)
        return f"{numbers} {self.unit}".rstrip()


def measurements(text: str, turn: int = 0) -> list[Measurement]:
    """What `text` says was measured, in the order in which it stands there."""
    plain = "".join(_half_width(character) for character in text)
    found: list[tuple[int, Measurement]] = []
    for part, find in ((_SENTENCE, _pressures), (_CLAUSE, _in_clause)):
        for piece in part.finditer(plain):
            if _NOT_MEASURED.search(piece[0]):
                continue
            words = text[piece.start() : piece.end()].strip()
            taken: list[tuple[int, int]] = []
            for kind, values, unit, match in find(piece[0]):
                start, end = match.span()
                if all(end <= other or start >= last for other, last in taken):
                    taken.append((start, end))
                    one = Measurement(kind, values, unit, words, turn)
                    found.append((piece.start() + start, one))
    return [measurement for _, measurement in sorted(found, key=lambda pair: pair[0])]


_Found = tuple[Kind, tuple[float, ...], str, re.Match[str]]


def _pressures(sentence: str) -> Iterator[_Found]:
    """Both numbers, else the upper one; a sentence that names no pressure has none."""
    if not _PRESSURE_NAME.search(sentence):
        return
    for pattern in _PRESSURES:
        for match in pattern.finditer(sentence):
            high, low = float(match[1]), float(match[2])
            if 60 <= high <= 300 and 20 <= low < high:
                yield "blood_pressure", (high, low), "mmHg", match
    for match in _SYSTOLIC.finditer(sentence):
        if 50 <= (value := _number(match)) <= 300:
            yield "blood_pressure", (value,), "mmHg", match


def _in_clause(clause: str) -> Iterator[_Found]:
    """All but the pressures. Where two overlap, the first one given counts."""
    for match in _OXYGEN.finditer(clause):
        if 40 <= (value := _number(match)) <= 100:
            yield "oxygen", (value,), "%", match
    for match in _GLUCOSE.finditer(clause):
        unit = (match[2] or match[4] or "").lower()
        unit = "mg/dL" if unit.startswith("mg") else "mmol/L" if unit else ""
        least = 10.0 if unit == "mg/dL" else 0.5
        most = 80.0 if unit == "mmol/L" else 1500.0
        if least <= (value := _number(match)) <= most:
            yield "glucose", (value,), unit, match
    for match in _PULSE.finditer(clause):
        if 15 <= (value := _number(match)) <= 320:
            yield "pulse", (value,), "/min", match
    for match in _BREATHS.finditer(clause):
        if 4 <= (value := _number(match)) <= 100:
            yield "breaths", (value,), "/min", match
    for match in _WEIGHT.finditer(clause):
        if not _WEIGHT_CHANGE.search(clause):
            unit = next(
                (u for w, u in _WEIGHT_UNIT.items() if match[2].lower().startswith(w)), "kg"
            )
            yield "weight", (_number(match),), unit, match
    for pattern, unit, least, most in _TEMPERATURES:
        for match in pattern.finditer(clause):
            tenth = float(match[2]) / 10 if match.re.groups == 2 else 0.0
            if least <= (value := _number(match) + tenth) <= most:
                yield "temperature", (value,), unit, match


def _number(match: re.Match[str]) -> float:
    return float(next(group for group in match.groups() if group and group[0].isdigit()))


def _half_width(character: str) -> str:
    wide = unicodedata.normalize("NFKC", character)
    return wide if len(wide) == 1 else character
