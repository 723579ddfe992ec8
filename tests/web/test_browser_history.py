"""Saved conversations, private ones, exports and the summary, in a real browser."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from web.tab import ENTER, Tab

from sparsedoctor.core.engine.scripted import Reply

pytestmark = pytest.mark.browser

PERSONAL = "My number is +44 20 7946 0958, mail me at jane@example.org. What is a cold?"


def listed(tab: Tab) -> list[str]:
    return [one.text for one in tab.all("#conversations label")]


def search(tab: Tab, words: str) -> None:
    tab.open("history")
    tab.fill("#search textarea, #search input", words)


def choose(tab: Tab, words: str) -> None:
    """Search for a conversation, wait until it alone is listed, and choose it."""
    search(tab, words)
    tab.until(lambda: len(tab.all("#conversations label")) == 1)
    tab.until(lambda: tab.one("#conversations label").is_displayed())
    tab.one("#conversations label").click()
    tab.until(lambda: tab.all("#conversations input:checked"))


def saved_file(tab: Tab, link: str) -> str:
    """What the browser would write, read from the link."""
    tab.until(lambda: tab.one(link).is_displayed())
    kind, _, data = str(tab.one(link).get_attribute("href")).partition(";base64,")
    assert kind.startswith("data:")
    return base64.b64decode(data).decode()


def holds(home: Path, words: str) -> list[Path]:
    """The files of `home` that hold these words."""
    files = [path for path in home.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if words.encode() in path.read_bytes()]


def test_a_conversation_is_found_and_taken_up_again(server: Any, tab: Tab) -> None:
    server.reply["next"] = Reply(("Wheezing goes with it.",))
    tab.answered("What is asthma, zebrafinch?")
    tab.begin()
    tab.until(lambda: "zebrafinch" not in tab.text("#chat"))
    server.reply["next"] = Reply(("More about it.",))
    tab.answered("What is gout, heron?")
    choose(tab, "zebraf")
    tab.click("#open")
    tab.until(lambda: "Wheezing goes with it." in tab.text("#chat"))
    assert "heron" not in tab.text("#chat")
    tab.answered("And at night?")
    asked = [message.content for message in server.engine.calls[-1][0]]
    assert "What is asthma, zebrafinch?" in asked
    assert "What is gout, heron?" not in asked


@pytest.mark.parametrize("words", ["胸口", "胸口发紧", "chest pai"])
def test_search_finds_pieces_of_words_in_both_languages(tab: Tab, words: str) -> None:
    search(tab, "胸口发紧")
    tab.until(lambda: "nothing found" in tab.text("#history-note") or listed(tab))
    if not listed(tab):
        tab.answered("什么情况会胸口发紧？What is chest pain?")
    search(tab, words)
    tab.until(lambda: [one for one in listed(tab) if "胸口发紧" in one])
    search(tab, "quagga")
    tab.until(lambda: listed(tab) == [] and "nothing found" in tab.text("#history-note"))


def test_an_alarm_comes_back_with_its_conversation(tab: Tab) -> None:
    tab.answered("crushing chest pain in my left arm, nightjar")
    tab.begin()
    tab.until(lambda: not tab.all("#alarm .alarm"))
    choose(tab, "nightjar")
    tab.click("#open")
    tab.until(lambda: "EMERGENCY" in tab.text("#alarm"))


def test_a_conversation_is_renamed_and_pinned(tab: Tab) -> None:
    tab.answered("What is a wart, kestrel?")
    choose(tab, "kestrel")
    tab.fill("#title textarea, #title input", "About my kestrel")
    tab.click("#rename")
    tab.until(lambda: any(one.startswith("About my kestrel") for one in listed(tab)))
    tab.click("#pin")
    tab.until(lambda: any(one.startswith("★ About my kestrel") for one in listed(tab)))
    tab.begin()
    tab.answered("What is a corn?")
    search(tab, "")
    tab.until(lambda: len(listed(tab)) > 1 and listed(tab)[0].startswith("★ About my kestrel"))
    choose(tab, "kestrel")
    tab.click("#pin")
    tab.until(lambda: any(one.startswith("About my kestrel") for one in listed(tab)))


def test_a_branch_goes_on_beside_the_original(server: Any, tab: Tab) -> None:
    server.reply["next"] = Reply(("A wart is small.",))
    tab.answered("What is a wart, godwit?")
    choose(tab, "godwit")
    tab.click("#branch")
    tab.until(lambda: sum("godwit" in one for one in listed(tab)) == 2)
    tab.answered("And what helps?")
    assert "What is a wart, godwit?" in tab.text("#chat")
    search(tab, "And what helps")  # said in the branch alone
    tab.until(lambda: len(listed(tab)) == 1)


def test_buttons_without_a_choice_say_so(tab: Tab) -> None:
    tab.open("history")
    for button in ("open", "pin", "branch", "export", "delete", "rename"):
        tab.click(f"#{button}")
        tab.until(lambda: "choose a conversation" in tab.text("#history-note"))


def test_a_conversation_is_exported(server: Any, tab: Tab) -> None:
    server.reply["next"] = Reply(("A cold passes by itself.",))
    tab.answered("What is a cold, ptarmigan?")
    choose(tab, "ptarmigan")
    tab.click("#export")
    text = saved_file(tab, "#export-markdown")
    assert "What is a cold, ptarmigan?" in text
    assert "A cold passes by itself." in text
    document = json.loads(saved_file(tab, "#export-json"))
    assert document["format"] == "sparsedoctor-conversation/1"
    assert [one["role"] for one in document["messages"]] == ["user", "assistant"]


def test_deleting_takes_a_second_press_and_the_words_leave_the_file(server: Any, tab: Tab) -> None:
    server.reply["next"] = Reply(("Nobody knows the oystercatcher.",))
    tab.answered("Do you know my secret, capercaillie?")
    assert holds(server.home, "capercaillie")
    choose(tab, "capercaillie")
    tab.click("#delete")
    tab.until(lambda: "once more" in tab.text("#history-note"))
    assert holds(server.home, "capercaillie")
    tab.click("#delete")
    tab.until(lambda: "capercaillie" not in tab.body)  # also from the screen and the list
    assert "Deleted." in tab.text("#history-note")
    for words in ("capercaillie", "oystercatcher"):
        assert holds(server.home, words) == []


def test_delete_all_wants_a_tick_and_leaves_nothing(server: Any, tab: Tab) -> None:
    tab.answered("What is a cold, corncrake?")
    tab.open("history")
    tab.click("#delete-all")
    tab.until(lambda: "tick the box" in tab.text("#history-note"))
    assert holds(server.home, "corncrake")
    tab.click("#delete-all-sure input")
    tab.click("#delete-all")
    tab.until(lambda: "corncrake" not in tab.body and listed(tab) == [])
    assert holds(server.home, "corncrake") == []
    assert not tab.one("#delete-all-sure input").is_selected()


def test_a_private_conversation_leaves_no_byte_on_the_disk(server: Any, tab: Tab) -> None:
    tab.answered("A saved one, dunnock. What is a cold?")
    tab.click("#private input")
    tab.until(lambda: "private: nothing is saved" in tab.text("#status"))
    assert "dunnock" not in tab.text("#chat")
    server.reply["next"] = Reply(("Nobody hears of the bittern.",))
    tab.open("intake")
    tab.fill("#medicines textarea, #medicines input", "warfarin, wryneck")
    tab.answered("What is a hoopoe, and what is a cold?")
    tab.until(lambda: "bittern" in tab.text("#chat"))
    tab.open("summary")
    tab.click("#summary-make")
    assert "hoopoe" in saved_file(tab, "#summary-save")
    search(tab, "hoopoe")
    tab.until(lambda: "nothing found" in tab.text("#history-note"))
    tab.browser.refresh()
    tab.loaded()
    assert "hoopoe" in tab.text("#chat")  # a reload does not lose it
    for words in ("hoopoe", "bittern", "wryneck"):
        assert holds(server.home, words) == []
    assert holds(server.home, "dunnock")
    tab.click("#private input")
    tab.until(lambda: "hoopoe" not in tab.body)


@pytest.mark.parametrize(
    ("form", "suffix", "sign"),
    [("markdown", "md", "# "), ("html", "html", "<!DOCTYPE html>"), ("json", "json", "{")],
)
def test_the_summary_is_seen_and_saved_in_every_form(
    server: Any, tab: Tab, form: str, suffix: str, sign: str
) -> None:
    server.reply["next"] = Reply(("A cold passes by itself.",))
    tab.answered(PERSONAL)
    tab.open("summary")
    tab.choose("summary-form", form)
    tab.click("#summary-make")
    text = saved_file(tab, "#summary-save")
    assert tab.one("#summary-save").get_attribute("download") == f"sparsedoctor-summary.{suffix}"
    assert text.lower().lstrip().startswith(sign.lower())
    assert "7946" in text
    assert "no diagnosis" in text  # the disclaimer
    assert "cold" in tab.value("#summary-text textarea")


def test_identifiers_are_removed_on_request_and_an_old_link_does_not_stay(tab: Tab) -> None:
    tab.answered(PERSONAL)
    tab.open("summary")
    tab.click("#summary-make")
    assert "jane@example.org" in saved_file(tab, "#summary-save")
    tab.click("#summary-remove input")
    tab.until(lambda: not tab.all("#summary-save"))
    assert tab.value("#summary-text textarea") == ""
    tab.click("#summary-make")
    text = saved_file(tab, "#summary-save")
    assert "jane@example.org" not in text
    assert "7946 0958" not in text  # "7946" alone may stand in a hash or a time of day
    assert "What is a cold?" in text
    tab.begin()
    tab.until(lambda: not tab.all("#summary-save"))  # it was of another conversation


def test_a_summary_of_nothing_is_refused_in_one_line(tab: Tab) -> None:
    tab.open("summary")
    tab.click("#summary-make")
    tab.until(lambda: "nothing to sum up" in tab.text("#summary-link"))


def test_a_click_on_the_link_saves_the_file(tab: Tab, downloads: Callable[[], list[Path]]) -> None:
    tab.answered("What is a cold, redstart?")
    tab.open("summary")
    tab.click("#summary-make")
    tab.click("#summary-save")
    tab.until(lambda: [one for one in downloads() if one.suffix == ".md"])
    assert "redstart" in downloads()[0].read_text("utf-8")


def test_a_title_is_sent_with_enter(tab: Tab) -> None:
    tab.answered("What is a stye, whimbrel?")
    choose(tab, "whimbrel")
    tab.fill("#title textarea, #title input", "Whimbrels" + ENTER)
    tab.until(lambda: any(one.startswith("Whimbrels") for one in listed(tab)))
