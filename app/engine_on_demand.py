"""An engine that is made and loaded when it is first needed, for interfaces that open at once.

    rules speak ─▶ generate ─▶ (waits for the load that began with the screen) ─▶ events

The consultation asks its rules before it asks the engine, so an emergency is shown while the
model is still being loaded.
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
    Message,
    ModelInfo,
    Sampling,
)


class EngineOnDemand:
    """The engine protocol over an engine that `make` creates. `load` may be called by any thread.

    After a failed load the next call tries again.
    """

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._make = make
        self._engine: Engine | None = None
        self._info: ModelInfo | None = None
        self._loading = threading.Lock()
        self._cancelled = threading.Event()
        self._closed = False

    @classmethod
    def on(cls, path: Path, settings: EngineSettings) -> EngineOnDemand:
        """llama.cpp in a child process, on the file `path`."""

        def make() -> Engine:
            from sparsedoctor.core.engine.child import ChildEngine

            return ChildEngine(path, settings)

        return cls(make)

    @property
    def info(self) -> ModelInfo | None:
        """What the model is, once it is loaded."""
        return self._info

    def load(self) -> ModelInfo:
        with self._loading:
            if self._closed:
                raise EngineError("the engine is closed")
            if self._engine is None:
                self._engine = self._make()
            if self._info is None:
                self._info = self._engine.load()
            return self._info

    def generate(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> Generator[Event, None, None]:
        self._cancelled.clear()
        engine = self._loaded()
        told = False
        with closing(engine.generate(messages, sampling)) as events:
            for event in events:
                # A cancel that came while the model was being loaded reached no engine yet.
                if self._cancelled.is_set() and not told:
                    engine.cancel()
                    told = True
                yield event

    def score(self, messages: Sequence[Message], continuations: Sequence[str]) -> list[list[float]]:
        return self._loaded().score(messages, continuations)

    def tokenize(self, text: str, *, control: bool = False) -> list[int]:
        return self._loaded().tokenize(text, control=control)

    def evaluate(self, tokens: Sequence[int]) -> Evaluation:
        return self._loaded().evaluate(tokens)

    def cancel(self) -> None:
        self._cancelled.set()
        if self._engine is not None:
            self._engine.cancel()

    def close(self) -> None:
        self._closed = True
        self._cancelled.set()
        if self._engine is not None:
            self._engine.close()

    def _loaded(self) -> Engine:
        self.load()
        assert self._engine is not None  # load made it
        return self._engine
