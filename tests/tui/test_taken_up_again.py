"""What a conversation says when it is opened again: also what the history does not keep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_model import SPARSE

from sparsedoctor.app.consultation.history import History
from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.engine_on_demand import EngineOnDemand
from sparsedoctor.app.session import Session
from sparsedoctor.app.turn_view import TurnView
from sparsedoctor.core.engine.protocol import EngineDied
from sparsedoctor.core.engine.scripted import Reply, ScriptedEngine


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    opened = History.open(tmp_path / "history.db")
    yield opened
    opened.close()


def session_on(history: History, engine: ScriptedEngine | None = None) -> Session:
    scripted = engine or ScriptedEngine()
    return Session(EngineOnDemand(lambda: scripted), SPARSE, history, region="GB")


def asked(session: Session, words: str) -> TurnView:
    view = TurnView()
    for event in session.ask(words):
        view = view.apply(event)
    return view


def reopened(session: Session, history: History) -> list[TurnView]:
    assert session.conversation is not None
    return session_on(history).resume(session.conversation)


QUESTIONS = (
    ("I have a headache", False),  # something is asked back
    ("since yesterday, 3 of 10, no fever", True),
    ("What is a cold?", False),
    ("crushing chest pain spreading to my left arm", False),  # answered by the rules
)


def test_when_to_get_help_earlier_stands_again_beside_every_answer_that_had_it(
    history: History,
) -> None:
    session = session_on(history)
    live = [asked(session, words) for words, _ in QUESTIONS]
    again = reopened(session, history)
    assert [view.earlier for view in again] == [view.earlier for view in live]
    assert [bool(view.earlier) for view in again] == [said for _, said in QUESTIONS]


def test_it_is_made_from_what_the_person_told_and_in_the_language_of_the_words(
    history: History,
) -> None:
    session = session_on(history)
    session.tell(Intake(age=30, sex="female", pregnant=True))
    asked(session, "我嗓子疼，没有发烧")
    live = asked(session, "昨天开始，不严重")
    assert "胎动" in live.earlier  # said to the pregnant only
    assert reopened(session, history)[-1].earlier == live.earlier


def test_an_answer_that_failed_keeps_it_too(history: History) -> None:
    engine = ScriptedEngine([Reply((), failure=EngineDied("the engine was closed"))])
    session = session_on(history, engine)
    asked(session, "I have a headache")
    with pytest.raises(EngineDied):
        asked(session, "since yesterday, 3 of 10, no fever")
    assert "earlier" in reopened(session, history)[-1].earlier


async def test_it_is_on_the_screen_again(open_chat: Any, history: History) -> None:
    async with open_chat(history=history) as chat:
        await chat.ask("I have a headache")
        card = await chat.ask("since yesterday, 3 of 10, no fever")
        line = card.view.earlier
        assert line
        await chat.pilot.press("ctrl+n")
        await chat.until(lambda: not chat.cards)
        await chat.pilot.press("f4")
        await chat.until(lambda: bool(chat.app.screen.query("#conversations")))
        options = chat.app.screen.query_one("#conversations")
        await chat.until(lambda: options.option_count == 1)
        await chat.pilot.press("enter")
        await chat.until(lambda: len(chat.cards) == 2)
        await chat.until(lambda: line in str(chat.cards[-1].query_one(".remarks").content))
