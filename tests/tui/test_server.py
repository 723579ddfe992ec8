"""`--server`: answers from a real server on this computer; where words go stands on the screen."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from connections import foreign, recorded_connections
from model_server import free_port, model_server

from sparsedoctor.app.consultation.history import History
from sparsedoctor.app.engine_on_demand import EngineOnDemand
from sparsedoctor.app.model_choice import choose_model, engine_for
from sparsedoctor.app.model_server import ModelServer
from sparsedoctor.app.options import add_model_options
from sparsedoctor.app.tui.application import ChatApp
from sparsedoctor.app.wording import where_words_go
from sparsedoctor.core.engine.protocol import Sampling
from sparsedoctor.core.engine.scripted import ScriptedEngine
from sparsedoctor.core.engine.server_address import ServerAddress
from sparsedoctor.core.errors import SparseDoctorError

EMERGENCY = "My father has crushing chest pain and is sweating"


@pytest.fixture(scope="module")
def server(smollm2_gguf: Path) -> Iterator[str]:
    with model_server(smollm2_gguf, "smollm2") as url:
        yield url


def ask(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sparsedoctor.app.tui.cli", "ask", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=dict(os.environ) | environment,
    )


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_model_options(parser)
    return parser.parse_args(arguments)


def test_ask_answers_from_a_server_and_says_where_the_words_go(server: str) -> None:
    done = ask("What is asthma?", "--server", server, "--max-tokens", "20", "--seed", "3")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 5
    lines = done.stderr.splitlines()
    assert lines[0].startswith("[Answers come from the model server at 127.0.0.1:")
    assert "your words stay on this computer" in lines[0]
    assert any("smollm2, model server at" in line for line in lines)
    assert any("routing not available" in line for line in lines)
    assert any("seed 3" in line for line in lines)


def test_with_a_server_there_are_connections_to_it_and_to_nobody_else(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = recorded_connections(tmp_path, monkeypatch)
    assert ask("What is asthma?", "--server", server, "--max-tokens", "4").returncode == 0
    port = server.rpartition(":")[2]
    connected = [line for line in log.read_text().splitlines() if "connect" in line]
    assert connected
    assert {line.split("\t")[1] for line in connected} == {f"('127.0.0.1', {port})"}
    assert foreign(log) == []


def test_an_emergency_is_answered_without_asking_the_server() -> None:
    done = ask(EMERGENCY, "--server", f"http://127.0.0.1:{free_port()}", "--region", "GB")
    assert done.returncode == 0, done.stderr
    assert "EMERGENCY" in done.stdout
    assert "999" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--server", "http://127.0.0.1:{port}"), "connection refused"),
        (("--server", "doctor"), "no server's address"),
        (("--server", "http://name:word@127.0.0.1:1"), "SPARSEDOCTOR_SERVER_KEY"),
        (("--server", "http://127.0.0.1:1", "--model", "default"), "--model"),
        (("--server", "http://127.0.0.1:1", "--threads", "2"), "--threads"),
        (("--server-model", "small"), "add --server"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(arguments: tuple[str, ...], words: str) -> None:
    port = free_port()
    done = ask("What is asthma?", *(one.format(port=port) for one in arguments), "--quiet")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert words in done.stderr


def test_a_model_the_server_does_not_have_is_told_in_one_line(server: str) -> None:
    done = ask("What is asthma?", "--server", server, "--server-model", "large", "--quiet")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "no model large; it has smollm2" in done.stderr


def test_that_words_leave_the_computer_is_said_to_the_quiet_too() -> None:
    # A name that no resolver knows: nothing is sent, but the warning comes first.
    done = ask("What is asthma?", "--server", "http://doctor.invalid:8000", "--quiet")
    first, second = done.stderr.splitlines()
    assert "LEAVE this computer" in first
    assert "doctor.invalid:8000" in first
    assert "NOT ENCRYPTED" in first
    assert second.startswith("error: no answer from the model server")


@pytest.mark.parametrize(
    ("url", "said", "not_said"),
    [
        ("http://127.0.0.1:8080", ("127.0.0.1:8080", "stay on this computer"), ("LEAVE",)),
        ("https://example.org", ("example.org:443", "LEAVE"), ("stay", "ENCRYPTED")),
        ("http://example.org", ("example.org:80", "LEAVE", "NOT ENCRYPTED"), ("stay",)),
    ],
)
async def test_where_the_words_go_stays_on_the_screen(
    url: str, said: tuple[str, ...], not_said: tuple[str, ...]
) -> None:
    app = ChatApp(EngineOnDemand(lambda: ScriptedEngine(experts=0)), model_of(url), region="GB")
    async with app.run_test(size=(80, 24)) as pilot:
        screen: Any = app.screen
        for step in ("first", "asked", "new"):
            if step == "asked":
                screen.query_one("#prompt").insert("What is asthma?")
                await pilot.press("enter")
            if step == "new":
                await pilot.press("ctrl+n")
            await pilot.pause(0.5)
            line = screen.query_one("#where")
            assert line.display
            assert line.region.height > 0
            for words in said:
                assert words in str(line.content), step
            for words in not_said:
                assert words not in str(line.content)
        assert said[0] in str(screen.query_one("#welcome").content)
        assert "Nothing leaves" not in str(screen.query_one("#welcome").content)


async def test_the_smallest_terminal_holds_the_warning_an_alarm_and_the_rest() -> None:
    engine = EngineOnDemand(lambda: ScriptedEngine(experts=0))
    app = ChatApp(engine, model_of("http://gpu.example.org:8000"), region="GB")
    async with app.run_test(size=(40, 15)) as pilot:
        screen: Any = app.screen
        await ask_on(pilot, EMERGENCY)
        said = str(screen.query_one("#where").content)
        assert "LEAVES this computer: gpu.example.org:8000" in said
        assert "NOT ENCRYPTED" in said
        for name in ("label", "emergency-line", "where", "alarm", "conversation", "prompt"):
            region = screen.query_one(f"#{name}").region
            assert region.height > 0, name
        assert screen.query_one("#conversation").region.height >= 3
        assert screen.query_one("#status").region.bottom <= 15


@pytest.mark.parametrize("language", ["en", "zh"])
def test_both_languages_name_the_place(language: str) -> None:
    said = where_words_go(model_of("http://example.org:8000"), language)
    assert "example.org:8000" in said
    assert ("会离开这台电脑" if language == "zh" else "LEAVE this computer") in said


def model_of(url: str) -> ModelServer:
    return ModelServer(ServerAddress.of(url))


async def test_a_consultation_with_a_server_is_recorded_with_its_name(
    server: str, tmp_path: Path
) -> None:
    chosen = options("--server", server)
    model = choose_model(chosen)
    engine = engine_for(model, chosen)
    history = History.open(tmp_path / "history.db")
    app = ChatApp(engine, model, Sampling(max_tokens=300, seed=5), history, region="GB")
    async with app.run_test(size=(120, 40)) as pilot:
        screen: Any = app.screen
        await until(pilot, lambda: str(screen.query_one("#state").content) == "ready")
        assert "smollm2" in str(screen.query_one("#label").content)
        assert "routing not available" in str(screen.query_one("#routing-source").content)
        screen.query_one("#prompt").insert("What is asthma?")
        await pilot.press("enter")
        await until(pilot, lambda: bool(screen.query(".answer")[-1:]) and text_of(screen) != "")
        await pilot.press("escape")
        await until(pilot, lambda: not screen.busy)
        assert "stopped by you" in str(screen.query(".remarks").last().content)
        await ask_on(pilot, EMERGENCY)
        assert screen.query_one("#alarm").display
        summary = json.loads(screen.session.summary("json", remove_identifiers=False))
        printed = screen.session.summary("markdown", remove_identifiers=False)
    made = summary["made_with"]
    assert (made["model"], made["model_server"], made["model_sha256"]) == ("smollm2", server, "")
    assert f"Model server: {server}" in printed
    assert "SHA-256" not in printed.split("Prompt SHA-256")[0]
    statuses = [one.status for one in history.messages(history.conversations()[0].id)]
    assert statuses == ["done", "cancelled", "done", "done"]
    engine.close()
    history.close()


def text_of(screen: Any) -> str:
    return str(screen.query("TurnCard").last().view.text)


async def ask_on(pilot: Any, words: str) -> None:
    screen = pilot.app.screen
    before = len(screen.query("TurnCard"))
    screen.query_one("#prompt").insert(words)
    await pilot.press("enter")
    await until(pilot, lambda: len(screen.query("TurnCard")) > before and not screen.busy)


async def until(pilot: Any, condition: Any) -> None:
    for _ in range(600):
        if condition():
            return
        await pilot.pause(0.05)
    raise AssertionError("it did not come about")


async def test_a_server_that_is_down_is_told_and_asked_again_once_it_is_there() -> None:
    port = free_port()
    chosen = options("--server", f"http://127.0.0.1:{port}")
    model = choose_model(chosen)
    engine = engine_for(model, chosen)
    app = ChatApp(engine, model, Sampling(max_tokens=5), region="GB")
    async with app.run_test(size=(100, 30)) as pilot:
        screen: Any = app.screen
        state = screen.query_one("#state")
        await until(pilot, lambda: "could not be" in str(state.content))
        await ask_on(pilot, "What is asthma?")
        told = str(screen.query(".remarks").last().content)
        assert "connection refused" in told
        assert "without --server" in told
        with small_talk(port):
            await ask_on(pilot, "What is asthma?")
            assert text_of(screen) == "Dust."
            assert str(state.content) == "ready"
    engine.close()


def small_talk(port: int) -> Any:
    """A server that says "Dust." to everything, from now on."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def _send(self, data: bytes) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self._send(b'{"data": [{"id": "dust"}]}')

        def do_POST(self) -> None:
            self._send(b'data: {"choices": [{"delta": {"content": "Dust."}}]}\n\ndata: [DONE]\n\n')

    serving = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=serving.serve_forever, daemon=True).start()

    class Running:
        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            serving.shutdown()
            serving.server_close()

    return Running()


def test_without_the_option_no_server_is_there(smollm2_gguf: Path) -> None:
    model = choose_model(options("--model", str(smollm2_gguf)))
    assert not isinstance(model, ModelServer)
    with pytest.raises(SparseDoctorError, match="go together"):
        choose_model(options("--server", "http://127.0.0.1:1", "--context", "512"))
