"""A consultation on the screen: asking, streaming, stopping, failing, going on."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.widgets import Markdown

from sparsedoctor.app.consultation.history import History
from sparsedoctor.app.tui.prompt import LONGEST, Prompt
from sparsedoctor.core.engine.protocol import EngineDied, EngineError, ModelInfo
from sparsedoctor.core.engine.scripted import Reply, ScriptedEngine

OpenChat = Any  # tests/tui/conftest.py


def answer(chat: Any, number: int = -1) -> str:
    return str(chat.cards[number].query_one(Markdown).source)


class WaitingEngine(ScriptedEngine):
    """Is loaded when the test says so, however slow this machine is."""

    def __init__(self) -> None:
        super().__init__()
        self.may_load = threading.Event()

    def load(self) -> ModelInfo:
        assert self.may_load.wait(120)
        return super().load()


async def test_the_first_screen_is_there_before_the_model(open_chat: OpenChat) -> None:
    engine = WaitingEngine()
    async with open_chat(engine) as chat:
        assert "loading" in chat.text("#state")
        assert "999" in chat.text("#emergency-line")
        assert "no medical advice" in chat.text("#label")
        engine.may_load.set()
        await chat.ready()


async def test_an_answer_streams_in_and_is_drawn_as_markdown(open_chat: OpenChat) -> None:
    engine = ScriptedEngine([Reply(("**Rest**", " and\n\n- drink", "\n- sleep"))])
    async with open_chat(engine) as chat:
        await chat.ask("What is a cold?")
        assert answer(chat) == "**Rest** and\n\n- drink\n- sleep"
        assert engine.calls[0][0][-1].content == "What is a cold?"
        assert "tokens/s" in chat.text("#speed")
        assert "seed" in chat.text("#speed")


async def test_a_question_may_be_sent_while_the_model_is_loading(open_chat: OpenChat) -> None:
    async with open_chat(ScriptedEngine(load_delay=0.3)) as chat:
        await chat.ask("What is a cold?")
        assert answer(chat) == "This is a scripted answer."


async def test_escape_works_while_the_model_is_loading(open_chat: OpenChat) -> None:
    async with open_chat(ScriptedEngine(load_delay=120)) as chat:
        await chat.send("What is a cold?")
        await chat.pilot.press("escape")
        await chat.until(lambda: not chat.screen.busy)
        assert "stopped by you" in str(chat.cards[0].query_one(".remarks").content)


async def test_escape_stops_and_keeps_what_was_written(open_chat: OpenChat) -> None:
    engine = ScriptedEngine([Reply(("Kept. ", *["more "] * 500), delay=0.02), Reply(("Next.",))])
    async with open_chat(engine) as chat:
        await chat.send("Tell me everything")
        await chat.until(lambda: "Kept." in answer(chat))
        await chat.pilot.press("escape")
        await chat.until(lambda: not chat.screen.busy)
        assert answer(chat).startswith("Kept.")
        assert answer(chat).count("more") < 500
        assert "stopped by you" in str(chat.cards[0].query_one(".remarks").content)
        await chat.ask("And now?")
        assert answer(chat) == "Next."


@pytest.mark.parametrize("key", ["escape", "ctrl+n"])
async def test_a_key_right_after_the_question_stops_its_answer(
    open_chat: OpenChat, key: str
) -> None:
    engine = ScriptedEngine([Reply(("a ",) * 10_000, delay=0.05), Reply(("Fresh.",))])
    async with open_chat(engine) as chat:
        await chat.ready()
        await chat.type("First")
        await chat.pilot.press("enter", key)
        await chat.until(lambda: not chat.screen.busy)
        await chat.ask("Second")
        assert answer(chat) == "Fresh."


async def test_while_an_answer_is_written_no_second_one_begins(open_chat: OpenChat) -> None:
    engine = ScriptedEngine([Reply(("a ",) * 200, delay=0.02)])
    async with open_chat(engine) as chat:
        await chat.send("First")
        await chat.type("Second")
        await chat.pilot.press("enter")
        assert len(chat.cards) == 1
        assert chat.screen.query_one(Prompt).text == "Second"
        await chat.pilot.press("escape")
        await chat.until(lambda: not chat.screen.busy)


async def test_a_dead_engine_is_told_in_plain_words_and_the_next_question_works(
    open_chat: OpenChat,
) -> None:
    died = EngineDied("The model's process ended unexpectedly.")
    half = Reply(("Half an answer: take warfarin 5 mg twice a day.",), failure=died)
    engine = ScriptedEngine([half, Reply(("Whole.",))])
    async with open_chat(engine) as chat:
        card = await chat.ask("First")
        assert "ended unexpectedly" in str(card.query_one(".remarks").content)
        assert answer(chat).startswith("Half an answer: take warfarin [dose removed")
        await chat.ask("Second")
        assert answer(chat) == "Whole."


async def test_a_model_that_cannot_be_loaded_is_told_and_tried_again(open_chat: OpenChat) -> None:
    engine = ScriptedEngine(load_failure=EngineError("There is not enough memory for this model."))
    async with open_chat(engine) as chat:
        await chat.until(lambda: chat.text("#state") == "the model could not be loaded")
        card = await chat.ask("Anyway")
        assert "not enough memory" in str(card.query_one(".remarks").content)
        assert engine.loads == 2


async def test_a_new_conversation_forgets_the_old_one(open_chat: OpenChat) -> None:
    engine = ScriptedEngine()
    async with open_chat(engine) as chat:
        await chat.ask("My first matter")
        await chat.pilot.press("ctrl+n")
        await chat.until(lambda: not chat.cards)
        await chat.ask("My second matter")
        said = [message.content for message in engine.calls[-1][0]]
        assert "My first matter" not in said
        assert said[-1] == "My second matter"


async def test_a_new_conversation_stops_a_running_answer(open_chat: OpenChat) -> None:
    engine = ScriptedEngine([Reply(("a ",) * 500, delay=0.02), Reply(("Fresh.",))])
    async with open_chat(engine) as chat:
        await chat.send("First")
        await chat.pilot.press("ctrl+n")
        await chat.until(lambda: not chat.cards)
        await chat.ask("Second")
        assert answer(chat) == "Fresh."


@pytest.mark.parametrize("key", ["ctrl+j", "shift+enter"])
async def test_a_new_line_does_not_send(open_chat: OpenChat, key: str) -> None:
    async with open_chat() as chat:
        await chat.pilot.press("a", key, "b")
        assert chat.screen.query_one(Prompt).text == "a\nb"
        assert not chat.cards


async def test_nothing_is_sent_when_nothing_was_written(open_chat: OpenChat) -> None:
    async with open_chat() as chat:
        await chat.pilot.press("space", "enter", "enter")
        assert not chat.cards


async def test_a_paste_of_many_lines_is_kept_whole_and_not_sent(open_chat: OpenChat) -> None:
    async with open_chat() as chat:
        chat.app.post_message(events.Paste("one\r\ntwo\n\nthree"))
        await chat.until(lambda: chat.screen.query_one(Prompt).text != "")
        assert chat.screen.query_one(Prompt).text == "one\ntwo\n\nthree"
        assert not chat.cards


async def test_an_endless_paste_is_cut_and_said_so(open_chat: OpenChat) -> None:
    async with open_chat() as chat:
        chat.app.post_message(events.Paste("x" * (LONGEST + 5)))
        await chat.until(lambda: chat.screen.query_one(Prompt).text != "")
        assert len(chat.screen.query_one(Prompt).text) == LONGEST


async def test_chinese_can_be_typed_and_the_screen_answers_in_chinese(open_chat: OpenChat) -> None:
    async with open_chat(region="CN") as chat:
        await chat.pilot.press(*"我咳嗽两天")
        prompt = chat.screen.query_one(Prompt)
        assert prompt.text == "我咳嗽两天"
        assert chat.app.cursor_position.x >= 10  # ten cells: where the input method opens
        await chat.ask("")
        assert "120" in chat.text("#emergency-line")
        assert "急救电话" in chat.text("#emergency-line")


@pytest.mark.parametrize("words", ["[/foo] [bold", "`$x$` <b>", "[link=x]y[/link]"])
async def test_markup_in_words_is_text(open_chat: OpenChat, words: str) -> None:
    engine = ScriptedEngine([Reply((words,))])
    async with open_chat(engine) as chat:
        card = await chat.ask(words)
        assert str(card.query_one(".words").content) == words
        assert answer(chat) == words


async def test_a_link_of_the_model_opens_nothing(
    open_chat: OpenChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ScriptedEngine([Reply(("[click](https://evil.example)",))])
    async with open_chat(engine) as chat:
        opened: list[str] = []
        monkeypatch.setattr(chat.app, "open_url", lambda url, **_: opened.append(url))
        card = await chat.ask("hello")
        markdown = card.query_one(Markdown)
        markdown.post_message(Markdown.LinkClicked(markdown, "https://evil.example"))
        await chat.pilot.pause()
        assert not opened


async def test_earlier_questions_come_back_with_the_up_key(open_chat: OpenChat) -> None:
    async with open_chat() as chat:
        await chat.ask("First")
        await chat.ask("Second")
        prompt = chat.screen.query_one(Prompt)
        await chat.pilot.press("up")
        assert prompt.text == "Second"
        await chat.pilot.press("up")
        assert prompt.text == "First"
        await chat.pilot.press("down", "down")
        assert prompt.text == ""


async def test_help_and_palette_open_and_close(open_chat: OpenChat) -> None:
    async with open_chat() as chat:
        await chat.pilot.press("f1")
        await chat.until(lambda: len(chat.app.screen_stack) == 2)
        await chat.pilot.press("escape")
        await chat.until(lambda: len(chat.app.screen_stack) == 1)
        await chat.pilot.press("ctrl+p")
        await chat.until(lambda: len(chat.app.screen_stack) == 2)
        await chat.pilot.press("escape")
        await chat.until(lambda: len(chat.app.screen_stack) == 1)


async def test_leaving_while_an_answer_is_written_does_not_wait_for_it(open_chat: OpenChat) -> None:
    engine = ScriptedEngine([Reply(("a ",) * 10_000, delay=0.05)])
    async with open_chat(engine) as chat:
        await chat.send("First")
        await chat.pilot.press("ctrl+q")


async def test_what_is_left_in_the_middle_of_an_answer_is_saved_as_reviewed(
    open_chat: OpenChat, tmp_path: Path
) -> None:
    engine = ScriptedEngine([Reply(("Take warfarin 5 mg twice a day. ",) * 1000, delay=0.05)])
    with History.open(tmp_path / "h.db") as history:
        async with open_chat(engine, history=history) as chat:
            await chat.send("What is warfarin?")
            await chat.until(lambda: "warfarin" in answer(chat))
            await chat.pilot.press("ctrl+q")
        (conversation,) = history.conversations()
        kept = history.messages(conversation.id)[1]
    assert (kept.status, kept.error) == ("cancelled", "")
    assert "dose removed" in kept.text
    assert "5 mg" not in kept.text
    assert kept.assessment["remarks"]
