"""What keeps a person safe, in a real browser: seen before the first word, and staying there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from web.tab import Tab

from sparsedoctor.core.engine.scripted import Reply

pytestmark = pytest.mark.browser

CHEST = "crushing chest pain going to my left arm"
CRISIS = "I want to end my life tonight, I have the pills here"
LATE = Reply(("First word. ",), first_delay=60.0)  # cancelled long before


def in_sight(tab: Tab, selector: str) -> bool:
    """Whether all of it stands within the window, wherever the page is scrolled to."""
    return bool(
        tab.browser.execute_script(
            "const r = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return r.height > 0 && r.top >= 0 && r.bottom <= innerHeight",
            selector,
        )
    )


def test_the_card_is_there_before_the_first_word_of_the_model(server: Any, tab: Tab) -> None:
    tab.answered("I have a headache")  # asks back
    server.reply["next"] = LATE
    tab.ask("slowly since this morning, 3 of 10, none of that")
    tab.until(lambda: len(tab.all("#chat .card")) == 2)
    assert tab.all("#status [data-state=writing]")
    assert "First word" not in tab.text("#chat")
    tab.click("#stop")
    tab.settled()


def test_an_emergency_is_told_while_the_model_writes_in_another_tab(server: Any, tab: Tab) -> None:
    server.reply["next"] = Reply(("word ",) * 2000, delay=0.05)
    tab.ask("What is asthma?")
    tab.until(lambda: "word" in tab.text("#chat"))
    first = tab.browser.current_window_handle
    tab.browser.switch_to.new_window("tab")
    other = Tab(tab.browser, server.url)
    other.ask(CHEST)
    other.until(lambda: "999" in other.text("#alarm"))
    other.settled()
    assert "What to do now" in other.text("#chat")
    other.browser.switch_to.window(first)
    assert tab.all("#status [data-state=writing]")
    tab.click("#stop")
    tab.settled()


@pytest.mark.parametrize(
    ("words", "shown"),
    [(CHEST, ("EMERGENCY", "999")), (CRISIS, ("EMERGENCY", "116 123", "999"))],
)
def test_an_alarm_stays_in_sight_until_a_new_conversation(
    tab: Tab, words: str, shown: tuple[str, ...]
) -> None:
    tab.answered(words)
    tab.until(lambda: all(part in tab.text("#alarm") for part in shown))
    assert tab.one("#alarm .alarm").get_attribute("role") == "alert"
    tab.answered("What is a cold?")
    for panel in ("intake", "history", "summary", "help"):
        tab.open(panel)
    tab.browser.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    tab.until(lambda: in_sight(tab, "#alarm .alarm"))
    assert in_sight(tab, "#emergency-line")
    tab.begin()
    tab.until(lambda: not tab.all("#alarm .alarm"))


def test_a_crisis_shows_the_crisis_line_in_the_card_too(tab: Tab) -> None:
    tab.answered(CRISIS)
    tab.until(lambda: "116 123" in tab.text("#chat .card"))
    tab.until(lambda: "Crisis line" in tab.text("#alarm"))


def test_the_emergency_line_needs_no_script_to_be_there(server: Any) -> None:
    import httpx

    config = httpx.get(server.url + "/config", trust_env=False).text
    assert "emergency-line" in config
    assert "999 or 112" in config


def test_an_answer_is_checked_and_the_change_is_told(server: Any, tab: Tab) -> None:
    server.reply["next"] = Reply(
        (
            "Call 0800 555 0199 now. ",
            "Rest.",
        )
    )
    tab.answered("What is a cold?")
    tab.until(lambda: "Changed after checking" in tab.text("#chat"))
    assert "0800 555 0199" not in tab.text("#chat")


@pytest.mark.parametrize("size", [(390, 844), (1280, 900)])
def test_the_question_and_the_alarm_fit_one_window(
    tab: Tab, window: Callable[[int, int], None], size: tuple[int, int]
) -> None:
    window(*size)
    tab.answered(CHEST)
    tab.browser.execute_script("window.scrollTo(0, 0)")
    for part in ("#emergency-line", "#alarm .alarm", "#words textarea", "#send"):
        tab.until(lambda part=part: in_sight(tab, part))
