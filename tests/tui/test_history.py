"""Saved conversations, private ones, the form about the person and the summary, on the screen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Checkbox, Input, OptionList, Select, Static

from sparsedoctor.app.consultation.history import History
from sparsedoctor.core.engine.scripted import Reply, ScriptedEngine


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    opened = History.open(tmp_path / "history.db")
    yield opened
    opened.close()


async def listed(chat: Any, query: str = "") -> list[str]:
    """Open the list, search, and read the titles."""
    await chat.pilot.press("f4")
    await chat.until(lambda: len(chat.app.screen_stack) == 2)
    dialog = chat.app.screen
    dialog.query_one("#search", Input).value = query
    await chat.until(lambda: str(dialog.query_one("#history-note", Static).content) != "")
    await chat.pilot.pause(0.3)
    options = dialog.query_one(OptionList)
    return [str(options.get_option_at_index(i).prompt) for i in range(options.option_count)]


async def test_words_are_saved_before_the_answer(open_chat: Any, history: History) -> None:
    engine = ScriptedEngine([Reply(("late",), first_delay=30)])
    async with open_chat(engine, history=history) as chat:
        await chat.send("What is a cold?")
        await chat.until(lambda: bool(history.conversations()))
        saved = history.messages(history.conversations()[0].id)
        assert saved[0].text == "What is a cold?"
        await chat.pilot.press("escape")
        await chat.until(lambda: not chat.screen.busy)
        saved = history.messages(history.conversations()[0].id)
        assert saved[-1].status == "cancelled"


async def test_a_saved_conversation_is_found_and_taken_up_again(
    open_chat: Any, history: History
) -> None:
    engine = ScriptedEngine([Reply(("About colds.",)), Reply(("About 胸痛.",)), Reply(("More.",))])
    async with open_chat(engine, history=history) as chat:
        await chat.ask("What is a cold?")
        await chat.pilot.press("ctrl+n")
        await chat.until(lambda: not chat.cards)
        await chat.ask("What is angina?")
        assert len(await listed(chat)) == 2
        await chat.pilot.press("escape")
        assert len(await listed(chat, "胸痛")) == 1
        await chat.pilot.press("escape")
        assert len(await listed(chat, "colds")) == 1
        await chat.pilot.press("enter")
        await chat.until(lambda: bool(chat.cards) and chat.cards[0].words == "What is a cold?")
        assert chat.cards[0].view.text == "About colds."
        await chat.ask("Tell me more")
        said = [message.content for message in engine.calls[-1][0]]
        assert said[-3:] == ["What is a cold?", "About colds.", "Tell me more"]
    assert len(history.conversations()) == 2


async def test_a_branch_goes_on_and_leaves_the_original_as_it_was(
    open_chat: Any, history: History
) -> None:
    engine = ScriptedEngine([Reply(("About colds.",)), Reply(("Rest.",))])
    async with open_chat(engine, history=history) as chat:
        await chat.ask("What is a cold?")
        original = history.conversations()[0].id
        await listed(chat)
        await chat.pilot.press("ctrl+b")
        await chat.until(lambda: len(history.conversations()) == 2)
        await chat.until(lambda: len(chat.app.screen_stack) == 1 and bool(chat.cards))
        await chat.ask("What helps?")
    branch = next(one for one in history.conversations() if one.id != original)
    assert branch.parent == original
    assert [m.text for m in history.messages(original)] == ["What is a cold?", "About colds."]
    assert [m.text for m in history.messages(branch.id)][2:] == ["What helps?", "Rest."]


async def test_renaming_pinning_and_deleting(open_chat: Any, history: History) -> None:
    async with open_chat(history=history) as chat:
        await chat.ask("What is a cold?")
        await listed(chat)
        await chat.pilot.press("ctrl+t")
        await chat.until(lambda: history.conversations()[0].pinned)
        await chat.pilot.press("ctrl+r")
        await chat.until(lambda: bool(chat.app.screen.query("#line")))
        chat.app.screen.query_one("#line", Input).value = "My cold"
        await chat.pilot.press("enter")
        await chat.until(lambda: history.conversations()[0].title == "My cold")
        await chat.until(lambda: len(chat.app.screen_stack) == 2)
        await chat.pilot.press("ctrl+d")
        await chat.until(lambda: bool(chat.app.screen.query("#yes")))
        await chat.pilot.press("escape")  # not yet
        assert history.conversations()
        await chat.until(lambda: len(chat.app.screen_stack) == 2)
        await chat.pilot.press("ctrl+d")
        await chat.until(lambda: bool(chat.app.screen.query("#yes")))
        await chat.pilot.click("#yes")
        await chat.until(lambda: not history.conversations())
        await chat.until(lambda: len(chat.app.screen_stack) == 2)
        await chat.pilot.press("escape")
        await chat.until(lambda: not chat.cards)  # what was deleted leaves the screen too


async def test_deleted_words_are_in_no_file(
    open_chat: Any, history: History, tmp_path: Path
) -> None:
    async with open_chat(history=history) as chat:
        await chat.ask("What is a zebrafinch?")
        await listed(chat)
        await chat.pilot.click("#delete-all")
        await chat.until(lambda: bool(chat.app.screen.query("#yes")))
        await chat.pilot.click("#yes")
        await chat.until(lambda: not history.conversations())
        for file in tmp_path.iterdir():
            assert b"zebrafinch" not in file.read_bytes(), file


async def test_a_private_conversation_touches_no_disk(
    open_chat: Any, history: History, tmp_path: Path
) -> None:
    async with open_chat(history=history, private=True) as chat:
        assert "private" in chat.text("#private")
        await chat.ask("What is a zebrafinch?")
        assert not history.conversations()
        for file in tmp_path.iterdir():
            assert b"zebrafinch" not in file.read_bytes(), file
        await chat.pilot.press("ctrl+n")  # a new one stays private
        await chat.until(lambda: not chat.cards)
        assert "private" in chat.text("#private")


async def test_the_form_reaches_rules_and_model(open_chat: Any, history: History) -> None:
    engine = ScriptedEngine()
    async with open_chat(engine, history=history) as chat:
        await chat.pilot.press("f3")
        await chat.until(lambda: len(chat.app.screen_stack) == 2)
        form = chat.app.screen
        form.query_one("#intake-age", Input).value = "10 weeks"
        form.query_one("#intake-medicines", Input).value = "warfarin, 阿司匹林"
        form.query_one("#intake-region", Input).value = "cn"
        form.query_one("#intake-sex", Select).value = "female"
        await chat.pilot.press("ctrl+s")
        await chat.until(lambda: len(chat.app.screen_stack) == 1)
        assert "120" in chat.text("#emergency-line")
        await chat.ask("What is a cold?")
        system = engine.calls[0][0][0].content
        assert "warfarin" in system
        assert "female" in system
        intake = history.conversations()[0].intake
        assert list(intake["medicines"]) == ["warfarin", "阿司匹林"]
        await chat.pilot.press("f3")  # and is shown again for editing
        await chat.until(lambda: len(chat.app.screen_stack) == 2)
        assert chat.app.screen.query_one("#intake-age", Input).value == "10 weeks"


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [("age", "old", "age"), ("age", "999", "age"), ("region", "Mars", "region")],
)
async def test_a_wrong_entry_is_named_and_nothing_is_lost(
    open_chat: Any, field: str, value: str, word: str
) -> None:
    async with open_chat() as chat:
        await chat.pilot.press("f3")
        await chat.until(lambda: len(chat.app.screen_stack) == 2)
        form = chat.app.screen
        form.query_one(f"#intake-{field}", Input).value = value
        await chat.pilot.press("ctrl+s")
        await chat.until(lambda: str(form.query_one("#intake-problem", Static).content) != "")
        assert word in str(form.query_one("#intake-problem", Static).content)
        assert form.query_one(f"#intake-{field}", Input).value == value
        await chat.pilot.press("escape")
        assert chat.screen.session.intake.empty


@pytest.mark.parametrize("form", ["markdown", "html", "json"])
async def test_the_summary_is_seen_and_written_for_the_person_alone(
    open_chat: Any, history: History, tmp_path: Path, form: str
) -> None:
    async with open_chat(history=history) as chat:
        await chat.ask("What is a cold? My number is 13800138000.")
        await chat.pilot.press("f5")
        await chat.until(lambda: len(chat.app.screen_stack) == 2)
        dialog = chat.app.screen
        await chat.until(lambda: "What is a cold?" in dialog.query_one("Markdown").source)
        dialog.query_one("#summary-form", Select).value = form
        dialog.query_one("#summary-remove", Checkbox).value = True
        await chat.pilot.pause()
        suffix = Path(dialog.query_one("#summary-path", Input).value).suffix
        path = tmp_path / f"summary{suffix}"
        dialog.query_one("#summary-path", Input).value = str(path)
        await chat.pilot.press("ctrl+s")
        await chat.until(path.is_file)
    text = path.read_text()
    assert "What is a cold?" in text
    assert "13800138000" not in text
    assert path.stat().st_mode & 0o077 == 0
    if form == "json":
        json.loads(text)


async def test_without_a_question_there_is_no_summary(open_chat: Any) -> None:
    async with open_chat() as chat:
        await chat.pilot.press("f5")
        await chat.pilot.pause()
        assert len(chat.app.screen_stack) == 1


async def test_what_is_missing_is_asked_first(open_chat: Any) -> None:
    engine = ScriptedEngine()
    async with open_chat(engine) as chat:
        card = await chat.ask("I have a headache")
        assert engine.calls == []
        asked = str(card.query_one(".questions").content)
        assert 1 <= asked.count("•") <= 3
        assert card.view.text == ""
        await chat.ask("since yesterday, 3 of 10, no fever")
        assert len(engine.calls) == 1


async def test_the_last_question_can_be_answered_again(open_chat: Any, history: History) -> None:
    engine = ScriptedEngine([Reply(("One.",)), Reply(("Two.",))])
    async with open_chat(engine, history=history) as chat:
        await chat.ask("What is a cold?")
        chat.screen.action_again()
        await chat.until(lambda: len(chat.cards) == 2 and not chat.screen.busy)
        assert chat.cards[-1].view.text == "Two."
        assert len(chat.screen.session.turns) == 1


async def test_a_disk_that_fails_is_told_and_the_conversation_goes_on(
    open_chat: Any, tmp_path: Path
) -> None:
    damaged = tmp_path / "history.db"
    damaged.write_bytes(b"SQLite format 3\0" + b"garbage" * 4096)
    with History.open(damaged) as history:
        async with open_chat(history=history) as chat:
            notes = [notification.message for notification in chat.app._notifications]
            assert any("damaged" in note for note in notes)
            card = await chat.ask("What is a cold?")
            assert card.view.text


@pytest.mark.parametrize(("form", "suffix"), [("markdown", ".md"), ("json", ".json")])
async def test_a_conversation_is_exported_without_what_identifies_the_person(
    open_chat: Any, history: History, tmp_path: Path, form: str, suffix: str
) -> None:
    async with open_chat(history=history) as chat:
        await chat.ask("What is a cold? Write to jo@example.org or call 13812345678.")
        await listed(chat)
        await chat.pilot.press("ctrl+e")
        await chat.until(lambda: bool(chat.app.screen.query("#export-path")))
        dialog = chat.app.screen
        dialog.query_one("#export-form", Select).value = form
        await chat.pilot.pause()
        assert dialog.query_one("#export-path", Input).value.endswith(suffix)
        file = tmp_path / f"mine{suffix}"
        dialog.query_one("#export-path", Input).value = str(tmp_path / "no folder" / "mine.md")
        await chat.pilot.press("ctrl+s")
        note = dialog.query_one("#export-note", Static)
        await chat.until(lambda: "cannot write" in str(note.content))
        dialog.query_one("#export-path", Input).value = str(file)
        dialog.query_one("#export-remove", Checkbox).value = True
        await chat.pilot.press("ctrl+s")
        await chat.until(file.is_file)
        await chat.until(lambda: not chat.app.screen.query("#export-path"))
    text = file.read_text("utf-8")
    assert "What is a cold?" in text
    assert "no doctor" in text or "not a doctor" in text
    assert "example.org" not in text
    assert "13812345678" not in text
    assert file.stat().st_mode & 0o777 == 0o600
    if form == "json":
        assert json.loads(text)["messages"][0]["role"] == "user"


async def test_a_conversation_taken_up_again_brings_its_language_and_a_new_one_that_of_the_labels(
    open_chat: Any, history: History
) -> None:
    async with open_chat(history=history) as chat:
        await chat.ask("什么是感冒？")
        assert chat.text("#emergency-line").startswith("紧急情况")
        await chat.pilot.press("ctrl+n")
        await chat.until(lambda: not chat.cards)
        assert chat.text("#emergency-line").startswith("In an emergency")
        await chat.ask("What is a cold?")
        await listed(chat, "感冒")
        await chat.pilot.press("enter")
        await chat.until(lambda: bool(chat.cards) and chat.cards[0].words == "什么是感冒？")
        await chat.until(lambda: chat.text("#emergency-line").startswith("紧急情况"))


async def test_a_branch_is_marked_in_the_list(open_chat: Any, history: History) -> None:
    async with open_chat(history=history) as chat:
        await chat.ask("What is a cold?")
        history.branch_whole(history.conversations()[0].id)
        titles = await listed(chat)
        assert sorted("↳" in title for title in titles) == [False, True]
