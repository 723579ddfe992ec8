"""An emergency or crisis stands on the screen before the first word of the answer, and stays."""

from __future__ import annotations

from typing import Any

import pytest

from sparsedoctor.app.consultation import consultation
from sparsedoctor.app.consultation.assessment import Assessment, Finding, Numbers, Urgency
from sparsedoctor.core.engine.scripted import Reply, ScriptedEngine

NUMBERS = Numbers("GB", ("999", "112"), ("116 123",), ("111",))


def finding(urgency: Urgency, *, crisis: bool = False) -> Finding:
    return Finding("rule-1", urgency, "my words", "Do this now.", "It is a sign.", "source", crisis)


def assessment(urgency: Urgency, *, crisis: bool = False, language: str = "en") -> Assessment:
    return Assessment(urgency, crisis, (finding(urgency, crisis=crisis),), NUMBERS, language)


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> dict[str, Assessment]:
    """What the rules find in which words; what they really find is tested with the rules."""
    found: dict[str, Assessment] = {}
    calm = Assessment(Urgency.UNCLEAR, False, (), NUMBERS, "en")
    monkeypatch.setattr(consultation, "assess", lambda text, **_: found.get(text, calm))
    return found


async def test_an_emergency_stands_at_the_top_and_needs_no_model(
    open_chat: Any, rules: Any
) -> None:
    rules["chest"] = assessment(Urgency.EMERGENCY)
    engine = ScriptedEngine()
    async with open_chat(engine) as chat:
        card = await chat.ask("chest")
        assert "EMERGENCY" in chat.text("#alarm")
        assert "999 / 112" in chat.text("#alarm")
        shown = str(card.query_one("AssessmentCard").content)
        assert "Do this now." in shown
        assert "my words" in shown
        assert engine.calls == []  # a small model has nothing to add to "call an ambulance"


async def test_the_finding_stands_before_the_first_word_of_the_model(
    open_chat: Any, rules: Any
) -> None:
    rules["a blip of it"] = assessment(Urgency.TODAY)
    engine = ScriptedEngine([Reply(("late",), first_delay=30)])
    async with open_chat(engine) as chat:
        card = await chat.send("a blip of it")
        await chat.until(lambda: card.view.started is not None)
        assert card.view.text == ""
        assert "See a doctor today" in str(card.query_one("AssessmentCard").content)
        await chat.pilot.press("escape")
        await chat.until(lambda: not chat.screen.busy)


async def test_the_alarm_comes_even_while_the_model_is_loading(open_chat: Any, rules: Any) -> None:
    rules["chest"] = assessment(Urgency.EMERGENCY)
    async with open_chat(ScriptedEngine(load_delay=20.0)) as chat:
        await chat.send("chest")
        await chat.until(lambda: "EMERGENCY" in chat.text("#alarm"))
        assert chat.text("#state") != "ready"


async def test_a_crisis_shows_its_lines_and_stays_after_minimising_words(
    open_chat: Any, rules: Any
) -> None:
    rules["dark"] = assessment(Urgency.EMERGENCY, crisis=True)
    async with open_chat() as chat:
        await chat.ask("dark")
        await chat.ask("it was only a joke")
        assert "116 123" in chat.text("#alarm")
        await chat.pilot.press("ctrl+n")
        await chat.until(lambda: not chat.cards)
        assert chat.text("#alarm") == ""


async def test_a_milder_finding_is_told_with_the_answer_only(open_chat: Any, rules: Any) -> None:
    rules["a blip of it"] = assessment(Urgency.TODAY)
    async with open_chat() as chat:
        card = await chat.ask("a blip of it")
        assert chat.text("#alarm") == ""
        assert "See a doctor today" in str(card.query_one("AssessmentCard").content)


async def test_chinese_words_get_a_chinese_alarm(open_chat: Any, rules: Any) -> None:
    rules["胸痛"] = assessment(Urgency.EMERGENCY, language="zh")
    async with open_chat() as chat:
        await chat.ask("胸痛")
        assert "紧急" in chat.text("#alarm")


@pytest.mark.parametrize("size", [(40, 15), (80, 24), (120, 40)])
async def test_the_alarm_leaves_room_for_answer_and_prompt(
    open_chat: Any, rules: Any, size: tuple[int, int]
) -> None:
    rules["dark"] = assessment(Urgency.EMERGENCY, crisis=True)
    async with open_chat(size=size) as chat:
        await chat.ask("dark")
        screen = chat.screen
        assert screen.query_one("#alarm").region.height >= 2
        assert screen.query_one("#conversation").region.height >= 3
        assert screen.query_one("#prompt").region.bottom <= size[1]
