"""Numbers are looked for around numerals only; that must find what the whole text would give."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedoctor.app.consultation.triage import measures as measuring
from sparsedoctor.app.consultation.triage.measures import measures

_PIECES = (
    "a couple |a few |two |six |ten |an |a |week|weeks|days|month|year old|years old| old|-| |  "
    "|\n|.|,|, |。|，|岁|个月|天|周|月|大|宝宝|出生后|才|孩子|体温|烧到了|高烧|度|39度5|三十九度"
    "|temp |fever of |therm |血氧|七十几|%|spo2 |sats |/|120/80|180 over 110|血压|高压|低压"
    "|heart rate |心率|一百二|bpm|breathing |a min|血糖|mmol|mg/dl|weeks pregnant|怀孕|+3|out of "
    "|10|分|疼痛评分|3|38.5|104|45m|tablets|of those|片|粒|son |granddaughter |is |just |aged "
    "|i'm |second day|第|day 3|十|半|几|1234|年|小时|分钟|多|hour|min| ago|word |我|头痛|很|了|左右"
)
_TEXTS = st.lists(st.sampled_from(_PIECES.split("|")), max_size=40).map("".join)
_NEAR_DIGITS = (
    "_TEMPERATURE", "_OXYGEN", "_PRESSURE", "_PULSE", "_BREATHS", "_SUGAR", "_WEEKS", "_POINTS",
    "_SYSTOLIC", "_DIASTOLIC",
)  # fmt: skip


def in_whole(pattern: re.Pattern[str], plain: str) -> list[tuple[int, int]]:
    return [match.span() for match in pattern.finditer(plain)]


@settings(max_examples=200)
@given(_TEXTS)
@pytest.mark.parametrize("name", _NEAR_DIGITS)
def test_around_digits_every_match_of_the_whole_text_is_found(name: str, plain: str) -> None:
    pattern = getattr(measuring, name)
    digits = [match.span() for match in re.finditer(r"[\d十百]+", plain)]
    assert [m.span() for m in measuring._near(pattern, plain, digits)] == in_whole(pattern, plain)


@settings(max_examples=200)
@given(_TEXTS)
def test_every_duration_of_the_whole_text_is_found(plain: str) -> None:
    whole = in_whole(measuring._DURATION, plain) + in_whole(measuring._DURATION_ZH, plain)
    found = [value[1:] for value in measures(plain).get("days", [])]
    assert set(whole) <= set(found)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("our girl is six weeks old", "age", 42 / 365),
        ("宝宝才两个月", "age", 60 / 365),
        ("for a couple of days, no, two days", "days", 2),
        ("第三天还在烧", "days", 3),
        ("took ten of those tablets", "pieces", 10),
        ("I took 20 of those", "pieces", 20),
        ("I took twelve of those", "pieces", 12),
        ("吞了二十片", "pieces", 20),
        ("temp 40,2", "temp", 40.2),
        ("血氧只有八十五", "spo2", 85),
    ],
)  # fmt: skip
def test_a_measure_is_read(text: str, name: str, value: float) -> None:
    assert measures(text)[name][0][0] == pytest.approx(value)
