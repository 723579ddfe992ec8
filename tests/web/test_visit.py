"""What a browser tab shows, without a browser."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sparsedoctor.app.consultation.history import History
from sparsedoctor.app.engine_on_demand import EngineOnDemand
from sparsedoctor.app.model_files import ModelFile
from sparsedoctor.app.session import Session
from sparsedoctor.app.web.visit import Visit
from sparsedoctor.core.engine.protocol import EngineDied, Finished, Sampling
from sparsedoctor.core.engine.scripted import Reply, ScriptedEngine


def visit_on(engine: ScriptedEngine) -> Visit:
    return visit_of(EngineOnDemand(lambda: engine))


def visit_of(shared: EngineOnDemand) -> Visit:
    model = ModelFile(Path("scripted.gguf"), 4, "llama", 4, None)
    session = Session(shared, model, History.private(), region="GB", private=True)
    return Visit(session, Sampling())


def run(visit: Visit, words: str) -> list[str]:
    """The answer's text at every picture of the turn."""
    visit.ask(words)
    return [visit.latest.text for _ in visit.pictures()]


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)


def test_an_answer_grows_and_ends() -> None:
    visit = visit_on(ScriptedEngine([Reply(("a ", "b ", "c"), delay=0.1)]))
    texts = run(visit, "hello")
    assert texts[-1] == "a b c"
    assert len(set(texts)) >= 3
    assert not visit.busy
    assert visit.latest.finished is not None


def test_rules_are_drawn_before_the_first_word() -> None:
    visit = visit_on(ScriptedEngine([Reply(("a",), first_delay=0.5)]))
    visit.ask("hello")
    seen = [(visit.latest.assessment is not None, visit.latest.text) for _ in visit.pictures()]
    assert (True, "") in seen
    assert seen[-1] == (True, "a")


def test_stop_ends_the_engine_and_keeps_the_words() -> None:
    engine = ScriptedEngine([Reply(("word ",) * 1000, delay=0.02)])
    visit = visit_on(engine)
    visit.ask("hello")
    for _ in visit.pictures():
        if visit.latest.text:
            visit.stop()
    assert visit.latest.cancelled
    assert 0 < visit.latest.text.count("word") < 1000


def test_a_closed_tab_ends_its_answer() -> None:
    engine = ScriptedEngine([Reply(("word ",) * 1000, delay=0.02), Reply(("next",))])
    shared = EngineOnDemand(lambda: engine)
    first, second = visit_of(shared), visit_of(shared)
    first.ask("hello")
    until(lambda: first.latest.text)
    first.leave()
    assert not first.busy
    assert run(second, "hello")[-1] == "next"


def test_a_turn_goes_on_when_nobody_watches() -> None:
    visit = visit_on(ScriptedEngine([Reply(("word ",) * 20, delay=0.02)]))
    visit.ask("hello")
    pictures = visit.pictures()
    next(pictures)
    pictures.close()  # what gradio does when the page is reloaded
    assert visit.busy
    assert [visit.latest.text for _ in visit.pictures()][-1] == "word " * 20


def test_two_who_watch_see_the_same_end() -> None:
    visit = visit_on(ScriptedEngine([Reply(("word ",) * 10, delay=0.02)]))
    visit.ask("hello")
    one, two = visit.pictures(), visit.pictures()
    next(one)
    assert [visit.latest.text for _ in two][-1] == [visit.latest.text for _ in one][-1] != ""


def test_stop_in_one_tab_leaves_the_other_alone() -> None:
    engine = ScriptedEngine([Reply(("one ",) * 20, delay=0.02), Reply(("two",))])
    shared = EngineOnDemand(lambda: engine)
    first, second = visit_of(shared), visit_of(shared)
    writing = threading.Thread(target=lambda: run(first, "hello"))
    writing.start()
    until(lambda: first.latest.text)
    waiting = threading.Thread(target=lambda: run(second, "hello"))
    waiting.start()
    until(lambda: second.latest.assessment)  # its rules speak while the engine is busy
    second.stop()
    waiting.join(20)
    writing.join(20)
    assert first.latest.text == "one " * 20
    assert second.latest.cancelled
    assert second.latest.text == ""


def test_a_cancel_counts_from_the_question_on_before_anything_is_asked_for() -> None:
    visit = visit_on(ScriptedEngine([Reply(("a ",) * 20)] * 2))
    run(visit, "first")
    for ask in (lambda: visit.session.ask("hello"), visit.session.ask_again):
        events = ask()
        visit.session.cancel()
        finished = [event for event in events if isinstance(event, Finished)]
        assert [event.reason for event in finished] == ["cancelled"]


def test_a_dead_engine_is_told_and_the_next_question_works() -> None:
    died = EngineDied("The model's process ended unexpectedly.")
    half = ("Half a tablet. ", "Take warfarin 5 mg twice a day.")
    visit = visit_on(ScriptedEngine([Reply(half, failure=died), Reply(("Whole",))]))
    run(visit, "first")
    assert "ended unexpectedly" in visit.turns[0].error
    shown = visit.turns[0].view.text
    assert shown.startswith("Half a tablet. Take warfarin [dose removed")
    assert visit.turns[0].view.remarks
    assert run(visit, "second")[-1] == "Whole"


def test_nothing_is_asked_twice_at_once_or_for_nothing() -> None:
    visit = visit_on(ScriptedEngine([Reply(delay=0.1)]))
    visit.ask("  ")
    visit.ask_again()
    assert visit.turns == []
    visit.ask("hello")
    visit.ask("again")
    visit.ask_again()
    visit.settle()
    assert [turn.words for turn in visit.turns] == ["hello"]


def test_a_new_conversation_stops_the_answer_and_does_not_get_it() -> None:
    engine = ScriptedEngine([Reply(("word ",) * 1000, delay=0.02), Reply(("next",))])
    visit = visit_on(engine)
    visit.ask("first matter")
    until(lambda: visit.latest.text)
    visit.begin(private=True)
    assert (visit.turns, visit.busy) == ([], False)
    assert run(visit, "second matter")[-1] == "next"


def test_a_fault_of_the_program_is_told_and_the_page_stays_usable(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(_messages: object) -> Reply:
        raise ZeroDivisionError

    visit = visit_on(ScriptedEngine(broken))
    run(visit, "hello")
    assert "ZeroDivisionError" in visit.turns[0].error
    assert "Traceback" in capsys.readouterr().err
    assert not visit.busy


def test_a_new_conversation_forgets() -> None:
    engine = ScriptedEngine()
    visit = visit_on(engine)
    run(visit, "first matter")
    visit.begin(private=True)
    run(visit, "second matter")
    assert all("first" not in message.content for message in engine.calls[-1][0])
