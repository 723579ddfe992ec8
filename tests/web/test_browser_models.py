"""The command itself with real models in a real browser: the default one, and a server's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from model_server import free_port, model_server
from web.serving import serving
from web.tab import Tab

from sparsedoctor.app.consultation.history import History
from sparsedoctor.app.engine_on_demand import EngineOnDemand
from sparsedoctor.app.model_server import ModelServer
from sparsedoctor.app.web.drawing import Drawing
from sparsedoctor.core.engine.scripted import ScriptedEngine
from sparsedoctor.core.engine.server_address import ServerAddress


@pytest.mark.browser
def test_the_default_model_answers_with_its_experts(browser: Any) -> None:
    with serving("--seed", "7", "--max-tokens", "40", "--region", "GB") as (_, url):
        tab = Tab(browser, url)
        assert tab.text("#label") == "small demonstration model, no medical advice"
        assert tab.all("#where") == []
        tab.answered("What is asthma?")
        tab.until(lambda: "tokens of the answer" in tab.text("#experts"))
        assert "seed 7" in tab.text("#status")
        shares = [int(one.text.rstrip("%")) for one in tab.all("#experts .bar span:nth-child(2)")]
        assert len(shares) == 4
        assert 98 <= sum(shares) <= 102
        assert len(tab.all("#experts .layer")) == 30
        tab.open("history")
        tab.until(lambda: "What is asthma?" in tab.text("#conversations"))


@pytest.mark.browser
def test_a_servers_answer_comes_with_where_the_words_go(browser: Any, smollm2_gguf: Path) -> None:
    with model_server(smollm2_gguf) as address, serving("--server", address) as (_, url):
        tab = Tab(browser, url)
        place = address.removeprefix("http://")
        tab.until(lambda: f"small, model server at {place}" in tab.text("#label"))
        where = f"Answers come from the model server at {place}: your words stay on this computer."
        assert tab.text("#where") == where
        assert where in tab.text("#chat")
        tab.answered("What is asthma?")
        tab.until(lambda: "tokens/s" in tab.text("#status"))
        assert "routing not available (a server does not tell it)" in tab.text("#experts")
        assert tab.text("#where") == where  # it stays
        tab.browser.refresh()
        tab.loaded()
        tab.ask("Write a very long text about the heart.")
        tab.click("#stop")
        tab.settled()


@pytest.mark.browser
def test_a_server_that_is_down_is_told_in_one_line(browser: Any) -> None:
    with serving("--server", f"http://127.0.0.1:{free_port()}") as (_, url):
        tab = Tab(browser, url, ready="no answer")
        tab.answered("What is asthma?")
        tab.until(lambda: "Ask again when you like" in tab.text("#chat .error"))
        assert "127.0.0.1" in tab.text("#where")


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("http://doctor.example:8000", ("LEAVE", "doctor.example:8000", "NOT ENCRYPTED", "away")),
        ("https://doctor.example", ("LEAVE", "doctor.example", "away")),
        ("http://127.0.0.1:8000", ("stay on this computer", "127.0.0.1:8000", "here")),
    ],
)
def test_the_page_says_where_the_words_go(address: str, parts: tuple[str, ...]) -> None:
    server = ModelServer(ServerAddress.of(address))
    drawing = Drawing(EngineOnDemand(ScriptedEngine), server, History.private())
    shown = drawing.line("GB", "en")
    assert all(part in shown for part in parts)
    assert ("NOT ENCRYPTED" in shown) == ("NOT ENCRYPTED" in parts)
    assert "999" in shown
