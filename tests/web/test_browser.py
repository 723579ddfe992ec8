"""The page in a real browser."""

from __future__ import annotations

import json
from typing import Any

import pytest
from web.tab import ESCAPE, Tab

from sparsedoctor.core.engine.protocol import EngineDied
from sparsedoctor.core.engine.scripted import Reply

pytestmark = pytest.mark.browser


def test_what_must_always_be_seen_is_seen(tab: Tab) -> None:
    assert "999" in tab.text("#emergency-line")
    assert "no medical advice" in tab.text("#label")
    assert tab.one("#send").is_displayed()
    for foreign in ("Share", "Use via API", "Built with"):
        assert foreign not in tab.body


def test_an_answer_streams_in_with_its_experts(server: Any, tab: Tab) -> None:
    server.reply["next"] = Reply(("**Rest** ", *["and sleep "] * 40), delay=0.05)
    tab.ask("What is a cold?")
    tab.until(lambda: "and sleep" in tab.text("#chat"))
    assert tab.one("#stop").is_enabled()
    tab.until(lambda: "67%" in tab.text("#experts"))
    tab.settled()
    strong = tab.browser.find_elements("css selector", "#chat strong")
    assert "Rest" in [one.text for one in strong]
    assert tab.text("#chat").count("and sleep") == 40
    assert "heart" in tab.text("#experts")
    assert "seed" in tab.text("#status")
    assert len(tab.browser.find_elements("css selector", "#experts .layer")) == 30


@pytest.mark.parametrize("how", ["button", "escape"])
def test_stop_ends_the_engine_and_keeps_the_words(server: Any, tab: Tab, how: str) -> None:
    server.reply["next"] = Reply(("word ",) * 2000, delay=0.02)
    tab.ask("hello")
    tab.until(lambda: "word" in tab.text("#chat"))
    # The chat is drawn a moment before the button: a person too presses what can be pressed.
    tab.until(lambda: tab.one("#stop").is_enabled())
    if how == "button":
        tab.one("#stop").click()
    else:
        tab.type(ESCAPE)
    tab.settled()
    assert "stopped by you" in tab.text("#chat")
    assert 0 < tab.text("#chat").count("word") < 2000
    server.reply["next"] = Reply(("The engine is free.",))
    tab.ask("again")
    tab.until(lambda: "The engine is free." in tab.text("#chat"))


def test_a_dead_engine_is_told_in_plain_words(server: Any, tab: Tab) -> None:
    server.reply["next"] = Reply(failure=EngineDied("The model's process ended unexpectedly."))
    tab.ask("hello")
    tab.until(lambda: "ended unexpectedly" in tab.text("#chat"))
    server.reply["next"] = Reply(("Back again.",))
    tab.ask("hello")
    tab.until(lambda: "Back again." in tab.text("#chat"))


def test_words_are_shown_as_typed_and_a_model_brings_no_html(server: Any, tab: Tab) -> None:
    server.reply["next"] = Reply(
        ("<img src=https://evil.example/a.png> <5 mmol/l ![x](https://evil.example/b.png)",)
    )
    tab.ask("**a** <b>c</b>")
    tab.settled()
    assert "**a** <b>c</b>" in tab.text("#chat")
    assert "<5 mmol/l" in tab.text("#chat")
    images = tab.browser.find_elements("css selector", "#chat img")
    assert not [one for one in images if "evil" in str(one.get_attribute("src"))]


def test_the_answer_is_copied_as_the_model_wrote_it(server: Any, tab: Tab) -> None:
    server.reply["next"] = Reply(("**Rest** when it is <5 mmol/l.",))
    tab.answered("What is a cold?")
    tab.click("#copy")
    paste = "\ue009v"  # Ctrl+V

    def pasted() -> bool:
        tab.fill("#words textarea", "")
        tab.type(paste)
        return tab.value("#words textarea") == "**Rest** when it is <5 mmol/l."

    tab.until(pasted)


def test_a_link_of_the_model_opens_nothing(server: Any, tab: Tab) -> None:
    text = "See https://evil.example/x or [here](https://evil.example/y). "
    server.reply["next"] = Reply((text, *["word "] * 200), delay=1.0)
    tab.ask("What is a cold?")
    tab.until(lambda: len(tab.all("#chat a")) == 2)
    for number in range(2):
        # The answer is drawn anew with every word.
        tab.until(lambda number=number: tab.all("#chat a")[number].click() is None)
    tab.click("#stop")
    tab.settled()
    assert len(tab.browser.window_handles) == 1
    assert tab.browser.current_url.startswith(server.url)


def test_chinese_is_answered_with_chinese_around_it(server: Any, tab: Tab) -> None:
    tab.ask("什么是感冒？")
    tab.settled()
    assert "急救电话" in tab.text("#emergency-line")
    assert "什么是感冒" in tab.text("#chat")


def test_a_new_conversation_begins_empty(server: Any, tab: Tab) -> None:
    tab.ask("my first matter")
    tab.settled()
    tab.begin()
    tab.until(lambda: "my first matter" not in tab.text("#chat"))


def test_the_page_loads_nothing_from_elsewhere(server: Any, tab: Tab) -> None:
    tab.browser.get_log("performance")  # forget what came before
    tab.browser.refresh()
    tab.loaded()
    for panel in ("intake", "history", "summary", "help"):
        tab.open(panel)
    tab.answered("What is a cold, ![x](https://evil.example/a.png)?")
    tab.click("#intake-save")
    tab.click("#summary-make")
    tab.until(lambda: tab.all("#summary-save"))
    tab.click("#copy")
    tab.click("#again")
    tab.settled()
    asked = []
    for row in tab.browser.get_log("performance"):
        message = json.loads(row["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.append(message["params"]["request"]["url"])
    assert asked
    assert [url for url in asked if not url.startswith((server.url, "data:", "blob:"))] == []


def test_the_browser_reports_no_error(server: Any, tab: Tab) -> None:
    tab.browser.get_log("browser")
    tab.ask("hello")
    tab.settled()
    severe = [row for row in tab.browser.get_log("browser") if row["level"] == "SEVERE"]
    assert severe == []


@pytest.mark.parametrize("size", [(360, 640), (800, 600), (1280, 900)])
def test_the_page_fits_small_and_large_windows(tab: Tab, size: tuple[int, int]) -> None:
    tab.browser.set_window_size(*size)
    try:
        for name in ("#emergency-line", "#label", "#words textarea", "#send"):
            assert tab.one(name).is_displayed(), name
        width = tab.browser.execute_script("return document.documentElement.scrollWidth")
        visible = tab.browser.execute_script("return document.documentElement.clientWidth")
        assert width <= visible + 1
    finally:
        tab.browser.set_window_size(1280, 900)


def test_the_page_does_not_change_its_width_with_what_is_in_it(server: Any, tab: Tab) -> None:
    def width() -> float:
        return float(tab.one(".gradio-container").rect["width"])

    before = width()
    server.reply["next"] = Reply(("A long word: " + "x" * 300,))
    tab.answered("What is a cold?")
    assert width() == before
    tab.open("history")
    tab.open("summary")
    assert width() == before
