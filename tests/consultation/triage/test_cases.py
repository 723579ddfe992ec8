"""Cases written from medical knowledge: what must be caught and what must not alarm."""

from __future__ import annotations

import pytest
from consultation.triage_cases import ALARMING, CASES, cases

from sparsedoctor.app.consultation.assessment import Urgency
from sparsedoctor.app.consultation.triage import assess


@pytest.mark.parametrize("text", cases(*ALARMING))
def test_an_emergency_is_caught(text: str) -> None:
    assert assess(text).urgency is Urgency.EMERGENCY


@pytest.mark.parametrize("text", cases("crisis"))
def test_a_crisis_is_caught(text: str) -> None:
    assert assess(text).crisis


@pytest.mark.parametrize("text", cases("not_emergency", "negated", "general", "past", "fiction"))
def test_what_is_no_emergency_raises_no_alarm(text: str) -> None:
    found = assess(text)
    assert found.urgency is not Urgency.EMERGENCY
    assert not found.crisis


@pytest.mark.parametrize("text", cases("general"))
def test_a_general_question_is_known_as_one(text: str) -> None:
    assert assess(text).general


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_sets_are_large_and_half_of_them_are_no_emergencies(language: str) -> None:
    sets = CASES[language]
    whole = sum(map(len, sets.values()))
    alarming = sum(len(sets[kind]) for kind in ALARMING)
    assert whole >= 150
    assert whole - alarming >= 75


def test_wrong_first_aid_is_not_given_for_a_quality_of_pain() -> None:
    injuries = {"injury.bleeding", "injury.major", "neuro.head-injury"}
    for pain in ("crushing", "stabbing", "tearing", "shooting", "splitting", "pounding", "cutting"):
        for place in ("chest", "head", "back", "belly"):
            found = assess(f"My father has a {pain} pain in the {place} and is sweating")
            assert not injuries.intersection(f.rule for f in found.findings), (pain, place)
