"""Reloads, several tabs, and a page whose server forgot it, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from web.tab import Tab

from sparsedoctor.core.engine.scripted import Reply

pytestmark = pytest.mark.browser


def second_tab(tab: Tab, url: str) -> Tab:
    tab.browser.switch_to.new_window("tab")
    return Tab(tab.browser, url)


def test_an_answer_goes_on_over_a_reload(server: Any, tab: Tab) -> None:
    server.reply["next"] = Reply(tuple(f"w{n} " for n in range(150)), delay=0.05)
    tab.open("intake")
    tab.fill("#medicines textarea, #medicines input", "metformin")
    tab.ask("What is asthma?")
    tab.until(lambda: "w5 " in tab.text("#chat"))
    calls = len(server.engine.calls)
    tab.browser.refresh()
    tab.until(lambda: "What is asthma?" in tab.text("#chat"))
    assert tab.all("#status [data-state=writing]")
    tab.settled()
    tab.until(lambda: "w149" in tab.text("#chat"))  # nothing of it was lost
    assert len(server.engine.calls) == calls
    tab.open("intake")
    tab.until(lambda: tab.value("#medicines textarea, #medicines input") == "metformin")


def test_stop_works_after_a_reload(server: Any, tab: Tab) -> None:
    server.reply["next"] = Reply(("word ",) * 2000, delay=0.05)
    tab.ask("What is asthma?")
    tab.until(lambda: "word" in tab.text("#chat"))
    tab.browser.refresh()
    tab.until(lambda: "word" in tab.text("#chat"))
    tab.click("#stop")
    tab.settled()
    tab.until(lambda: "stopped by you" in tab.text("#chat"))


def test_an_alarm_is_there_after_a_reload(server: Any, tab: Tab) -> None:
    tab.answered("crushing chest pain in my left arm")
    tab.browser.refresh()
    tab.until(lambda: "EMERGENCY" in tab.text("#alarm"))


def test_a_new_tab_begins_empty_and_two_do_not_mix(server: Any, tab: Tab) -> None:
    server.reply["next"] = Reply(("slow ",) * 100, delay=0.05)
    tab.ask("What is asthma?")
    tab.until(lambda: "slow" in tab.text("#chat"))
    first = tab.browser.current_window_handle
    other = second_tab(tab, server.url)
    assert "asthma" not in other.text("#chat")
    server.reply["next"] = Reply(("quick",))
    other.answered("What is gout?")  # it waits for the engine, which is one for all
    other.until(lambda: "quick" in other.text("#chat"))
    assert "slow" not in other.text("#chat")
    assert "asthma" not in str(server.engine.calls[-1][0])
    tab.browser.switch_to.window(first)
    tab.settled()
    tab.until(lambda: tab.text("#chat").count("slow") == 100)
    assert "quick" not in tab.text("#chat")


def test_a_tab_that_waits_for_the_engine_can_be_stopped(server: Any, tab: Tab) -> None:
    server.reply["next"] = Reply(("slow ",) * 2000, delay=0.05)
    tab.ask("What is asthma?")
    tab.until(lambda: "slow" in tab.text("#chat"))
    first = tab.browser.current_window_handle
    other = second_tab(tab, server.url)
    other.ask("What is gout?")
    other.click("#stop")
    other.settled()
    other.browser.switch_to.window(first)
    assert tab.all("#status [data-state=writing]")
    tab.click("#stop")
    tab.settled()


def test_what_is_typed_while_an_answer_is_written_stays(server: Any, tab: Tab) -> None:
    server.reply["next"] = Reply(("word ",) * 2000, delay=0.02)
    tab.ask("What is asthma?")
    tab.until(lambda: "word" in tab.text("#chat"))
    before = tab.text("#chat").count("word")
    tab.type("And what is")
    tab.until(lambda: tab.text("#chat").count("word") > before + 20)
    tab.type(" gout?")
    assert tab.value("#words textarea") == "And what is gout?"
    tab.type("\ue007")  # Enter is not taken while an answer is written
    tab.click("#stop")
    tab.settled()
    assert tab.value("#words textarea") == "And what is gout?"
