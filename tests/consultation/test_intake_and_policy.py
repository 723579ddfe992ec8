"""The intake is validated; the policy asks for what is missing; medicines are held against it."""

from __future__ import annotations

from typing import Any

import pytest

from sparsedoctor.app.consultation.cautions import cautions
from sparsedoctor.app.consultation.follow_up import questions
from sparsedoctor.app.consultation.intake import Intake, parse_age, parse_list
from sparsedoctor.app.consultation.language import Language, language_of
from sparsedoctor.app.consultation.prompts import instructions, system_prompt
from sparsedoctor.app.consultation.triage import assess
from sparsedoctor.core.errors import SparseDoctorError


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"age": 140}, "140"),
        ({"age": "old"}, "not understood"),
        ({"age": -1}, "-1"),
        ({"age": float("nan")}, "nan"),
        ({"sex": "x"}, "female, male"),
        ({"sex": "male", "pregnant": True}, "do not go together"),
        ({"region": "England"}, "country code"),
        ({"language": "fr"}, "not en or zh"),
        ({"medicines": ["x" * 200]}, "120 characters"),
        ({"allergies": [str(n) for n in range(50)]}, "more than 40"),
        ({"height": 180}, "no field height"),
    ],
)
def test_a_wrong_intake_is_refused_in_one_line(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SparseDoctorError) as error:
        Intake.from_json(values)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_intake_survives_json() -> None:
    intake = Intake(age=34, sex="female", pregnant=True, allergies=("青霉素",), region="CN")
    assert Intake.from_json(intake.as_json()) == intake
    assert Intake.from_json({}) == Intake()
    assert Intake().empty


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("45", 45),
        ("8 months", 8 / 12),
        ("6周", 6 / 52.18),
        ("3 天", 3 / 365.25),
        ("", None),
        (7, 7),
    ],
)
def test_ages_as_people_write_them(text: object, years: float | None) -> None:
    assert parse_age(text) == (pytest.approx(years) if years else None)


def test_lists_as_people_write_them() -> None:
    assert parse_list("warfarin, aspirin；二甲双胍\n warfarin") == (
        "warfarin",
        "aspirin",
        "二甲双胍",
    )


def ask(words: str, language: Language = "en", **known: Any) -> tuple[str, ...]:
    return questions(words, assess(words), Intake(**known), language)


def test_at_most_three_questions_about_what_was_not_said() -> None:
    asked = ask("I have a headache")
    assert len(asked) == 3
    assert "When did it begin" in asked[0]
    less = ask("I have had a mild headache for two days")
    assert not any("When did it begin" in one or "How bad" in one for one in less)


@pytest.mark.parametrize(
    "words",
    ["crushing chest pain", "I want to die", "what is a stroke?", "hello", "How do vaccines work?"],
)
def test_nothing_is_asked_where_it_does_not_help(words: str) -> None:
    assert ask(words) == ()


def test_the_questions_are_in_the_persons_language_and_follow_the_complaint() -> None:
    assert any("体温" in one for one in ask("我发烧了", "zh"))
    assert any("child" in one for one in ask("my 3 year old has a cough"))
    assert any("harming yourself" in one for one in ask("I feel depressed"))


COMPLAINTS = [
    "I have a headache", "my stomach hurts", "it burns when I pee", "my back hurts",
    "I have a rash on my arm", "I feel dizzy", "I have a cough", "I have a fever",
    "I feel down lately", "my knee hurts", "my child has diarrhoea", "I have palpitations",
    "我头痛", "我肚子疼", "小便疼", "腰疼", "手臂上起疹子", "头晕", "咳嗽", "发烧",
    "最近心情低落", "膝盖疼", "孩子拉肚子", "心悸",
]  # fmt: skip
ANSWERS = {
    "en": " It began three days ago and came slowly, 4/10, getting better, it stays in one place. "
    "She is 30 years old. No vomiting, no stiff neck, no weakness, no numbness, no fainting, no "
    "blisters, no breathlessness, no pain in the flank. Temperature 36.8. I took paracetamol. "
    "I have no thoughts of harming myself. She is playing and drinking well.",
    "zh": "三天前慢慢开始的，4分，好转了，不窜。30岁。没有呕吐，没有脖子硬，没有肢体无力，"
    "没有晕倒，没有水泡，不气短，腰不疼，没有发烧，体温36.8度。吃了药。没想过自杀。精神好，能喝水。",
}


