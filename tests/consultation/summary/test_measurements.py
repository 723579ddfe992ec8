"""What was measured is taken over as it was written; what was not measured is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsedoctor.app.consultation.summary import measurements


@pytest.mark.parametrize(
    ("text", "kind", "written"),
    [
        ("My temperature is 38.5", "temperature", "38.5 °C"),
        ("temp of 101.3 F since noon", "temperature", "101.3 °F"),
        ("fever 103", "temperature", "103 °F"),
        ("It was 39.2 °C this morning.", "temperature", "39.2 °C"),
        ("体温38.5", "temperature", "38.5 °C"),
        ("体温３８．５℃", "temperature", "38.5 °C"),
        ("烧到39度5了", "temperature", "39.5 °C"),
        ("孩子发烧40度", "temperature", "40 °C"),
        ("BP 150/95", "blood_pressure", "150/95 mmHg"),
        ("my blood pressure was 220 over 130 today", "blood_pressure", "220/130 mmHg"),
        ("血压180/110", "blood_pressure", "180/110 mmHg"),
        ("高压150，低压95", "blood_pressure", "150/95 mmHg"),
        ("血压高到190", "blood_pressure", "190 mmHg"),
        ("oxygen 86 %", "oxygen", "86 %"),
        ("SpO2 is 91% on my watch", "oxygen", "91 %"),
        ("血氧只有88", "oxygen", "88 %"),
        ("blood sugar 54 mg/dL", "glucose", "54 mg/dL"),
        ("glucose is 3.1 mmol/l", "glucose", "3.1 mmol/L"),
        ("血糖16.8", "glucose", "16.8"),
        ("血糖 7.2 毫摩尔每升", "glucose", "7.2 mmol/L"),
        ("pulse 130", "pulse", "130 /min"),
        ("heart rate of 44 bpm", "pulse", "44 /min"),
        ("心率一直在120左右", "pulse", "120 /min"),
        ("respiratory rate 28", "breaths", "28 /min"),
        ("呼吸频率30次", "breaths", "30 /min"),
        ("I weigh 70 kg", "weight", "70 kg"),
        ("my weight is 154.5 lbs", "weight", "154.5 lb"),
        ("体重65公斤", "weight", "65 kg"),
        ("体重120斤", "weight", "120 斤"),
    ],
)
def test_a_measurement_is_taken_as_written(text: str, kind: str, written: str) -> None:
    assert [(one.kind, one.text) for one in measurements(text)] == [(kind, written)]


@pytest.mark.parametrize(
    "text",
    [
        "I have a fever",
        "It hurts 24/7",
        "for 38 days",
        "I am 37",
        "take 500 mg",
        "what is a normal temperature? Is 37 C normal",
        "what if it goes above 40 C",
        "如果体温到了39度怎么办",
        "正常血压应该是120/80",
        "the water was 40 degrees C",
        "洗澡水40度",
        "I lost 5 kg of weight",
        "体重下降了5公斤",
        "temperature 385",
        "my pulse 2026",
        "vision 20/40",
        "on 11/22 I fell",
        "5/10 pain",
        "高烧3天了",
        "胸口闷得慌",
        "",
    ],
)
def test_what_was_not_measured_is_not_taken(text: str) -> None:
    assert measurements(text) == []


def test_several_measurements_keep_their_order_and_words() -> None:
    text = "Temp 39.1 C, pulse 120. BP 95/60 and SpO2 93%, I weigh 80 kg."
    found = measurements(text, turn=2)
    assert [one.text for one in found] == ["39.1 °C", "120 /min", "95/60 mmHg", "93 %", "80 kg"]
    assert found[0].words == "Temp 39.1 C"
    assert {one.turn for one in found} == {2}
    assert all(one.words in text for one in found)


def test_a_question_about_the_norm_does_not_hide_the_value_beside_it() -> None:
    found = measurements("My temperature is 38.5, is that normal?")
    assert [one.text for one in found] == ["38.5 °C"]


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    for one in measurements(text):
        assert one.words in text


PIECES = ("体温", "血压高", "38.5/120", "temp", "bp", "over", "度", ".", ",", "\n", "1")


@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_text_full_of_numbers_is_read(pieces: list[str]) -> None:
    measurements(" ".join(pieces))
    measurements("".join(pieces))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", ["血压高", "1", "bp ", "temperature 1", "1/", "体重 ", "a", "."])
def test_a_pattern_does_not_explode(piece: str) -> None:
    measurements(piece * 20_000)
