"""What must hold for any text: adding words never takes an emergency away.

Hypothesis puts known emergencies among other sentences, in any order, width and script.
"""

from __future__ import annotations

import pytest
from consultation.triage_cases import ALARMING, cases
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedoctor.app.consultation.assessment import Urgency
from sparsedoctor.app.consultation.triage import assess
from sparsedoctor.app.consultation.triage.assess import LONGEST

ORDER = list(Urgency)
OTHER = (
    "I also have a runny nose.",
    "It is raining today.",
    "My sister had a cold last week.",
    "What are the signs of a stroke?",
    "No fever.",
    "I have no allergies, no cough and no rash.",
    "Years ago I broke my arm.",
    "I read a novel yesterday.",
    "Thank you for your help!",
    "我昨天吃了面条。",
    "没有过敏。",
    "中风有哪些症状？",
    "去年去过北京。",
    "我没有发烧，也不咳嗽。",
)
MINIMISING = (
    "It is probably nothing.",
    "My wife says I am overreacting.",
    "I don't want to bother anybody.",
    "I'm sure it will pass.",
    "It's not that bad, I think.",
    "家人说没事。",
    "应该没什么大事吧。",
    "可能是我想多了。",
    "睡一觉就好了。",
)
PLANS = (
    "I want to kill myself and I have saved up pills",
    "I have a plan to hang myself",
    "我不想活了，绳子都买好了",
    "我想跳楼",
    "I will jump off the bridge tonight",
    "攒了一瓶安眠药，今晚就不活了",
)
texts = st.sampled_from(cases(*ALARMING))


@settings(max_examples=40)
@given(texts, st.lists(st.sampled_from(OTHER + MINIMISING), max_size=5), st.integers(0, 5))
def test_other_sentences_never_lower_the_urgency(text: str, others: list[str], at: int) -> None:
    at = min(at, len(others))
    end = "。" if text[-1] > "\u3000" else "."
    whole = " ".join([*others[:at], text.rstrip(".。") + end, *others[at:]])
    assert ORDER.index(assess(whole).urgency) <= ORDER.index(assess(text).urgency)


@settings(max_examples=40)
@given(texts, st.text(max_size=200))
def test_any_text_after_it_never_lowers_the_urgency(text: str, more: str) -> None:
    assert assess(f"{text}\n\n{more}").urgency is Urgency.EMERGENCY


@settings(max_examples=40)
@given(texts, st.sampled_from(MINIMISING), st.booleans())
def test_minimising_words_change_nothing(text: str, words: str, before: bool) -> None:
    whole = f"{words} {text}" if before else f"{text}. {words}"
    assert assess(whole).urgency is Urgency.EMERGENCY


@settings(max_examples=40)
@given(st.sampled_from(PLANS), st.lists(st.sampled_from(OTHER + MINIMISING), max_size=4))
def test_a_plan_or_means_always_fires_a_crisis(plan: str, others: list[str]) -> None:
    for whole in (f"{plan}. {' '.join(others)}", f"{' '.join(others)} {plan}"):
        found = assess(whole)
        assert found.crisis
        assert found.urgency is Urgency.EMERGENCY


@settings(max_examples=40)
@given(st.lists(texts, min_size=2, max_size=4).flatmap(st.permutations))
def test_the_order_of_sentences_does_not_matter(sentences: list[str]) -> None:
    forward = assess("\n\n".join(sentences))
    backward = assess("\n\n".join(reversed(sentences)))
    assert forward.urgency is backward.urgency
    assert {f.rule for f in forward.findings} == {f.rule for f in backward.findings}


@settings(max_examples=40)
@given(texts)
def test_full_width_forms_do_not_matter(text: str) -> None:
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)
    assert {f.rule for f in assess(wide).findings} == {f.rule for f in assess(text).findings}


@settings(max_examples=40)
@given(texts)
def test_capitals_do_not_matter(text: str) -> None:
    assert assess(text.upper()).urgency is Urgency.EMERGENCY


@settings(max_examples=40)
@given(st.text(max_size=400))
def test_any_text_is_read(text: str) -> None:
    found = assess(text)
    assert found.urgency in Urgency
    for finding in found.findings:
        assert all(piece in text for piece in finding.words.split(" … "))


@pytest.mark.parametrize(
    "text",
    ["chest " * 4000, "no " * 4000, "胸口疼" * 4000, "1/1" * 4000, "(" * 9000, "9" * 9000,
     "血压" * 4000, "12 " * 4000, "\n" * 9000, "temp " * 4000, "my " * 4000],
    ids=lambda text: text[:6],
)  # fmt: skip
def test_a_hostile_text_is_read_to_its_end(text: str) -> None:
    assess(text[:LONGEST])  # the suite's own timeout bounds it


def test_of_an_endless_text_both_ends_are_read() -> None:
    for text in ("my chest feels crushed. " + "x " * 60_000, "x " * 60_000 + " I can't breathe"):
        assert assess(text).urgency is Urgency.EMERGENCY
