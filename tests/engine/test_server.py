"""The server engine: against llama-cpp-python's own server, and against servers that misbehave."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from engine.small_gguf import SmallModel
from model_server import model_server

from sparsedoctor.core.engine.http_stream import ServerSettings
from sparsedoctor.core.engine.protocol import (
    EngineError,
    Event,
    Finished,
    Message,
    RoutingUpdate,
    Sampling,
    Started,
    TextDelta,
)
from sparsedoctor.core.engine.server import ServerEngine
from sparsedoctor.core.engine.server_address import ServerAddress

QUESTION = [Message("system", "Be brief."), Message("user", "Why do I sneeze?")]


def finished(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


@pytest.fixture(scope="module")
def real_server(moe: SmallModel) -> Iterator[str]:
    """llama-cpp-python's own server on a free port of the loopback interface."""
    with model_server(moe.path) as url:
        yield url


def test_a_real_server_streams_an_answer(real_server: str) -> None:
    engine = ServerEngine(real_server)
    info = engine.load()
    events = list(engine.generate(QUESTION, Sampling(max_tokens=12, seed=1)))
    engine.close()
    assert (info.name, info.routing_traced, info.experts) == ("small", False, 0)
    assert isinstance(events[0], Started)
    assert len([e for e in events if isinstance(e, TextDelta)]) > 3
    assert not any(isinstance(e, RoutingUpdate) for e in events)
    assert finished(events).text == "".join(e.text for e in events if isinstance(e, TextDelta))
    assert finished(events).reason == "length"
    assert finished(events).sampling.seed == 1


def test_cancel_ends_a_real_servers_answer_and_the_next_works(real_server: str) -> None:
    engine = ServerEngine(real_server, "small")
    stream = engine.generate(QUESTION, Sampling(max_tokens=1500, temperature=1.0, seed=2))
    events = [next(stream), next(stream)]
    engine.cancel()
    events += list(stream)
    assert finished(events).reason == "cancelled"
    assert finished(list(engine.generate(QUESTION, Sampling(max_tokens=4)))).reason == "length"
    engine.close()


def test_a_model_the_server_does_not_have_is_refused(real_server: str) -> None:
    with pytest.raises(EngineError, match="it has small"):
        ServerEngine(real_server, "large").load()


Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Start a server whose answers to a chat are `answer`; gives its address."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer, models: Any = None) -> str:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                send(self, json.dumps(models or {"data": [{"id": "m"}]}).encode())

            def do_POST(self) -> None:
                self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer(self)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def send(handler: BaseHTTPRequestHandler, data: bytes, status: int = 200) -> None:
    handler.send_response(status)
    handler.end_headers()
    handler.wfile.write(data)


