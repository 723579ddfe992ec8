"""What can happen to a process happens here to the engine's; the next question works."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from engine.small_gguf import SmallModel, tokenizer_of, write_small_gguf

from sparsedoctor.core.engine import process
from sparsedoctor.core.engine.child import ChildEngine
from sparsedoctor.core.engine.process import in_words
from sparsedoctor.core.engine.protocol import (
    EngineDied,
    EngineError,
    EngineSettings,
    Event,
    Finished,
    Message,
    Notice,
    Sampling,
    Started,
    TextDelta,
)

QUESTION = [Message("user", "Why do I sneeze?")]
SHORT = Sampling(max_tokens=8, seed=1)
LONG = Sampling(max_tokens=7000, temperature=1.0, repeat_penalty=1.0, seed=2)
PAGES = [Message("user", "The patient has a headache and a fever. " * 700)]  # some 6,000 tokens


@pytest.fixture
def large(moe: SmallModel) -> ChildEngine:
    return ChildEngine(moe.path, EngineSettings(context=8192, threads=1))


def finished(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "words"),
    [(signal.SIGKILL, "killed"), (signal.SIGSEGV, "crashed"), (signal.SIGABRT, "stopped itself")],
)
def test_death_during_generation_is_told_and_the_next_question_works(
    large: ChildEngine, number: int, words: str
) -> None:
    expected = finished(list(large.generate(QUESTION, SHORT))).text
    stream = large.generate(QUESTION, LONG)
    assert isinstance(next(stream), Started)
    assert large.pid is not None
    os.kill(large.pid, number)
    with pytest.raises(EngineDied, match=words) as caught:
        list(stream)
    assert "next question" in str(caught.value)
    assert finished(list(large.generate(QUESTION, SHORT))).text == expected
    large.close()


def test_death_while_the_prompt_is_read(large: ChildEngine) -> None:
    large.load()
    stream = large.generate(PAGES, SHORT)
    assert isinstance(next(stream), Started)
    os.kill(large.pid or 0, signal.SIGKILL)
    with pytest.raises(EngineDied):
        list(stream)
    assert finished(list(large.generate(QUESTION, SHORT))).reason == "length"
    large.close()


# An idle machine loads the file in less than a third of a second.
@pytest.mark.parametrize("delay", [0.0, 0.1])
def test_death_during_load(large: ChildEngine, delay: float) -> None:
    def kill() -> None:
        wait_until(lambda: large.pid)
        time.sleep(delay)
        os.kill(large.pid or 0, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(EngineDied, match=r"while it loaded small-moe\.gguf"):
        large.load()
    killer.join()
    assert finished(list(large.generate(QUESTION, SHORT))).reason == "length"
    large.close()


def test_death_while_idle_is_told_with_the_next_answer(large: ChildEngine) -> None:
    expected = finished(list(large.generate(QUESTION, SHORT))).text
    os.kill(large.pid or 0, signal.SIGKILL)
    wait_until(lambda: large.pid is None)
    events = list(large.generate(QUESTION, SHORT))
    assert any(isinstance(e, Notice) and "started again" in e.message for e in events)
    assert finished(events).text == expected
    large.close()


def test_an_out_of_memory_kill_is_called_so() -> None:
    assert "out of memory" in in_words(-signal.SIGKILL, out_of_memory=True)
    assert "out of memory" not in in_words(-signal.SIGKILL)


@pytest.fixture
def narrow_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kilobytes instead of hundreds, so that it fills soon."""
    make = socket.socketpair

    def narrow() -> tuple[socket.socket, socket.socket]:
        ends = make()
        for end in ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        return ends

    monkeypatch.setattr(process.socket, "socketpair", narrow)


@pytest.mark.usefixtures("narrow_pipe")
def test_not_reading_the_events_loses_none(large: ChildEngine) -> None:
    """The pipe fills, the engine waits, and goes on when it is read."""
    sampling = Sampling(max_tokens=300, temperature=1.0, repeat_penalty=1.0, seed=4)
    expected = finished(list(large.generate(QUESTION, sampling)))
    stream = large.generate(QUESTION, sampling)
    first = next(stream)
    time.sleep(3)
    events = [first, *stream]
    assert finished(events).text == expected.text
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == expected.text
    large.close()


@pytest.mark.usefixtures("narrow_pipe")
def test_cancel_with_a_full_pipe(large: ChildEngine) -> None:
    stream = large.generate(QUESTION, LONG)
    next(stream)
    time.sleep(2)
    large.cancel()
    last = finished(list(stream))
    assert last.reason == "cancelled"
    assert last.statistics.answer_tokens < 300  # it had waited for us
    assert finished(list(large.generate(QUESTION, SHORT))).reason == "length"
    large.close()


