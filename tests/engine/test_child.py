"""The child engine keeps the protocol's promises on a real model."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from sparsedoctor.core.engine.child import ChildEngine
from sparsedoctor.core.engine.process import log_path
from sparsedoctor.core.engine.protocol import (
    EngineError,
    Event,
    Finished,
    Message,
    Notice,
    Sampling,
    Started,
    TextDelta,
)
from sparsedoctor.core.errors import SparseDoctorError

QUESTION = [Message("system", "Be brief."), Message("user", "Why do I sneeze?")]
LONG = Sampling(max_tokens=100_000, temperature=1.0, repeat_penalty=1.0, seed=5)


def last(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def test_an_answer_streams_and_ends_with_exactly_one_finished(engine: ChildEngine) -> None:
    events = list(engine.generate(QUESTION, Sampling(max_tokens=20, seed=1)))
    assert isinstance(events[0], Started)
    finished = last(events)
    assert [type(event) for event in events].count(Finished) == 1
    assert finished.text == "".join(e.text for e in events if isinstance(e, TextDelta))
    assert finished.statistics.answer_tokens == 20
    assert finished.reason == "length"


def test_the_same_seed_gives_the_same_answer_and_another_one_another(engine: ChildEngine) -> None:
    sampling = Sampling(max_tokens=30, temperature=1.0, seed=11)
    texts = [last(list(engine.generate(QUESTION, sampling))).text for _ in range(3)]
    other = last(list(engine.generate(QUESTION, Sampling(max_tokens=30, temperature=1.0, seed=12))))
    assert len(set(texts)) == 1
    assert other.text != texts[0]


def test_a_seed_that_was_not_given_is_told_and_reproduces_the_answer(engine: ChildEngine) -> None:
    sampling = Sampling(max_tokens=30, temperature=1.0)
    first = last(list(engine.generate(QUESTION, sampling)))
    second = last(list(engine.generate(QUESTION, sampling)))
    assert first.sampling.seed != second.sampling.seed
    again = last(list(engine.generate(QUESTION, first.sampling)))
    assert again.text == first.text


def test_a_second_turn_reads_only_what_is_new(engine: ChildEngine) -> None:
    answer = last(list(engine.generate(QUESTION, Sampling(max_tokens=16, seed=1))))
    messages = [*QUESTION, Message("assistant", answer.text), Message("user", "And then?")]
    started = next(e for e in engine.generate(messages, Sampling(max_tokens=4, seed=1)))
    assert isinstance(started, Started)
    assert started.reused_tokens >= answer.statistics.prompt_tokens


def test_cancel_ends_the_answer_and_the_next_one_is_right(engine: ChildEngine) -> None:
    expected = last(list(engine.generate(QUESTION, Sampling(max_tokens=12, seed=1)))).text
    events: list[Event] = []
    for event in engine.generate(QUESTION, LONG):
        events.append(event)
        if sum(isinstance(e, TextDelta) for e in events) == 3:
            engine.cancel()
    assert last(events).reason == "cancelled"
    assert last(list(engine.generate(QUESTION, Sampling(max_tokens=12, seed=1)))).text == expected


def test_cancel_from_another_thread(engine: ChildEngine) -> None:
    engine.load()
    stream = engine.generate(QUESTION, LONG)
    next(stream)
    threading.Timer(0.1, engine.cancel).start()
    assert last(list(stream)).reason == "cancelled"


def test_cancel_before_the_answer_is_read_is_not_lost(engine: ChildEngine) -> None:
    """Also when the model is not even loaded yet."""
    for _ in range(2):
        stream = engine.generate(QUESTION, LONG)
        engine.cancel()
        assert last(list(stream)).reason == "cancelled"
    assert last(list(engine.generate(QUESTION, Sampling(max_tokens=4)))).reason == "length"


def test_an_interrupt_in_the_middle_of_an_answer_leaves_a_working_engine(
    engine: ChildEngine,
) -> None:
    """As Ctrl-C does, at any moment, also inside a message."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    engine.load()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for delay in (0.05, 0.11, 0.23):
            signal.setitimer(signal.ITIMER_REAL, delay)
            with pytest.raises(KeyboardInterrupt):
                list(engine.generate(QUESTION, LONG))
            events = list(engine.generate(QUESTION, Sampling(max_tokens=4)))
            assert last(events).reason == "length"
            assert not any(isinstance(event, Notice) for event in events)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_cancel_without_an_answer_does_nothing(engine: ChildEngine) -> None:
    engine.cancel()
    engine.load()
    engine.cancel()
    assert last(list(engine.generate(QUESTION, Sampling(max_tokens=4)))).reason == "length"


def test_a_stream_that_is_dropped_frees_the_engine(engine: ChildEngine) -> None:
    stream = engine.generate(QUESTION, LONG)
    next(stream)
    stream.close()
    assert last(list(engine.generate(QUESTION, Sampling(max_tokens=4)))).reason == "length"


def test_a_second_answer_at_once_is_refused(engine: ChildEngine) -> None:
    stream = engine.generate(QUESTION, Sampling(max_tokens=8, seed=1))
    next(stream)
    for refused in (
        lambda: engine.generate(QUESTION, LONG),
        lambda: engine.tokenize("a"),
        lambda: engine.load(),
    ):
        with pytest.raises(EngineError, match="already"):
            refused()
    assert last(list(stream)).reason == "length"


def test_scores_are_the_log_probabilities_of_evaluate(engine: ChildEngine) -> None:
    continuations = [" yes", " no, not at all", "B", "", "well " * 300]
    scores = engine.score(QUESTION, continuations)
    prompt = "".join(f"<|im_start|>{m.role}\n{m.content}<|im_end|>\n" for m in QUESTION)
    before = engine.tokenize(prompt + "<|im_start|>assistant\n", control=True)
    for continuation, found in zip(continuations, scores, strict=True):
        tokens = engine.tokenize(continuation)
        if not tokens:
            assert found == []
            continue
        logits = engine.evaluate([*before, *tokens]).logits[len(before) - 1 : -1].astype(float)
        norm = np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)) + logits.max(-1)
        expected = logits[np.arange(len(tokens)), tokens] - norm
        np.testing.assert_allclose(found, expected, atol=0.05)


def test_closing_twice_is_harmless_and_ends_the_process(engine: ChildEngine) -> None:
    engine.load()
    pid = engine.pid
    assert pid is not None
    engine.close()
    engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(EngineError, match="closed"):
        engine.load()


def test_what_the_child_prints_goes_to_a_private_log(
    engine: ChildEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.load()
    list(engine.generate(QUESTION, Sampling(max_tokens=4)))
    for descriptor in (1, 2):
        assert os.readlink(f"/proc/{engine.pid}/fd/{descriptor}") == str(log_path())
    assert capfd.readouterr() == ("", "")
    assert log_path().stat().st_mode & 0o777 == 0o600
    assert "sneeze" not in log_path().read_text(errors="replace")


@pytest.mark.parametrize("content", [b"", b"hello\n", b"GGUF", b"GGUF\x03\0\0\0" + b"\xff" * 64])
def test_a_file_that_is_no_model_gives_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(SparseDoctorError) as caught:
        ChildEngine(path).load()
    assert "\n" not in str(caught.value)
    assert "bad.gguf" in str(caught.value)
