"""A turn: the rules first, then questions, a fixed text or the model's answer, the review last."""

from __future__ import annotations

import pytest

from sparsedoctor.app.consultation.assessment import Urgency, sentences
from sparsedoctor.app.consultation.consultation import (
    Assessed,
    Consultation,
    FollowUp,
    Reviewed,
    Turn,
)
from sparsedoctor.app.consultation.emergency_reply import emergency_reply
from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.consultation.safety_net import SafetyNet
from sparsedoctor.app.consultation.summary import DISCLAIMER
from sparsedoctor.app.consultation.triage import assess
from sparsedoctor.core.engine.protocol import EngineDied, Finished, Notice, TextDelta
from sparsedoctor.core.engine.scripted import Reply, ScriptedEngine
from sparsedoctor.core.errors import SparseDoctorError

CALM = "How much sleep does an adult need?"


def engine(*answers: str) -> ScriptedEngine:
    return ScriptedEngine([Reply((answer,)) for answer in answers or ("Seven hours.",)])


def test_the_rules_come_first_and_the_review_last() -> None:
    events = list(Consultation(engine()).ask(CALM))
    assert isinstance(events[0], Assessed)
    assert isinstance(events[-1], Reviewed)
    assert isinstance(events[-2], Finished)
    assert events[-1].text == "Seven hours."


def test_the_disclaimer_is_said_once() -> None:
    consultation = Consultation(engine())
    first = [e for e in consultation.ask(CALM) if isinstance(e, Notice)]
    second = [e for e in consultation.ask("And a child?") if isinstance(e, Notice)]
    assert len(first) == 1
    assert "not a doctor" in first[0].message
    assert second == []


def test_in_an_emergency_a_fixed_text_stands_for_the_model() -> None:
    scripted = engine("Do not worry, it is nothing.")
    consultation = Consultation(scripted, region="GB")
    events = list(consultation.ask("crushing chest pain and sweating"))
    assert isinstance(events[0], Assessed)
    assert events[0].assessment.urgency is Urgency.EMERGENCY
    assert scripted.calls == []
    shown = "".join(e.text for e in events if isinstance(e, TextDelta))
    assert isinstance(events[-1], Reviewed)
    assert events[-1].text == shown
    assert "999" in shown
    assert shown.count("Do not drive yourself") == 1
    list(consultation.ask("please explain that"))
    assert len(scripted.calls) == 1


def test_a_crisis_shows_its_lines_in_the_persons_language() -> None:
    consultation = Consultation(engine(), region="CN")
    text = list(consultation.ask("我不想活了"))[-1]
    assert isinstance(text, Reviewed)
    assert "12356" in text.text
    assert "120" in text.text


def test_questions_are_asked_before_advice_and_not_twice() -> None:
    scripted = engine()
    consultation = Consultation(scripted, follow_up=True)
    events = list(consultation.ask("I have a headache"))
    asked = [e for e in events if isinstance(e, FollowUp)]
    assert 1 <= len(asked[0].questions) <= 3
    assert scripted.calls == []
    assert isinstance(events[-1], Reviewed)
    list(consultation.ask("since this morning, mild, nothing else"))
    assert len(scripted.calls) == 1


def test_an_answer_to_questions_is_read_with_the_words_before() -> None:
    consultation = Consultation(engine(), follow_up=True)
    list(consultation.ask("I have a headache"))
    events = list(consultation.ask("it came suddenly, the worst of my life, and a stiff neck"))
    assert isinstance(events[0], Assessed)
    assert events[0].assessment.urgency is Urgency.EMERGENCY


def test_without_asking_back_the_model_answers_at_once() -> None:
    scripted = engine()
    list(Consultation(scripted).ask("I have a mild headache"))
    assert len(scripted.calls) == 1


def test_the_answer_is_reviewed() -> None:
    consultation = Consultation(engine("Take amoxicillin 500 mg. See https://x.example.org."))
    reviewed = list(consultation.ask(CALM))[-1]
    assert isinstance(reviewed, Reviewed)
    assert "500 mg" not in reviewed.text
    assert len(reviewed.remarks) == 2
    assert consultation.turns[0].answer == reviewed.text


def test_cautions_stand_before_the_answer() -> None:
    consultation = Consultation(engine(), intake=Intake(medicines=("warfarin",)))
    notices = [
        e.message for e in consultation.ask("Can I take ibuprofen?") if isinstance(e, Notice)
    ]
    assert any("warfarin" in one and "pharmacist" in one for one in notices)
    assert not any("safe" in one for one in notices)


