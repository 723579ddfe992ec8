"""What a model must not say is taken out of its answer, and said so; the rest stays as it was."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedoctor.app.consultation.numbers import numbers_for
from sparsedoctor.app.consultation.review import review

US, CN = numbers_for("US"), numbers_for("CN")


@pytest.mark.parametrize(
    ("answer", "gone", "remark"),
    [
        ("Take amoxicillin 500 mg three times a day.", "500 mg", "dose"),
        ("Start with warfarin 5mg.", "5mg", "dose"),
        ("Inject 10 units of insulin before meals.", "10 units", "dose"),
        ("You could take two tablets of diazepam.", "two tablets", "dose"),
        ("You should stop taking your blood pressure tablets.", "stop taking", "stop or change"),
        ("You can simply stop your insulin now. You can stop.", "you can stop", "stop or change"),
        ("Read more at https://health.example.org/page now.", "example.org", "link"),
        ("See [this page](http://x.test/a).", "x.test", "link"),
        ("Visit www.medical-advice.com today.", "medical-advice", "link"),
        ("Write to doctor@clinic.example for help.", "clinic.example", "link"),
        ("Call 1-800-555-0199 for advice.", "555-0199", "telephone"),
        ("Dial 15 for an ambulance.", "15", "telephone"),
        ("This is proven (Smith et al., 2019).", "Smith", "source"),
        ("It helps [3].", "[3]", "source"),
        ("See PMID: 1234567.", "1234567", "source"),
        ("It works.\n\nReferences:\n1. Some paper\n", "Some paper", "source"),
    ],
)
def test_it_is_removed_and_said(answer: str, gone: str, remark: str) -> None:
    found = review(answer, "en", US)
    assert gone.lower() not in found.text.lower()
    assert any(remark in one for one in found.remarks), found.remarks


@pytest.mark.parametrize(
    ("answer", "gone", "remark"),
    [
        ("每天服用阿莫西林0.5克，一日三次。", "0.5克", "剂量"),
        ("胰岛素睡前打10单位。", "10单位", "剂量"),
        ("您可以停用降压药。", "停用降压药", "停药"),
        ("详见 https://jiankang.example.cn/1 。", "jiankang", "链接"),
        ("拨打热线400-123-4567咨询。", "400-123", "号码"),
        ("研究表明有效（王某等，2019）。", "王某", "文献"),
    ],
)
def test_it_is_removed_and_said_in_chinese(answer: str, gone: str, remark: str) -> None:
    found = review(answer, "zh", CN)
    assert gone not in found.text
    assert any(remark in one for one in found.remarks), found.remarks


@pytest.mark.parametrize(
    "answer",
    [
        "Rest and drink two glasses of water.",
        "Paracetamol as the packet says helps against pain.",
        "Do not stop taking your blood pressure tablets without asking your doctor.",
        "Call 911 if it gets worse.",
        "Call a doctor if the fever is above 103 or lasts 15 days.",
        "You can also reach 988 at any hour.",
        "Antibiotics do not help against viruses.",
        "Keep a temperature of 38.5 for two days in mind; 120/80 is normal.",
        "请不要自行停药，先问医生。",
        "多喝水，休息三天。",
    ],
)
def test_a_harmless_answer_is_left_alone(answer: str) -> None:
    found = review(answer, "en", US)
    assert found.text == answer
    assert found.remarks == ()


def test_a_number_of_another_region_is_removed() -> None:
    assert "911" not in review("Call 911 now.", "en", CN).text
    assert "120" in review("请拨打120。", "zh", CN).text


def test_a_named_source_is_marked() -> None:
    found = review("According to a study in the Lancet it helps.", "en", US)
    assert found.remarks
    assert "could not be checked" in found.remarks[0]


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=300))
def test_any_text_is_reviewed_and_nothing_new_is_found_in_the_result(text: str) -> None:
    once = review(text, "en", US)
    again = review(once.text, "en", US)
    assert again.text == once.text


def test_hostile_answers_are_read_to_their_end() -> None:
    for text in ("1 " * 5000, "a." * 5000, "((" * 5000, "stop taking " * 2000, "[" * 9000):
        review(text, "en", US)