@pytest.mark.parametrize("complaint", COMPLAINTS)
def test_a_complaint_leads_to_questions_and_answered_ones_are_not_asked_again(
    complaint: str,
) -> None:
    language = language_of(complaint)
    asked = questions(complaint, assess(complaint), Intake(), language)
    assert 1 <= len(asked) <= 3
    told = complaint + "." + ANSWERS[language]
    again = questions(told, assess(told), Intake(), language)
    assert not set(asked) & set(again)


@pytest.mark.parametrize(
    ("known", "text", "said"),
    [
        ({"medicines": ("warfarin",)}, "can I take ibuprofen?", "bleeding"),
        ({"medicines": ("硝酸甘油",)}, "能吃伟哥吗", "血压骤降"),
        ({"allergies": ("penicillin",)}, "is amoxicillin fine?", "allergy"),
        ({"allergies": ("头孢",)}, "能吃头孢吗", "过敏"),
        ({"conditions": ("asthma",)}, "may I take aspirin", "asthma"),
        ({"pregnant": True}, "can I take ibuprofen", "pregnancy"),
        ({"breastfeeding": True}, "codeine for my back", "breast-feeding"),
        ({"age": 8.0}, "is codeine ok for her", "child"),
        ({"medicines": ("paracetamol",)}, "can I take Tylenol too", "two products"),
        ({}, "感康和对乙酰氨基酚一起吃", "对乙酰氨基酚"),
        ({"conditions": ("蚕豆病",)}, "能吃复方新诺明吗", "溶血"),
        ({"conditions": ("glaucoma",)}, "can I take benadryl", "glaucoma"),
        ({"medicines": ("warfarin",)}, "started carbamazepine", "blood thinner"),
        ({"age": 8}, "aspirin for fever", "child"),
        ({}, "吃了头孢能喝酒吗", "双硫仑"),
        ({}, "tylenol and nyquil together", "paracetamol"),
    ],
)
def test_a_caution_is_given(known: dict[str, Any], text: str, said: str) -> None:
    language = language_of(text)
    found = cautions(Intake(**known), text, language)
    assert any(said in caution.text for caution in found), found
    ask_whom = "药师" if language == "zh" else "pharmacist"
    assert all(ask_whom in caution.text and caution.source for caution in found)
    assert not any("safe" in caution.text or "安全" in caution.text for caution in found)


def test_one_medicine_under_two_names_is_not_two() -> None:
    for text in ("I took paracetamol (Tylenol)", "我吃了泰诺林", "吃了对乙酰氨基酚（泰诺林）"):
        assert not any(
            "paracetamol" in c.text or "对乙酰" in c.text
            for c in cautions(Intake(), text, language_of(text))
        )
    # Heparin is what is given in pregnancy; other blood thinners are not.
    expecting = Intake(pregnant=True)
    assert cautions(expecting, "is enoxaparin right for me?", "en") == ()
    assert cautions(expecting, "is warfarin right for me?", "en")


def test_no_medicine_named_no_caution() -> None:
    assert cautions(Intake(medicines=("warfarin", "aspirin")), "I have a cold", "en") == ()


def test_prompts_have_a_hash_and_carry_the_intake() -> None:
    english, chinese = system_prompt("en"), system_prompt("zh")
    assert english.sha256 != chinese.sha256
    assert len(english.sha256) == 64
    assert "34" in instructions("zh", Intake(age=34))
    assert instructions("en", Intake()) == english.text


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("我头疼", "zh"),
        ("I ache", "en"),
        ("我的CT结果 ground glass", "zh"),
        ("38.5", "en"),
        ("", "en"),
    ],
)
def test_the_script_decides_the_language(text: str, language: str) -> None:
    assert language_of(text) == language
