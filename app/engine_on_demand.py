"""An engine that is made and loaded when it is first needed, and shared by conversations.

    rules speak ─▶ generate ─▶ (waits for the load, and for its turn) ─▶ events

The consultation asks its rules before it asks the engine, so an emergency is shown while the
model is still being loaded or is writing for another browser tab.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path

from sparsedoctor.core.engine.protocol import (
    Engine,
    EngineError,
    EngineSettings,
    Evaluation,
    Event,
    Finished,
    Message,
    ModelInfo,
    Sampling,
    Statistics,
)

_LOOK = 0.05  # seconds between two looks at a cancelled wait


class EngineOnDemand:
    """Holds one engine. Any thread may call `load` and `close`; conversations take a `seat`.

    After a failed load the next call tries again.
    """

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._make = make
        self._engine: Engine | None = None
        self._info: ModelInfo | None = None
        self.loading = threading.Lock()  # held while the engine is loaded
        self._closed = False
        self.turn = threading.Lock()  # held by the seat that uses the engine

    @classmethod
    def on(cls, path: Path, settings: EngineSettings) -> EngineOnDemand:
        """llama.cpp in a child process, on the file `path`."""

        def make() -> Engine:
            from sparsedoctor.core.engine.child import ChildEngine

            return ChildEngine(path, settings)

        return cls(make)

    @classmethod
    def on_server(cls, url: str, model: str) -> EngineOnDemand:
        """An OpenAI-compatible server; every word of a conversation goes there."""

        def make() -> Engine:
            from sparsedoctor.core.engine.server import ServerEngine

            return ServerEngine(url, model)

        return cls(make)

    @property
    def info(self) -> ModelInfo | None:
        """What the model is, once it is loaded."""
        return self._info

    def load(self) -> ModelInfo:
        self.loaded()
        assert self._info is not None
        return self._info

    def loaded(self) -> Engine:
        """The engine, ready. Raises EngineError when it cannot be loaded or is closed."""
        with self.loading:
            if self._closed:
                raise EngineError("the engine is closed")
            if self._engine is None:
                self._engine = self._make()
            if self._info is None:
                self._info = self._engine.load()
            return self._engine

    def seat(self) -> EngineSeat:
        """What one conversation uses as its engine."""
        return EngineSeat(self)

    def close(self) -> None:
        self._closed = True
        if self._engine is not None:
            self._engine.close()


class EngineSeat:
    """The engine protocol for one conversation; `cancel` ends its own answer, nobody else's.

    A turn begins with `begin_turn`: a cancel counts from there on, also before `generate`.
    """

    def __init__(self, shared: EngineOnDemand) -> None:
        self._shared = shared
        self._cancelled = threading.Event()
        self._writing: Engine | None = None

    def begin_turn(self) -> None:
        """Forget the cancel of an earlier turn."""
        self._cancelled.clear()

    def load(self) -> ModelInfo:
        return self._shared.load()

    def generate(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> Generator[Event, None, None]:
        nothing = Finished("cancelled", "", Statistics(0, 0, 0, 0.0, 0.0), sampling)
        if not self._wait_for(self._shared.loading):
            yield nothing
            return
        self._shared.loading.release()
        engine = self._shared.loaded()
        if not self._wait_for(self._shared.turn):
            yield nothing
            return
        told = False
        try:
            with closing(engine.generate(messages, sampling)) as events:
                self._writing = engine
                for event in events:
                    # A cancel that came before the engine had begun was lost on it.
                    if self._cancelled.is_set() and not told:
                        engine.cancel()
                        told = True
                    yield event
        finally:
            self._writing = None
            self._shared.turn.release()

    def score(self, messages: Sequence[Message], continuations: Sequence[str]) -> list[list[float]]:
        with self._shared.turn:
            return self._shared.loaded().score(messages, continuations)

    def tokenize(self, text: str, *, control: bool = False) -> list[int]:
        with self._shared.turn:
            return self._shared.loaded().tokenize(text, control=control)

    def evaluate(self, tokens: Sequence[int]) -> Evaluation:
        with self._shared.turn:
            return self._shared.loaded().evaluate(tokens)

    def statistics(self) -> Statistics | None:
        with self._shared.turn:
            return self._shared.loaded().statistics()

    def cancel(self) -> None:
        self._cancelled.set()
        engine = self._writing
        if engine is not None:
            engine.cancel()

    def close(self) -> None:
        """Leave the seat; the engine belongs to all."""
        self.cancel()

    def _wait_for(self, lock: threading.Lock) -> bool:
        """Take `lock` once it is free; False when this seat was cancelled meanwhile."""
        while not self._cancelled.is_set():
            if lock.acquire(timeout=_LOOK):
                return True
        return False