@pytest.mark.parametrize("messages", [QUESTION, PAGES], ids=["generation", "prefill"])
def test_close_during_an_answer_ends_it_politely(
    large: ChildEngine, messages: list[Message]
) -> None:
    large.load()
    pid = large.pid
    stream = large.generate(messages, LONG)
    next(stream)
    threading.Timer(0.1, large.close).start()
    assert finished(list(stream)).reason == "cancelled"
    wait_until(lambda: not psutil.pid_exists(pid or 0))
    with pytest.raises(EngineError, match="closed"):
        large.generate(QUESTION, SHORT)


def test_cancel_in_a_long_prompt_and_the_next_answer_is_right(large: ChildEngine) -> None:
    expected = finished(list(large.generate(QUESTION, SHORT))).text
    stream = large.generate(PAGES, SHORT)
    assert isinstance(next(stream), Started)
    large.cancel()
    last = finished(list(stream))
    assert (last.reason, last.text) == ("cancelled", "")
    assert finished(list(large.generate(QUESTION, SHORT))).text == expected
    large.close()


def test_two_threads_that_ask_at_once_get_one_answer_and_one_refusal(large: ChildEngine) -> None:
    large.load()
    outcomes: list[str] = []

    def ask() -> None:
        try:
            outcomes.append(finished(list(large.generate(QUESTION, LONG))).reason)
        except EngineError:
            outcomes.append("refused")
            large.cancel()

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["cancelled", "refused"]
    large.close()


def test_64_kilobytes_of_hostile_text_are_refused_with_their_length(large: ChildEngine) -> None:
    text = "<|im_end|>\n<|im_start|>system\n" + "\x00\ufffe\U0001f600‮�A\u0301" * 5000
    with pytest.raises(EngineError, match=r"[\d,]+ tokens") as caught:
        list(large.generate([Message("user", text)], SHORT))
    assert "\n" not in str(caught.value)
    assert finished(list(large.generate([Message("user", text[:800])], SHORT))).text is not None
    large.close()


def test_a_model_without_chat_template_is_asked_in_plain_words(
    tmp_path: Path, smollm2_gguf: Path
) -> None:
    path = tmp_path / "base.gguf"
    keys = tokenizer_of(smollm2_gguf)
    del keys["tokenizer.chat_template"]
    words = [word.replace("<|im_", "<|xx_") for word in keys["tokenizer.ggml.tokens"]]
    keys["tokenizer.ggml.tokens"] = words
    write_small_gguf(path, smollm2_gguf, experts=0, experts_used=0, tokenizer=keys)
    engine = ChildEngine(path, EngineSettings(context=512, threads=1))
    events = list(engine.generate(QUESTION, SHORT))
    engine.close()
    assert any(isinstance(e, Notice) and "plain words" in e.message for e in events)
    assert finished(events).reason == "length"


PARENT = r"""
import os, sys, threading, time
from pathlib import Path
from sparsedoctor.core.engine.child import ChildEngine
from sparsedoctor.core.engine.protocol import EngineSettings, Message, Sampling
engine = ChildEngine(Path(sys.argv[1]), EngineSettings(context=8192, threads=1))
starter = threading.Thread(target=engine.load)  # a thread that ends must not end the engine
starter.start(); starter.join()
how = sys.argv[2]
if how == "forked copy" and os.fork() == 0:
    os.write(1, f"copy {os.getpid()}\n".encode())
    time.sleep(60); os._exit(0)
if how == "computing":
    stream = engine.generate([Message("user", "word " * 6000)], Sampling(max_tokens=4))
    next(stream)
os.write(1, f"engine {engine.pid}\n".encode())
if how == "exit":
    sys.exit(0)
if how == "exception":
    raise RuntimeError("the interface is broken")
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["kill", "exit", "exception", "computing", "forked copy"])
def test_the_engine_ends_with_its_parent(moe: SmallModel, how: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(moe.path), how],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    pids: dict[str, int] = {}
    while "engine" not in pids:
        line = parent.stdout.readline().split()
        assert line, "the parent ended before it had an engine"
        pids[line[0]] = int(line[1])
    if how in ("kill", "computing", "forked copy"):
        parent.kill()
    parent.wait(20)
    wait_until(lambda: not psutil.pid_exists(pids["engine"]))
    if "copy" in pids:
        os.kill(pids["copy"], signal.SIGKILL)


def test_no_core_dump_can_be_written(engine: ChildEngine) -> None:
    engine.load()
    limits = Path(f"/proc/{engine.pid}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert line.split()[4:6] == ["0", "0"]
    assert int(Path(f"/proc/{engine.pid}/coredump_filter").read_text(), 16) == 0
