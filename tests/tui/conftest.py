"""The chat on a screen without a terminal, with an engine that plays a script."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from scripted_model import SPARSE
from textual.pilot import Pilot
from textual.widgets import Static
from tui.terminal import Terminal

from sparsedoctor.app.consultation.history import History
from sparsedoctor.app.engine_on_demand import EngineOnDemand
from sparsedoctor.app.model_files import ModelFile
from sparsedoctor.app.tui.application import ChatApp
from sparsedoctor.app.tui.chat_screen import ChatScreen
from sparsedoctor.app.tui.prompt import Prompt
from sparsedoctor.app.tui.turn import TurnCard
from sparsedoctor.core.engine.scripted import ScriptedEngine

PLAIN = ModelFile(Path("plain.gguf"), 4, "llama", 0, None)


@dataclass
class Chat:
    """An open chat and what a person sees of it."""

    app: ChatApp
    pilot: Pilot[None]

    @property
    def screen(self) -> ChatScreen:
        return next(s for s in self.app.screen_stack if isinstance(s, ChatScreen))

    @property
    def cards(self) -> list[TurnCard]:
        return list(self.screen.query(TurnCard))

    def text(self, selector: str) -> str:
        """What a text widget shows, "" when it is hidden."""
        widget = self.screen.query_one(selector, Static)
        return str(widget.content) if widget.display else ""

    async def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait for `condition`; a single pause would be a guess about the event loop."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise AssertionError("it did not come about")
            await self.pilot.pause()
            await asyncio.sleep(0.01)

    async def ready(self) -> None:
        await self.until(lambda: self.text("#state") == "ready")

    async def type(self, words: str) -> None:
        self.screen.query_one(Prompt).insert(words)
        await self.pilot.pause()

    async def send(self, words: str) -> TurnCard:
        """Type and send; returns the new turn's card."""
        before = len(self.cards)
        await self.type(words)
        await self.pilot.press("enter")
        await self.until(lambda: len(self.cards) > before)
        return self.cards[-1]

    async def ask(self, words: str) -> TurnCard:
        """Send and wait for the end of the answer."""
        card = await self.send(words)
        await self.until(lambda: not self.screen.busy)
        return card


@pytest.fixture(autouse=True)
def locale(monkeypatch: pytest.MonkeyPatch) -> None:
    """The language of this machine decides nothing here."""
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """Terminals put in here are closed at the end."""
    opened: list[Terminal] = []
    yield opened
    for one in opened:
        one.close()


OpenChat = Callable[..., AbstractAsyncContextManager[Chat]]


@pytest.fixture
def open_chat() -> OpenChat:
    @asynccontextmanager
    async def opening(
        engine: ScriptedEngine | None = None,
        *,
        size: tuple[int, int] = (120, 40),
        model: ModelFile = SPARSE,
        region: str = "GB",
        history: History | None = None,
        private: bool = False,
        language: str = "en",
    ) -> AsyncIterator[Chat]:
        scripted = engine or ScriptedEngine()
        app = ChatApp(
            EngineOnDemand(lambda: scripted),
            model,
            None,
            history,
            region=region,
            private=private,
            language=language,
        )
        async with app.run_test(size=size) as pilot:
            yield Chat(app, pilot)

    return opening
