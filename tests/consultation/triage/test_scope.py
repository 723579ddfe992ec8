"""Negation, other people, past, questions and stories; ages, sex and illness as conditions."""

from __future__ import annotations

from typing import Any

import pytest

from sparsedoctor.app.consultation.assessment import Urgency
from sparsedoctor.app.consultation.triage import assess


def alarm(text: str, **known: Any) -> bool:
    return assess(text, **known).urgency is Urgency.EMERGENCY


@pytest.mark.parametrize(
    "text",
    [
        "no chest pain",
        "I don't have chest pain",
        "denies chest pain, shortness of breath, or fainting",
        "without chest pain or breathlessness",
        "chest pain: no",
        "没有胸痛",
        "没有呼吸困难",
        "无胸痛、呼吸困难、晕厥",
        "否认胸痛，咯血，呼吸困难",
        "不是不想活",
        "I am not suicidal",
        "胸痛：无",
    ],
)
def test_what_is_denied_raises_no_alarm(text: str) -> None:
    found = assess(text)
    assert not found.findings or found.urgency is not Urgency.EMERGENCY
    assert not found.crisis


@pytest.mark.parametrize(
    "text",
    [
        "no fever but crushing chest pain",
        "I have no idea why but my chest is killing me",
        "the chest pain does not go away",
        "I've never had chest pain like this before",
        "no relief from the chest pain",
        "not only is my chest tight, my arm is numb",
        "胸痛没有缓解",
        "没有发烧，但是胸口疼得厉害",
        "从来没有这么胸痛过",
        "不知道为什么突然喘不上气",
        "无缘无故胸口剧痛",
    ],
)
def test_a_negation_of_something_else_changes_nothing(text: str) -> None:
    assert alarm(text)


def test_somebody_else_is_still_an_emergency_and_known_as_such() -> None:
    for text in ("my mother has crushing chest pain", "我爸胸口疼得厉害"):
        found = assess(text)
        assert found.urgency is Urgency.EMERGENCY
        assert found.about_other
    assert not assess("I have crushing chest pain").about_other


def test_a_question_about_oneself_is_no_general_question() -> None:
    for text in (
        "my face is drooping and my arm is weak, what are the signs of a stroke?",
        "What should I do, I have crushing chest pain",
        "胸口疼得厉害，要紧吗？",
        "how do I know if my chest pain is a heart attack?",
    ):
        assert alarm(text), text
        assert not assess(text).general


def test_the_past_that_goes_on_is_present() -> None:
    assert not alarm("years ago I had chest pain")
    assert alarm("since last year I keep having chest pain")
    assert alarm("以前胸痛过，现在又胸痛了")


@pytest.mark.parametrize(
    "text",
    [
        "last year I had chest pain but it is gone now",
        "去年胸痛过，现在没事了",
        "我爸三年前心梗放了支架 现在复查都挺好",
        "I had fits as a toddler, none since",
    ],
)
def test_what_is_over_now_is_past(text: str) -> None:
    assert not alarm(text)


def test_a_vaccine_does_not_make_its_reaction_unreal() -> None:
    assert alarm("ten minutes after the vaccine my throat is swelling and I can't breathe")
    assert alarm("打完疫苗十分钟，喉咙发紧喘不上气")


@pytest.mark.parametrize(
    ("text", "urgency"),
    [
        ("i burned my finger on the stove, small blister", Urgency.DAYS),
        ("手指烫了个小水泡", Urgency.DAYS),
        ("my kid fell off the bed, cried right away and is playing now", Urgency.DAYS),
        ("孩子从床上掉下来，哭了几声，现在玩得好好的", Urgency.DAYS),
        ("peeing blood after being kicked in the kidney", Urgency.EMERGENCY),
        ("腰被踢了一脚后尿血", Urgency.EMERGENCY),
    ],
)
def test_mild_and_grave_of_one_kind_are_told_apart(text: str, urgency: Urgency) -> None:
    assert assess(text).urgency is urgency


def test_a_quoted_person_is_real_unless_it_is_a_story() -> None:
    assert alarm('my mother says "my chest hurts and I cannot breathe"')
    assert not alarm('in the movie she says "my chest hurts and I cannot breathe"')


def test_age_sex_and_pregnancy_come_from_the_words_or_from_what_is_known() -> None:
    assert alarm("fever of 38.4", age=0.1)
    assert not alarm("fever of 38.4", age=30)
    assert alarm("my six week old has a fever")
    assert alarm("some bleeding since this morning", pregnant=True)
    assert not alarm("some bleeding of the gums since this morning")


def test_known_illness_and_medicines_count() -> None:
    assert not alarm("I am sweating and shaky")
    assert alarm("I am sweating and shaky", conditions=("type 1 diabetes",))
    assert alarm("发烧38.3度", medicines=("化疗药", "化疗"))
    assert alarm("knocked my head on the shelf", medicines=("warfarin",))


@pytest.mark.parametrize(
    ("text", "emergency"),
    [
        ("体温40度", True),
        ("104 F", True),
        ("temperature 37.2 C", False),
        ("oxygen 86 %", True),
        ("oxygen saturation 98%", False),
        ("blood pressure 220/130", True),
        ("blood pressure 124/78", False),
        ("血压220/130", True),
        ("glucose 2.2 mmol/L", True),
        ("glucose 40 mg/dL", True),
        ("glucose 95 mg/dL", False),
        ("血糖31", True),
        ("血氧83%", True),
        ("血氧只有七十几", True),
        ("the oximeter shows 86%", True),
        ("meter said 41 mg/dl", True),
        ("temp 40,2", True),
        ("temp 37.2, runny nose", False),
        ("8 month old, temp 37.2", False),
        ("my son is 10 weeks, thermometer says 38.6", True),
        ("34 wks, bp 168/112, headache", True),
        ("our girl was born three weeks ago and has 38.4", True),
        ("血糖高的情况要紧吗？我今年51岁", False),
        ("今天12/25去体检", False),
    ],
)
def test_numbers_are_read_with_their_units(text: str, emergency: bool) -> None:
    assert alarm(text) is emergency


@pytest.mark.parametrize(
    "text",
    ["he is unconcious", "difficulty braething", "siezure", "anafilaxis now", "踹不上气",
     "胸口悶得慌", "my freind is unresponsve"],
)  # fmt: skip
def test_slips_of_the_keyboard_are_understood(text: str) -> None:
    assert alarm(text)


def test_idioms_are_no_crisis() -> None:
    for text in (
        "笑死我了",
        "想死你了",
        "this traffic is killing me",
        "I'm dying to see that film",
    ):
        assert not assess(text).crisis


def test_the_advice_names_the_number_of_the_region() -> None:
    assert "120" in assess("胸口疼得厉害", region="CN").findings[0].advice
    assert "999" in assess("crushing chest pain", region="GB").findings[0].advice
    assert "112" in assess("crushing chest pain").findings[0].advice


def test_the_advice_is_in_the_language_asked_for() -> None:
    assert "请" in assess("crushing chest pain", language="zh").findings[0].advice
    assert "Call" in assess("胸口疼得厉害", language="en").findings[0].advice
