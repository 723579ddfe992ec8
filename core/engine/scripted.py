"""An engine that plays a script: the same protocol, no model. For tests of interfaces.

    engine = ScriptedEngine([Reply(("Rest ", "and drink.")), Reply(failure=EngineDied("..."))])

Replies are played in order, the last one again and again. It keeps what it was asked, refuses
what `ChildEngine` refuses, and can be cancelled, delayed, made to fail or to refuse to load.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from sparsedoctor.core.engine.protocol import (
    EngineError,
    Evaluation,
    Event,
    Finished,
    Message,
    ModelInfo,
    Notice,
    RoutingUpdate,
    Sampling,
    Started,
    Statistics,
    TextDelta,
)

_VOCABULARY = 256  # tokens are the bytes of UTF-8
_SEED = 20250914


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the script."""

    deltas: tuple[str, ...] = ("This is ", "a scripted ", "answer.")
    delay: float = 0.0  # seconds before each delta; `cancel` cuts it short
    first_delay: float = 0.0  # seconds before the first delta, as reading a long prompt takes
    notices: tuple[str, ...] = ()
    dropped_turns: int = 0
    failure: EngineError | None = None  # raised once the deltas are played, instead of Finished
    reason: Literal["stop", "length"] = "stop"


Script = Sequence[Reply] | Callable[[Sequence[Message]], Reply]


class ScriptedEngine:
    """See the module's text. `calls` holds the messages and sampling of every `generate`."""

    def __init__(
        self,
        script: Script = (Reply(),),
        *,
        layers: int = 3,
        experts: int = 4,
        experts_used: int = 2,
        load_failure: EngineError | None = None,
        load_delay: float = 0.0,
    ) -> None:
        self.calls: list[tuple[tuple[Message, ...], Sampling]] = []
        self.loads = 0
        self.closed = False
        self._script = script
        self._load_failure, self._load_delay = load_failure, load_delay
        self._cancelled = threading.Event()
        self._busy = threading.Lock()
        self._statistics: Statistics | None = None
        self.info = ModelInfo(
            path=Path("scripted.gguf"),
            name="scripted model",
            architecture="scripted",
            size=0,
            layers=layers,
            experts=experts,
            experts_used=experts_used if experts else 0,
            context=2048,
            context_trained=2048,
            vocabulary=_VOCABULARY,
            routing_traced=experts > 0,
            bundle=None,
        )

    def load(self) -> ModelInfo:
        self._refuse_closed()
        self.loads += 1
        time.sleep(self._load_delay)
        if self._load_failure is not None:
            raise self._load_failure
        return self.info

    def generate(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> Generator[Event, None, None]:
        self._refuse_closed()
        if not messages:
            raise EngineError("there is no message to answer")
        if not self._busy.acquire(blocking=False):
            raise EngineError("an answer is being written already; wait for it or cancel it")
        self._cancelled.clear()
        self.calls.append((tuple(messages), sampling))
        stream = self._play(tuple(messages), sampling)
        next(stream)  # enters the `try`, so that closing an unread stream frees the engine
        return stream

    def score(self, messages: Sequence[Message], continuations: Sequence[str]) -> list[list[float]]:
        """Every byte is equally likely."""
        return [
            [-float(np.log(_VOCABULARY))] * len(self.tokenize(continuation))
            for continuation in continuations
        ]

    def tokenize(self, text: str, *, control: bool = False) -> list[int]:
        return list(text.encode())

    def evaluate(self, tokens: Sequence[int]) -> Evaluation:
        """Equal logits everywhere; the first experts are always chosen, with equal weight."""
        shape = (len(tokens), self.info.layers, self.info.experts_used)
        logits = np.zeros((len(tokens), _VOCABULARY), dtype=np.float32)
        if not self.info.experts:
            return Evaluation(logits, None, None)
        experts = np.broadcast_to(np.arange(shape[2], dtype=np.int32), shape).copy()
        return Evaluation(logits, experts, np.full(shape, 1 / shape[2], dtype=np.float32))

    def statistics(self) -> Statistics | None:
        return self._statistics

    def cancel(self) -> None:
        self._cancelled.set()

    def close(self) -> None:
        self._cancelled.set()
        self.closed = True

    def _play(
        self, messages: tuple[Message, ...], sampling: Sampling
    ) -> Generator[Event, None, None]:
        began = time.perf_counter()
        played: list[str] = []
        reply = self._reply(messages)
        seed = _SEED if sampling.seed is None else sampling.seed
        prompt_tokens = sum(len(message.content.split()) for message in messages)
        try:
            yield Notice("ready")  # swallowed by `generate`
            yield Started(prompt_tokens, 0, reply.dropped_turns, seed)
            for text in reply.notices:
                yield Notice(text)
            if self.info.experts:
                yield self._routing("prompt", prompt_tokens)
            first = 0.0
            self._cancelled.wait(reply.first_delay)
            for delta in reply.deltas:
                if self._cancelled.wait(reply.delay):
                    break
                first = first or time.perf_counter() - began
                played.append(delta)
                yield TextDelta(delta)
                if self.info.experts:
                    yield self._routing("answer", len(played))
            cancelled = self._cancelled.is_set()
            if reply.failure is not None and not cancelled:
                raise reply.failure
            seconds = time.perf_counter() - began
            self._statistics = Statistics(prompt_tokens, 0, len(played), first, seconds)
            yield Finished(
                "cancelled" if cancelled else reply.reason,
                "".join(played),
                self._statistics,
                replace(sampling, seed=seed),
            )
        finally:
            self._busy.release()

    def _reply(self, messages: tuple[Message, ...]) -> Reply:
        if callable(self._script):
            return self._script(messages)
        return self._script[min(len(self.calls), len(self._script)) - 1]

    def _routing(self, phase: str, tokens: int) -> RoutingUpdate:
        """Expert 0 most, the others in falling shares: something to draw."""
        experts, used = self.info.experts, self.info.experts_used
        chosen = tuple(tokens if expert < used else 0 for expert in range(experts))
        falling = [float(used - expert) if expert < used else 0.0 for expert in range(experts)]
        weight = tuple(tokens * value / (sum(falling) or 1.0) for value in falling)
        return RoutingUpdate(
            "prompt" if phase == "prompt" else "answer",
            tokens,
            (chosen,) * self.info.layers,
            (weight,) * self.info.layers,
        )

    def _refuse_closed(self) -> None:
        if self.closed:
            raise EngineError("the engine is closed")