def test_the_intake_reaches_the_model_and_the_rules() -> None:
    scripted = engine()
    intake = Intake(age=0.1, sex="female", allergies=("penicillin",))
    events = list(Consultation(scripted, intake=intake).ask("a fever of 38.3"))
    assert isinstance(events[0], Assessed)
    assert events[0].assessment.urgency is Urgency.EMERGENCY
    calm = engine()
    list(Consultation(calm, intake=Intake(age=34, allergies=("penicillin",))).ask(CALM))
    system = calm.calls[0][0][0].content
    assert "34" in system
    assert "penicillin" in system


def test_earlier_turns_go_along() -> None:
    scripted = engine("one", "two")
    first = Consultation(scripted)
    list(first.ask(CALM))
    resumed = Consultation(scripted, turns=first.turns)
    list(resumed.ask("And naps?"))
    roles = [message.role for message in scripted.calls[-1][0]]
    assert roles == ["system", "user", "assistant", "user"]


def test_what_came_before_a_failure_is_kept() -> None:
    scripted = ScriptedEngine([Reply(("so far",), failure=EngineDied("the model ended"))])
    consultation = Consultation(scripted)
    with pytest.raises(EngineDied):
        list(consultation.ask(CALM))
    assert consultation.turns[0].answer == "so far"


def test_answering_anew_keeps_one_turn() -> None:
    consultation = Consultation(engine("one", "two"))
    list(consultation.ask(CALM))
    list(consultation.regenerate())
    assert [turn.answer for turn in consultation.turns] == ["two"]


@pytest.mark.parametrize("words", ["", "  \n", "x" * 20_001])
def test_empty_and_endless_words_are_refused_in_one_line(words: str) -> None:
    with pytest.raises(SparseDoctorError) as error:
        list(Consultation(engine()).ask(words))
    assert "\n" not in str(error.value)


def test_there_is_nothing_to_answer_anew_before_the_first_question() -> None:
    with pytest.raises(SparseDoctorError, match="no question yet"):
        list(Consultation(engine()).regenerate())


def test_the_language_follows_the_words_and_the_intake() -> None:
    consultation = Consultation(engine())
    assessed = next(iter(consultation.ask("每天睡多久合适")))
    assert isinstance(assessed, Assessed)
    assert assessed.assessment.language == "zh"
    fixed = next(iter(Consultation(engine(), intake=Intake(language="en")).ask("睡多久")))
    assert isinstance(fixed, Assessed)
    assert fixed.assessment.language == "en"


def test_a_turn_is_plain_data() -> None:
    consultation = Consultation(engine())
    list(consultation.ask(CALM))
    turn = consultation.turns[0]
    assert isinstance(turn, Turn)
    assert turn.words == CALM
    assert turn.finished is not None


def test_the_banner_shows_the_most_urgent_advice_once_and_no_milder_one() -> None:
    whole = assess("crushing chest pain, short of breath even at rest, and my ankle is sprained")
    shown = whole.most_urgent()
    assert {finding.urgency for finding in whole.findings} > {Urgency.EMERGENCY}
    assert {finding.urgency for finding in shown.findings} == {Urgency.EMERGENCY}
    advice = [finding.advice for finding in shown.findings]
    assert len(advice) == len(set(advice)) < len(whole.findings)
    assert "crushing chest" in " ".join(finding.words for finding in shown.findings)
    assert shown.urgency is whole.urgency
    assert shown.numbers == whole.numbers


@pytest.mark.parametrize(
    "words",
    [
        "crushing chest pain, I can't breathe, sweating, and I took 30 paracetamol",
        "胸口像压了块大石头，喘不上气，嘴唇发紫，还吐了血",
    ],
)
def test_no_sentence_of_advice_is_said_twice(words: str) -> None:
    whole = assess(words)
    shown = whole.most_urgent()
    said = [one for finding in shown.findings for one in sentences(finding.advice)]
    assert len(said) == len(set(said))
    urgent = [f for f in whole.findings if f.urgency is Urgency.EMERGENCY]
    assert set(said) == {one for finding in urgent for one in sentences(finding.advice)}
    reasons = " ".join(finding.why for finding in shown.findings)
    assert all(finding.why in reasons for finding in urgent)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("diabetic wife vomiting, drowsy, glucose 28 mmol/l, confused", "Not low: no sugar."),
        ("he is still holding the live wire", "before the current is off"),
        ("my partner put his hands round my neck", "even without a mark"),
        ("nosebleed for 40 minutes on warfarin", "lean forward"),
        ("she took a bite of peanut, lips swelling, throat tight", "outer thigh"),
        ("孩子误喝了百草枯", "即使没感觉也要马上去医院"),
    ],
)
def test_first_aid_that_fits(words: str, said: str) -> None:
    assert said in emergency_reply(assess(words))


