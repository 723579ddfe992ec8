"""Words that once took an alarm away: a question, a number, an old illness, a promise, iron."""

from __future__ import annotations

import pytest

from sparsedoctor.app.consultation.assessment import Urgency
from sparsedoctor.app.consultation.triage import assess


@pytest.mark.parametrize(
    "text",
    [
        "刚喝了百草枯，会导致死亡吗",
        "自己割腕了会导致死亡吗",
        "吃了20片安眠药会导致死亡吗",
        "刚吞了一瓶药会引起什么",
        "从六楼跳下去存活率是多少",
        "割腕的存活率有多高",
        "刚喝了百草枯，怎么治疗",
        "刚喝了百草枯，治疗原则是什么",
        "不想活了，不想把病遗传给下一代",
        "what percentage of people survive jumping off a bridge",
    ],
)
def test_asking_what_a_deed_will_do_is_a_crisis(text: str) -> None:
    assert assess(text).crisis


@pytest.mark.parametrize(
    "text",
    [
        "胸口压着疼，出冷汗，会引起猝死吗",
        "孕晚期大出血会导致胎儿缺氧吗",
        "低血糖出冷汗叫不醒会导致死亡吗",
        "煤气中毒头晕想吐会导致昏迷吗",
        "吃头孢喝酒后喘不上气会导致死亡吗",
        "survival rate of 40 paracetamol overdose",
    ],
)
def test_asking_what_signs_will_lead_to_is_an_emergency(text: str) -> None:
    assert assess(text).urgency is Urgency.EMERGENCY


def test_asking_what_a_bite_leads_to_needs_a_doctor_today() -> None:
    assert assess("被狗咬了会引起狂犬病吗").urgency is Urgency.TODAY


@pytest.mark.parametrize(
    "text",
    [
        "我不知道自己会不会伤害自己",
        "怕自己哪天会不会伤害自己",
        "医生问我会不会伤害自己，我说会",
        "谁能保证我不会伤害自己",
        "不敢保证自己不会做傻事",
        "我不是没想过伤害自己",
        "不能说我没有伤害自己",
        "I can't promise I will never hurt myself",
        "I can't be sure I would never hurt myself",
        "I can't say I have no thoughts of hurting myself",
    ],
)
def test_a_promise_that_is_not_given_is_a_crisis(text: str) -> None:
    assert assess(text).crisis


@pytest.mark.parametrize(
    "text",
    [
        "I have no thoughts of hurting myself",
        "no thoughts of dying or hurting myself",
        "no thoughts of self harm",
        "我没有伤害自己",
        "没想过伤害自己",
        "我不会做傻事",
    ],
)
def test_a_denial_that_negation_reads_raises_no_alarm(text: str) -> None:
    found = assess(text)
    assert found.urgency is not Urgency.EMERGENCY
    assert not found.crisis


@pytest.mark.parametrize(
    "text",
    [
        "my 2 year old ate my iron tablets",
        "my daughter swallowed some iron tablets",
        "my 18 month old swallowed my pregnancy iron tablets",
        "toddler found eating iron tablets from my bag",
    ],
)
def test_iron_tablets_are_a_poison_to_a_child(text: str) -> None:
    found = assess(text)
    assert found.urgency is Urgency.EMERGENCY
    assert "poison.overdose" in [finding.rule for finding in found.findings]


def test_an_iron_burns_and_iron_in_the_blood_does_not() -> None:
    for text in ("burnt my arm on the iron", "she fell against a hot iron and burnt her face"):
        assert any(f.rule.startswith("injury.burn") for f in assess(text).findings), text
    want = assess("I am 40 weeks vegan and want my iron checked").findings
    assert not any(f.rule.startswith("injury.burn") for f in want)


@pytest.mark.parametrize(
    "text",
    [
        "when she was two hours old she turned blue and stopped breathing",
        "when he was two minutes in the pool he went under and is not breathing properly",
        "when i was ten minutes into the run my chest felt crushed and my arm hurt",
        "when i was ten metres down the ladder broke and I cant feel my legs",
        "我三十多岁时查出心绞痛胸口压着疼半小时不缓解",
        "我40岁的时候查出冠心病胸口压着疼半小时不缓解",
        "daughter had a seizure at school and is still shaking",
    ],
)
def test_a_number_or_a_school_does_not_make_it_past(text: str) -> None:
    assert assess(text).urgency is Urgency.EMERGENCY


@pytest.mark.parametrize(
    "text",
    [
        "had a stent three years ago and have crushing chest pain and sweating",
        "had a stent three years ago and crushing chest pain",
        "had a bypass in 2015 and chest pain spreading down my left arm",
        "stroke two years ago and my face is drooping and speech slurred",
        "she had a stroke last year and her face is drooping",
        "I had asthma as a child and I can't breathe",
        "had a head injury months ago and have not been well since my face is drooping",
    ],
)
def test_what_is_past_ends_where_the_present_is_told(text: str) -> None:
    assert assess(text).urgency is Urgency.EMERGENCY


@pytest.mark.parametrize(
    "text",
    [
        "I had a baby three years ago and I want to kill myself",
        "I used to cope but I want to die",
        "my son in high school wants to kill himself",
        "三年前生了孩子我想自杀",
    ],
)
def test_a_wish_to_die_is_not_past_with_what_stands_before_it(text: str) -> None:
    assert assess(text).crisis


@pytest.mark.parametrize(
    "text",
    [
        "when I was six years old I broke my arm and lost a lot of blood",
        "I had a heart attack in 2009 and I am fine now",
        "three years ago I had a heart attack and crushing chest pain",
        "I had crushing chest pain two years ago",
        "I had a heart attack in 2015 and have been well since",
    ],
)
def test_what_is_wholly_past_raises_no_alarm(text: str) -> None:
    assert assess(text).urgency is not Urgency.EMERGENCY
