"""The form about the person and the questions asked back, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from web.tab import Tab

from sparsedoctor.core.engine.scripted import Reply

pytestmark = pytest.mark.browser

HEADACHE = "I have a headache"


def fill(tab: Tab, **fields: str) -> None:
    """Texts are typed, "yes" ticks a box, the rest is chosen."""
    tab.open("intake")
    for name, value in fields.items():
        if value == "yes":
            tab.click(f"#{name} input")
        elif name in ("sex", "language"):
            tab.choose(name, value)
        else:
            tab.fill(f"#{name} textarea, #{name} input", value)


def save(tab: Tab) -> None:
    tab.click("#intake-save")
    tab.until(lambda: "Saved" in tab.text("#intake-note"))


def test_what_the_form_holds_reaches_the_rules(tab: Tab) -> None:
    tab.answered("Fever of 38.5")
    assert tab.all("#alarm .alarm") == []
    tab.begin()
    fill(tab, age="31", sex="female", pregnant="yes")
    save(tab)
    tab.answered("Fever of 38.5")
    tab.until(lambda: "EMERGENCY" in tab.text("#alarm"))


def test_what_was_not_saved_holds_too(server: Any, tab: Tab) -> None:
    fill(tab, age="6 weeks", medicines="warfarin, metformin")
    tab.answered("May I give ibuprofen?")
    tab.until(lambda: "ibuprofen + warfarin" in tab.text("#chat"))
    assert "warfarin" in server.engine.calls[-1][0][0].content
    tab.answered("Fever of 38.5")
    tab.until(lambda: "EMERGENCY" in tab.text("#alarm"))


def test_the_form_stays_with_a_new_conversation_and_can_be_emptied(server: Any, tab: Tab) -> None:
    fill(tab, medicines="lithium")
    tab.answered("What is a cold?")
    tab.begin()
    tab.until(lambda: "What is a cold?" not in tab.text("#chat"))
    assert tab.value("#medicines textarea") == "lithium"
    tab.fill("#medicines textarea", "")
    save(tab)
    tab.answered("What is a cold?")
    assert "lithium" not in server.engine.calls[-1][0][0].content


def test_the_region_changes_the_emergency_number(tab: Tab) -> None:
    fill(tab, region="cn")
    save(tab)
    tab.until(lambda: "120" in tab.text("#emergency-line"))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"age": "old"}, "age"),
        ({"age": "200"}, "130"),
        ({"region": "1?"}, "two letters"),
        ({"sex": "male", "pregnant": "yes"}, "pregnant and male"),
    ],
)
def test_what_cannot_be_is_said_and_stays_in_the_form(
    server: Any, tab: Tab, fields: dict[str, str], problem: str
) -> None:
    fill(tab, allergies="nuts", **fields)
    tab.click("#intake-save")
    tab.until(lambda: problem in tab.text("#intake-note .problem"))
    assert tab.value("#allergies textarea") == "nuts"
    # A wrong form does not stand between a person and an answer.
    server.reply["next"] = Reply(("Answered all the same.",))
    tab.answered("What is a cold?")
    tab.until(lambda: "Answered all the same." in tab.text("#chat"))
    assert problem in tab.text("#intake-note")


def test_what_is_missing_is_asked_before_the_model_answers(server: Any, tab: Tab) -> None:
    before = len(server.engine.calls)
    tab.answered(HEADACHE)
    tab.until(lambda: len(tab.all("#chat .questions li")) == 3)
    assert "When did it begin" in tab.text("#chat .questions")
    assert len(server.engine.calls) == before
    server.reply["next"] = Reply(("Drink enough water.",))
    tab.answered("slowly since this morning, 3 of 10, none of that")
    tab.until(lambda: "Drink enough water." in tab.text("#chat"))
    assert len(server.engine.calls) == before + 1
    assert len(tab.all("#chat .questions")) == 1


def test_what_was_asked_is_not_asked_in_an_emergency(tab: Tab) -> None:
    tab.answered("Worst headache of my life, it came in a second, and a stiff neck")
    tab.until(lambda: "EMERGENCY" in tab.text("#alarm"))
    assert tab.all("#chat .questions") == []
