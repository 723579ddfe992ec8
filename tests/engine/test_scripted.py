"""The double keeps the protocol's promises: what is tested with it is true of the real one."""

from __future__ import annotations

import threading

import pytest

from sparsedoctor.core.engine.protocol import (
    EngineDied,
    EngineError,
    Finished,
    Message,
    RoutingUpdate,
    Sampling,
    Started,
    TextDelta,
)
from sparsedoctor.core.engine.scripted import Reply, ScriptedEngine

QUESTION = [Message("user", "Why do I sneeze?")]


def test_an_answer_begins_with_started_and_ends_with_exactly_one_finished() -> None:
    engine = ScriptedEngine([Reply(("a", "b"))])
    assert engine.statistics() is None
    events = list(engine.generate(QUESTION, Sampling(seed=7)))
    assert isinstance(events[0], Started)
    assert [type(event) for event in events].count(Finished) == 1
    assert isinstance(events[-1], Finished)
    assert engine.statistics() == events[-1].statistics
    assert events[-1].text == "ab"
    assert events[-1].sampling.seed == 7
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "ab"


def test_routing_adds_up() -> None:
    engine = ScriptedEngine([Reply(("a", "b"))], experts=4, experts_used=2, layers=3)
    updates = [e for e in engine.generate(QUESTION, Sampling()) if isinstance(e, RoutingUpdate)]
    assert [len(update.chosen) for update in updates] == [3] * len(updates)
    assert sum(updates[-1].chosen[0]) == 2 * updates[-1].tokens
    assert sum(updates[-1].shares()) == pytest.approx(1)


def test_replies_play_in_order_and_the_last_again() -> None:
    engine = ScriptedEngine([Reply(("one",)), Reply(("two",))])
    texts = [list(engine.generate(QUESTION, Sampling()))[-1] for _ in range(3)]
    assert [e.text for e in texts if isinstance(e, Finished)] == ["one", "two", "two"]


def test_cancel_from_another_thread_ends_a_slow_answer() -> None:
    engine = ScriptedEngine([Reply(("word ",) * 1000, delay=60)])
    threading.Timer(0.05, engine.cancel).start()
    last = list(engine.generate(QUESTION, Sampling()))[-1]
    assert isinstance(last, Finished)
    assert last.reason == "cancelled"


def test_a_failure_is_raised_and_the_next_answer_works() -> None:
    engine = ScriptedEngine([Reply(("half",), failure=EngineDied("it ended")), Reply(("whole",))])
    with pytest.raises(EngineDied):
        list(engine.generate(QUESTION, Sampling()))
    last = list(engine.generate(QUESTION, Sampling()))[-1]
    assert isinstance(last, Finished)
    assert last.text == "whole"


def test_a_second_answer_at_once_is_refused_and_closing_the_first_frees_the_engine() -> None:
    engine = ScriptedEngine()
    first = engine.generate(QUESTION, Sampling())
    with pytest.raises(EngineError, match="already"):
        engine.generate(QUESTION, Sampling())
    first.close()
    assert list(engine.generate(QUESTION, Sampling()))


def test_a_model_without_experts_has_no_routing() -> None:
    engine = ScriptedEngine(experts=0)
    assert engine.load().experts == 0
    assert not any(
        isinstance(event, RoutingUpdate) for event in engine.generate(QUESTION, Sampling())
    )
