"""Which visit a loaded page gets: its own, that of the tab before a reload, or a new one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sparsedoctor.app.consultation.history import History
from sparsedoctor.app.engine_on_demand import EngineOnDemand
from sparsedoctor.app.model_files import ModelFile
from sparsedoctor.app.session import Session
from sparsedoctor.app.web.visit import Visit
from sparsedoctor.app.web.visits import Visits
from sparsedoctor.core.engine.protocol import Sampling
from sparsedoctor.core.engine.scripted import Reply, ScriptedEngine


def new_visit() -> Visit:
    engine = EngineOnDemand(lambda: ScriptedEngine([Reply(("word ",) * 1000, delay=0.02)]))
    model = ModelFile(Path("scripted.gguf"), 4, "llama", 4, None)
    session = Session(engine, model, History.private(), region="GB", private=True)
    return Visit(session, Sampling())


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)


def test_a_reload_gets_its_visit_whichever_is_told_first() -> None:
    for gone_first in (True, False):
        visits = Visits()
        visits.enter("before", "tab")
        visit = visits.of("before", new_visit)
        if gone_first:
            visits.went("before")
        visits.enter("after", "tab")
        if not gone_first:
            visits.went("before")
        assert visits.of("after", new_visit) is visit
        visits.close()


def test_another_tab_gets_its_own() -> None:
    visits = Visits()
    visits.enter("a", "tab one")
    visits.enter("b", "tab two")
    assert visits.of("a", new_visit) is not visits.of("b", new_visit)
    visits.enter("c", "")  # a browser that names no tab
    visits.enter("d", "")
    assert visits.of("c", new_visit) is not visits.of("d", new_visit)
    visits.close()


def test_who_does_not_come_back_is_left_with_their_answer() -> None:
    visits = Visits(patience=0.05)
    visits.enter("before", "tab")
    visit = visits.of("before", new_visit)
    visit.ask("hello")
    until(lambda: visit.latest.text)
    visits.went("before")
    until(lambda: not visit.busy)
    assert visit.latest.cancelled
    visits.enter("after", "tab")
    assert visits.of("after", new_visit) is not visit
    visits.close()


def test_who_came_back_is_not_left() -> None:
    visits = Visits(patience=0.05)
    visits.enter("before", "tab")
    visit = visits.of("before", new_visit)
    visits.went("before")
    visits.enter("after", "tab")
    time.sleep(0.2)
    assert visits.of("after", new_visit) is visit
    visits.close()


def test_of_too_many_those_who_went_are_forgotten_first() -> None:
    visits = Visits(most=2)
    oldest, gone = visits.of("a", new_visit), visits.of("b", new_visit)
    visits.went("b")
    visits.of("c", new_visit)
    assert visits.of("a", new_visit) is oldest
    assert visits.of("b", new_visit) is not gone
    visits.close()


def test_closing_ends_every_answer() -> None:
    visits = Visits()
    visit = visits.of("a", new_visit)
    visit.ask("hello")
    until(lambda: visit.latest.text)
    visits.close()
    assert not visit.busy
