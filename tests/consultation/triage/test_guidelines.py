"""What a reading against guidelines asked for: which advice is given, and which is not."""

from __future__ import annotations

import pytest
from consultation.triage_cases import cases

from sparsedoctor.app.consultation.assessment import Urgency
from sparsedoctor.app.consultation.triage import assess


def rules(text: str, age: float | None = None) -> set[str]:
    return {finding.rule for finding in assess(text, age=age).findings}


@pytest.mark.parametrize("text", cases("today"))
def test_what_needs_a_doctor_today_is_said_so(text: str) -> None:
    found = assess(text)
    assert found.urgency is Urgency.TODAY
    assert not found.crisis


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("swelling of lips after bee sting", "breathing.anaphylaxis"),
        ("AAA 5.5 cm known, back pain since morning", "abdomen.acute"),
        ("bitten in the face by a stray dog in Nepal", "infection.rabies"),
        ("孩子手摸到电熨斗，手掌起泡", "injury.burn"),
        ("I can't stop wheezing, I'm on my third dose of ventolin in the hour", "breathing.asthma"),
        ("hand stuck in meat grinder", "injury.major"),
        ("five year old drank windscreen washer fluid", "poison.household"),
        ("foley catheter blocked", "abdomen.retention"),
        ("slipped on stairs at 30 weeks pregnant and landed on my bump", "pregnancy.fall"),
        ("手腕被玻璃割了，手指伸不直", "injury.tendon"),
        ("my carer slaps my dad who has dementia", "crisis.abuse"),
        ("护士，抽血时被用过的针头扎到手了", "infection.needlestick"),
        ("吃了晚饭以后胸闷喘不上气，62岁，出冷汗", "heart.chest-pain"),
        ("he drank milk and is choking on it", "breathing.choking"),
        ("IVF egg collection two days ago, belly swollen and breathless", "pregnancy.ovaries"),
        ("嘴唇被马蜂蛰了，肿起来了", "breathing.anaphylaxis"),
        ("抗抑鬱藥換了以後一直發抖、出汗、煩躁", "poison.serotonin"),
    ],
)
def test_the_right_rule_speaks(text: str, rule: str) -> None:
    assert rule in rules(text)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("I can't stop wheezing, I'm on my third dose of ventolin in the hour", "likeness.crisis"),
        ("孩子手摸到电熨斗，手掌起泡", "injury.electric"),
        ("slipped on stairs at 30 weeks pregnant and landed on my bump", "skin.shingles"),
        ("28 weeks pregnant and itching on palms and soles", "pregnancy.labour"),
        ("怀孕30周，手心脚心痒得睡不着", "pregnancy.labour"),
        ("孩子咬破水银温度计", "pregnancy.labour"),
        ("鼻子流水，打喷嚏", "pregnancy.labour"),
        ("四个月宝宝脸上有块淤青", "child.blue-floppy"),
        ("aches behind eyes", "heart.chest-pain"),
        ("burning behind my knee", "heart.chest-pain"),
        ("痣变大了还出血", "injury.bleeding"),
        ("烧心反酸两个月", "infection.fever"),
        ("冬天烧炭取暖", "infection.fever"),
        ("冬天烧炭取暖", "crisis.suicide"),
        ("手腕被玻璃割了，手指伸不直", "crisis.suicide"),
        ("小腿被踢后肿得发硬，脚趾一动就剧痛", "crisis.abuse"),
        ("my boyfriend strangled me, throat hurts and I lost my voice", "crisis.harm-others"),
        ("I have a baclofen pump and feel confused", "metabolic.hypoglycaemia"),
        ("吃了晚饭以后胸闷喘不上气，62岁，出冷汗", "breathing.anaphylaxis"),
        ("IVF egg collection two days ago, belly swollen and breathless", "breathing.anaphylaxis"),
        ("he drank milk and is choking on it", "breathing.anaphylaxis"),
    ],
)
def test_a_wrong_rule_is_silent(text: str, rule: str) -> None:
    assert rule not in rules(text)


@pytest.mark.parametrize(
    "text", ["adult, respiratory rate 32", "my heart rate is 175", "心率178停不下来"]
)
def test_a_number_without_an_age_is_an_adults(text: str) -> None:
    assert assess(text).urgency is Urgency.EMERGENCY


@pytest.mark.parametrize(
    "text",
    ["my baby's pulse is 150", "宝宝心率150", "my son is 3, respiratory rate 32, he plays"],
)
def test_a_childs_number_is_not_read_as_an_adults(text: str) -> None:
    assert not {"heart.rhythm", "breathing.distress"} & rules(text)


def test_the_age_that_was_told_counts() -> None:
    assert "heart.rhythm" in rules("pulse 155", age=40.0)
    assert "heart.rhythm" not in rules("pulse 155", age=1.0)


def test_a_child_in_another_sentence_lowers_nothing() -> None:
    alone = assess("A heart rate of 175 since noon.")
    beside = assess("A heart rate of 175 since noon. My son is at school.")
    assert alone.urgency is beside.urgency is Urgency.EMERGENCY


def test_my_own_pulse_counts_although_a_child_is_named() -> None:
    text = "The kids are at school and my pulse is 165"
    assert "heart.rhythm" in rules(text)


@pytest.mark.parametrize(
    ("text", "urgency"),
    [
        ("potassium 6.8", Urgency.EMERGENCY),
        ("血钾6.7", Urgency.EMERGENCY),
        ("INR 9", Urgency.EMERGENCY),
        ("sodium is 115.", Urgency.EMERGENCY),
        ("platelets 5", Urgency.EMERGENCY),
        ("血小板8000", Urgency.EMERGENCY),
        ("Hb 52 g/L", Urgency.EMERGENCY),
        ("haemoglobin 5.2 g/dl", Urgency.EMERGENCY),
        ("INR 6.1", Urgency.TODAY),
        ("sodium 122", Urgency.TODAY),
    ],
)
def test_results_of_the_laboratory(text: str, urgency: Urgency) -> None:
    assert assess(text).urgency is urgency


@pytest.mark.parametrize(
    "text",
    [
        "血小板5万",
        "platelets 150,000",
        "HbA1c 52",
        "糖化血红蛋白 6.5",
        "potassium 4.1, sodium 139, INR 2.4, platelets 230, Hb 128",
        "potassium tablets 600 mg, twice a day",
        "中性粒细胞 45%",
        "low sodium salt 100 g",
        "platelets 2.1 lakh",
        "my INR test is at 9 am",
        "INR at 9 am, then shopping",
    ],
)
def test_an_ordinary_result_is_no_alarm(text: str) -> None:
    assert not {"metabolic.laboratory", "metabolic.laboratory-today"} & rules(text)