def chunk(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"


def ask(url: str, **waits: float) -> list[Event]:
    engine = ServerEngine(url, settings=ServerSettings(**waits))
    return list(engine.generate(QUESTION, Sampling(max_tokens=5)))


def test_what_is_sent_is_the_conversation_and_the_key(
    serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def answer(handler: Any) -> None:
        seen.append((handler.path, handler.headers["Authorization"], handler.body))
        send(handler, chunk("Dust, ") + b": comment\n\n" + chunk("感冒") + b"data: [DONE]\n\n")

    monkeypatch.setenv("SPARSEDOCTOR_SERVER_KEY", "secret")
    events = ask(serve(answer))
    assert finished(events).text == "Dust, 感冒"
    path, key, body = seen[0]
    assert (path, key) == ("/v1/chat/completions", "Bearer secret")
    assert body["messages"][1] == {"role": "user", "content": "Why do I sneeze?"}
    assert (body["stream"], body["max_tokens"]) == (True, 5)


def test_a_server_without_our_extra_settings_is_asked_without(serve: Callable[..., str]) -> None:
    def answer(handler: Any) -> None:
        if "min_p" in handler.body:
            send(handler, b'{"error": {"message": "unknown field min_p"}}', 400)
        else:
            send(handler, chunk("Dust.") + b"data: [DONE]\n\n")

    assert finished(ask(serve(answer))).text == "Dust."


ODD = [
    {"choices": 3},
    {"choices": [None, {"delta": None}, {"delta": "x"}, {"delta": {"content": ["x"]}}]},
    {"choices": None, "usage": {"prompt_tokens": "many", "completion_tokens": -1}},
    {"choices": [{"delta": {"content": "\x1b]0;title\x07Du\rst\ud83d."}, "finish_reason": 7}]},
]


def test_what_is_odd_in_an_answer_is_passed_over(serve: Callable[..., str]) -> None:
    data = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in ODD)
    models = {"data": [{"id": "m\x1b[2J", "meta": {"n_ctx": "large", "size": None}}]}
    url = serve(lambda handler: send(handler, data + b"data: [DONE]\n\n"), models)
    end = finished(ask(url))
    assert end.text == "]0;titleDust\ufffd."  # nothing that drives a terminal, nothing unprintable
    assert (end.statistics.prompt_tokens, end.statistics.answer_tokens) == (0, 1)
    assert ServerEngine(url).load().name == "m[2J"


def test_a_server_that_never_ends_is_stopped(serve: Callable[..., str]) -> None:
    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(chunk("dust " * 20))
        except OSError:
            stopped.set()

    stopped = threading.Event()
    end = finished(ask(serve(answer)))  # five tokens were asked for
    assert end.reason == "length"
    assert len(end.text) < 1000
    assert stopped.wait(10)


def broken_off(handler: Any) -> None:
    send(handler, chunk("Dus"))


def no_json(handler: Any) -> None:
    send(handler, b"data: {half\n\n")


def error_in_stream(handler: Any) -> None:
    send(handler, b'data: {"error": {"message": "out of\\nmemory"}}\n\n')


def refusal(handler: Any) -> None:
    send(handler, b'{"error": {"message": "wrong key"}}', 401)


def failure(handler: Any) -> None:
    send(handler, b"<html>\n<h1>oops</h1>", 500)


def hang(handler: Any) -> None:
    handler.send_response(200)
    handler.end_headers()
    time.sleep(3)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (broken_off, "broke off"),
        (no_json, "no answer"),
        (error_in_stream, "out of memory"),
        (refusal, "SPARSEDOCTOR_SERVER_KEY"),
        (failure, "500"),
        (hang, "silent"),
    ],
)
def test_a_server_that_misbehaves_gives_one_line(
    serve: Callable[..., str], answer: Answer, words: str
) -> None:
    with pytest.raises(EngineError, match=words) as caught:
        ask(serve(answer), silence=0.5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1",
        "127.0.0.1:8080",
        "http://",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:1",
        "http://127.0.0.1:1/a b",
        "http://doctor:secret@127.0.0.1:1",
        "http://127.0.0.1:1/v1?key=secret",
        "http://ехample.org",  # the first two letters are Cyrillic
    ],
)
def test_a_wrong_address_or_a_server_that_is_down_gives_one_line(url: str) -> None:
    with pytest.raises(EngineError, match=r"address|no answer") as caught:
        ServerEngine(url).load()
    assert "\n" not in str(caught.value)


def test_cancel_wakes_a_stream_that_waits(serve: Callable[..., str]) -> None:
    release = threading.Event()

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(chunk("Dust"))
        handler.wfile.flush()
        release.wait(30)

    engine = ServerEngine(serve(answer))
    stream = engine.generate(QUESTION, Sampling())
    events = [next(stream), next(stream)]
    threading.Timer(0.1, engine.cancel).start()
    events += list(stream)
    release.set()
    assert (finished(events).reason, finished(events).text) == ("cancelled", "Dust")


@pytest.mark.parametrize("key", ["geheim\n", "schlüssel"])
def test_a_key_that_cannot_be_sent_gives_one_line(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARSEDOCTOR_SERVER_KEY", key)
    with pytest.raises(EngineError, match="SPARSEDOCTOR_SERVER_KEY") as caught:
        ServerEngine("http://127.0.0.1:1")
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "place", "local"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
        ("http://localhost", "localhost:80", True),
        ("https://[::1]/v1", "[::1]:443", True),
        ("http://127.8.9.10:1", "127.8.9.10:1", True),
        ("http://0.0.0.0:8080", "0.0.0.0:8080", False),
        ("http://192.168.1.7:11434", "192.168.1.7:11434", False),
        ("http://localhost.example.org:1", "localhost.example.org:1", False),
        ("http://127.0.0.1.example.org:1", "127.0.0.1.example.org:1", False),
        ("https://example.org", "example.org:443", False),
    ],
)
def test_an_address_says_whether_words_leave_the_computer(
    url: str, place: str, local: bool
) -> None:
    address = ServerAddress.of(url)
    assert (address.place, address.local) == (place, local)


def test_what_needs_the_file_is_refused() -> None:
    engine = ServerEngine("http://127.0.0.1:1")
    for refused in (
        lambda: engine.score(QUESTION, ["a"]),
        lambda: engine.tokenize("a"),
        lambda: engine.evaluate([1]),
    ):
        with pytest.raises(EngineError, match="GGUF"):
            refused()


def test_the_environments_proxy_gets_no_word(
    serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "http_proxy", "http://127.0.0.1:1")
    url = serve(lambda handler: send(handler, chunk("Dust.") + b"data: [DONE]\n\n"))
    assert finished(ask(url)).text == "Dust."
