"""The chat works on every terminal from 40 by 15 on, also when it is resized."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from sparsedoctor.app.wording import numbers_to_call
from sparsedoctor.core.engine.scripted import Reply, ScriptedEngine

SIZES = [(40, 15), (80, 24), (120, 40), (200, 60)]
ALWAYS = ("#label", "#emergency-line", "#conversation", "#prompt", "#status")


def assert_whole(chat: Any, size: tuple[int, int]) -> None:
    """What must always be visible is inside the terminal, uncut, one below the other."""
    bottom = 0
    for name in ALWAYS:
        region = chat.screen.query_one(name).region
        assert region.height > 0, name
        assert region.width > 0, name
        assert region.y >= bottom, name
        assert region.bottom <= size[1], name
        assert region.right <= size[0], name
        bottom = region.bottom
    for name in ("#label", "#emergency-line"):
        widget = chat.screen.query_one(name)
        cells = widget.content_size.width * widget.content_size.height
        assert cells >= len(chat.text(name)), f"{name} is cut"


@pytest.mark.parametrize("size", SIZES)
async def test_all_parts_are_visible(open_chat: Any, size: tuple[int, int]) -> None:
    async with open_chat(size=size) as chat:
        await chat.ready()
        assert_whole(chat, size)
        await chat.ask("What is a cold, asked with some words more than fit in one line of it?")
        assert_whole(chat, size)


@pytest.mark.parametrize("key", ["f1", "f3", "f4", "f5"])
async def test_a_dialog_shows_its_buttons_and_leaves_the_emergency_number_in_sight(
    open_chat: Any, key: str
) -> None:
    async with open_chat(size=(80, 24)) as chat:
        await chat.ask("What is a cold?")
        await chat.pilot.press(key)
        await chat.until(lambda: len(chat.app.screen_stack) == 2)
        await chat.pilot.pause()
        dialog = chat.app.screen.query(".dialog").first()
        line = chat.screen.query_one("#emergency-line")
        assert dialog.region.y >= line.region.bottom
        assert dialog.region.bottom <= 24
        for button in chat.app.screen.query("Button"):
            assert dialog.region.contains_region(button.region), button.label


async def test_resizing_during_an_answer_keeps_everything(open_chat: Any) -> None:
    engine = ScriptedEngine([Reply(("word ",) * 60, delay=0.01)], layers=30)
    async with open_chat(engine, size=(120, 40)) as chat:
        await chat.send("hello")
        for size in ((40, 15), (80, 24), (120, 40)):
            await chat.pilot.resize_terminal(*size)
            await chat.pilot.pause()
            assert_whole(chat, size)
        await chat.until(lambda: not chat.screen.busy)
        assert chat.cards[0].view.text == "word " * 60


async def test_narrow_terminals_show_the_experts_in_one_line(open_chat: Any) -> None:
    async with open_chat(size=(40, 15)) as chat:
        await chat.ask("hello")
        assert not chat.screen.query_one("#routing").display
        assert chat.text("#routing-strip") == "E0 67% E1 33% E2 0% E3 0%"
        await chat.pilot.resize_terminal(120, 40)
        await chat.until(lambda: chat.screen.query_one("#routing").display)
        assert chat.text("#routing-strip") == ""


async def test_a_long_answer_is_followed_until_the_person_scrolls_up(open_chat: Any) -> None:
    engine = ScriptedEngine([Reply(("line\n\n",) * 80, delay=0.005)])
    async with open_chat(engine, size=(80, 24)) as chat:
        await chat.ask("hello")
        conversation = chat.screen.query_one("#conversation")
        await chat.until(lambda: conversation.scroll_y >= conversation.max_scroll_y > 0)
        await chat.pilot.press("pageup")
        await chat.until(lambda: conversation.scroll_y < conversation.max_scroll_y)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("size", [(60, 20), (200, 60)])
@pytest.mark.parametrize("key", ["f3", "f4", "f5"])
async def test_every_button_of_a_dialog_can_be_reached_at_any_size(
    open_chat: Any, key: str, size: tuple[int, int], language: str
) -> None:
    async with open_chat(size=size, language=language) as chat:
        await chat.ask("What is a cold?")
        await chat.pilot.press(key)
        await chat.until(lambda: len(chat.app.screen_stack) == 2)
        await chat.pilot.pause()
        dialog = chat.app.screen.query(".dialog").first()
        for button in chat.app.screen.query("Button"):
            button.focus()
            await chat.until(partial(_drawn_inside, button, dialog))


def _drawn_inside(button: Any, dialog: Any) -> bool:
    strips = button.screen._compositor.render_strips()
    label = str(button.label)
    return dialog.region.contains_region(button.region) and any(label in s.text for s in strips)


CRISIS = "I want to kill myself and I took 40 pills of paracetamol"


@pytest.mark.parametrize("size", [(40, 15), (60, 20), (80, 24), (200, 60)])
@pytest.mark.parametrize("region", ["US", "GB", "CN"])
async def test_every_number_of_an_alarm_is_on_the_screen_uncut(
    open_chat: Any, size: tuple[int, int], region: str
) -> None:
    async with open_chat(size=size, region=region) as chat:
        card = await chat.ask(CRISIS)
        await chat.pilot.pause()
        assert card.view.assessment is not None
        alarm = chat.screen.query_one("#alarm")
        assert alarm.virtual_size.height <= alarm.content_size.height
        lines = [strip.text for strip in chat.screen._compositor.render_strips()]
        seen = "".join("".join(lines).split())
        for line in numbers_to_call(card.view.assessment):
            assert "".join(line.split()) in seen or _in_pieces(line, seen), line
        assert_whole(chat, size)


def _in_pieces(line: str, seen: str) -> bool:
    return all("".join(piece.split()) in seen for piece in line.split(" / "))


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_at_60_columns_the_keys_still_name_the_way_out(open_chat: Any, language: str) -> None:
    async with open_chat(size=(60, 20), language=language) as chat:
        way_out = "^q Leave" if language == "en" else "^q 离开"

        def last_line() -> str:
            return list(chat.app.screen._compositor.render_strips())[-1].text

        await chat.until(lambda: way_out in last_line())
        for key in ("^p", "^n", "f1", "f5"):
            assert key in last_line()
