"""Which experts an answer reaches is shown from the engine's routing, and only from that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual.color import Color

from sparsedoctor.app.model_files import ModelFile
from sparsedoctor.app.routing_view import expert_shares, heat, layer_rows
from sparsedoctor.app.tui.routing_panel import bar, bars, heat_map, strip
from sparsedoctor.core.engine.protocol import RoutingUpdate
from sparsedoctor.core.engine.scripted import Reply, ScriptedEngine

BLACK, WHITE = Color(0, 0, 0), Color(255, 255, 255)


def update(*weights: tuple[float, ...]) -> RoutingUpdate:
    return RoutingUpdate("answer", 7, tuple((0,) * len(row) for row in weights), weights)


async def test_bars_follow_the_routing_of_the_answer(open_chat: Any) -> None:
    async with open_chat(ScriptedEngine([Reply(("a ", "b "))], layers=30)) as chat:
        assert "appears while" in chat.text("#routing-source")
        await chat.ask("hello")
        shown = chat.text("#routing-bars")
        assert "heart" in shown
        assert "67%" in shown  # the scripted engine gives its first expert two thirds
        assert "33%" in shown
        assert "2 tokens of the answer" in chat.text("#routing-source")
        assert chat.text("#routing-layers").count("\n") == 14  # 30 layers, two in a line


async def test_while_the_question_is_read_its_routing_is_shown(open_chat: Any) -> None:
    engine = ScriptedEngine([Reply(("a ",), first_delay=30)])
    async with open_chat(engine) as chat:
        await chat.send("hello")
        await chat.until(lambda: "of the question" in chat.text("#routing-source"))
        await chat.pilot.press("escape")
        await chat.until(lambda: not chat.screen.busy)


async def test_a_plain_model_says_that_there_is_no_routing(open_chat: Any) -> None:
    plain = ModelFile(Path("plain.gguf"), 4, "llama", 0, None)
    async with open_chat(ScriptedEngine(experts=0), model=plain) as chat:
        await chat.ready()
        await chat.ask("hello")
        assert chat.text("#routing-source") == "routing not available (plain model)"
        assert chat.text("#routing-bars") == ""
        assert "plain model" in chat.text("#label")


async def test_the_panel_can_be_hidden(open_chat: Any) -> None:
    async with open_chat() as chat:
        panel = chat.screen.query_one("#routing")
        assert panel.display
        await chat.pilot.press("f2")
        assert not panel.display
        await chat.pilot.press("f2")
        assert panel.display


async def test_another_theme_draws_the_map_in_its_colours(open_chat: Any) -> None:
    async with open_chat() as chat:
        await chat.ask("hello")
        before = chat.screen.query_one("#routing-layers").content.spans
        chat.app.theme = "sparsedoctor-light"
        await chat.until(lambda: chat.screen.query_one("#routing-layers").content.spans != before)


def test_shares_add_up_over_layers() -> None:
    shares = expert_shares(update((3.0, 1.0), (1.0, 3.0)), ("one", "two"))
    assert [one.share for one in shares] == [0.5, 0.5]


def test_layers_share_rows_when_there_is_little_room() -> None:
    rows = layer_rows(update(*[(1.0, 0.0)] * 30), 10)
    assert len(rows) == 10
    assert [(row.first, row.last) for row in rows[:2]] == [(0, 2), (3, 5)]
    assert rows[-1].last == 29
    assert all(sum(row.shares) == pytest.approx(1.0) for row in rows)


def test_no_update_of_an_unused_layer_divides_by_zero() -> None:
    assert layer_rows(update((0.0, 0.0)), 5)[0].shares == (0.0, 0.0)


def test_heat_is_half_at_an_even_split() -> None:
    assert heat(0.0, 4) == 0.0
    assert heat(0.25, 4) == 0.5
    assert heat(1.0, 4) == 1.0
    assert heat(0.1, 4) < heat(0.2, 4) < heat(0.3, 4)


@pytest.mark.parametrize(("share", "full"), [(0.0, 0), (0.5, 5), (1.0, 10), (1.7, 10)])
def test_a_bar_is_as_long_as_its_share(share: float, full: int) -> None:
    assert bar(share, 10).count("█") == full
    assert len(bar(share, 10)) == 10


def test_wide_characters_keep_the_columns() -> None:
    shares = expert_shares(update((1.0, 1.0)), ("心血管与循环系统疾病", "medicines"))
    assert {cell_len(line.plain) for line in bars(shares, 24, WHITE, BLACK)} == {24}


def test_the_map_has_one_block_for_each_expert() -> None:
    drawn = heat_map(layer_rows(update(*[(1.0, 0.0, 0.0)] * 4), 8), 30, WHITE, BLACK)
    lines = drawn.plain.splitlines()
    assert len(lines) == 2
    assert len(lines[0].split()) == 1 + 3  # the layer's number and three blocks


def test_the_strip_shortens_names_that_do_not_fit() -> None:
    shown = update((3.0, 1.0))
    assert strip(shown, ("heart", "medicines"), "", 60) == "heart 75%  medicines 25%"
    assert strip(shown, ("heart", "medicines"), "", 12) == "E0 75% E1 25%"