def test_what_was_swallowed_comes_before_comfort() -> None:
    first = emergency_reply(assess("I took 30 paracetamol tablets because I want to die"))
    assert first.splitlines()[1].startswith("- It has been taken already: call")
    second = emergency_reply(assess("喝了农药，不想活了"))
    assert second.splitlines()[1].startswith("- 已经服下")


def test_a_crisis_beside_what_can_wait_for_today_calls_no_ambulance() -> None:
    assessment = assess("I hate my life, and a severe headache since noon")
    assert assessment.crisis
    beside = {finding.urgency for finding in assessment.findings if not finding.crisis}
    assert Urgency.TODAY in beside
    assert Urgency.EMERGENCY not in beside
    said = emergency_reply(assessment)
    assert "See a doctor today" not in said
    assert "Tell the emergency service" not in said


def test_a_crisis_stays_in_the_banner_beside_a_more_urgent_finding() -> None:
    shown = assess("crushing chest pain, and I hate my life, I feel hopeless").most_urgent()
    assert any(finding.crisis for finding in shown.findings)
    assert any(not finding.crisis for finding in shown.findings)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_caution_is_said_even_when_questions_are_asked_back_first(language: str) -> None:
    intake = Intake(medicines=("warfarin",), language="zh" if language == "zh" else "en")
    consultation = Consultation(ScriptedEngine(), intake=intake, follow_up=True)
    words = {"en": "I have a headache, can I take ibuprofen?", "zh": "我头痛，可以吃布洛芬吗？"}
    events = list(consultation.ask(words[language]))
    asked_back = next(i for i, e in enumerate(events) if isinstance(e, FollowUp))
    said = [e.message for e in events[:asked_back] if isinstance(e, Notice)]
    assert any("warfarin" in text or "华法林" in text for text in said), said
    assert any({"en": "pharmacist", "zh": "药师"}[language] in text for text in said), said


def test_the_first_answer_of_the_model_carries_the_disclaimer_also_after_an_emergency() -> None:
    consultation = Consultation(ScriptedEngine())
    list(consultation.ask("My chest feels crushed and I am sweating"))
    said = [e.message for e in consultation.ask(CALM) if isinstance(e, Notice)]
    assert DISCLAIMER["en"] in said


@pytest.mark.parametrize(
    ("intake", "sign"),
    [
        (Intake(), "breathing becomes hard"),
        (Intake(age=2.0), "wet nappy"),
        (Intake(pregnant=True), "the baby moves less"),
    ],
)
def test_an_answer_to_a_complaint_says_when_to_get_help_earlier(intake: Intake, sign: str) -> None:
    consultation = Consultation(ScriptedEngine(), intake=intake)
    said = [e.text for e in consultation.ask("I have had a cough") if isinstance(e, SafetyNet)]
    assert len(said) == 1
    assert sign in said[0]


def test_a_general_question_gets_no_signs_to_watch_for() -> None:
    consultation = Consultation(ScriptedEngine())
    for words in ("How is asthma treated?", CALM):
        assert not [e for e in consultation.ask(words) if isinstance(e, SafetyNet)]


def test_the_signs_follow_the_complaint_through_a_question_asked_back() -> None:
    consultation = Consultation(ScriptedEngine(), follow_up=True)
    assert any(isinstance(e, FollowUp) for e in consultation.ask("I have had a cough"))
    events = list(consultation.ask("Since Monday, no"))
    assert any(isinstance(e, SafetyNet) for e in events)


def test_who_leaves_after_the_last_word_has_had_the_answer() -> None:
    """So the next question is not the first one again, which begins with the disclaimer."""
    consultation = Consultation(ScriptedEngine([Reply(("Rest.",)), Reply(("Drink.",))]))
    events = consultation.ask("What helps against a cold?")
    finished = next(event for event in events if isinstance(event, Finished))
    events.close()  # type: ignore[attr-defined]
    assert consultation.turns[0].finished == finished
    notices = [e.message for e in consultation.ask("And tea?") if isinstance(e, Notice)]
    assert DISCLAIMER["en"] not in notices
