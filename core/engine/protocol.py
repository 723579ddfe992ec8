"""The protocol between a consultation and a language model.

    new ──load()──▶ ready ──generate()──▶ busy ──Finished──▶ ready ──close()──▶ closed
                                            │ cancel()   ▲
                                            └────────────┘

One generation at a time. `generate` returns a stream of events; exactly one `Finished` ends
it, also after `cancel`. Any thread may call `cancel` and `close`; everything else belongs to one
thread at a time (a second `generate` is refused while one runs). Implementations:
`child.ChildEngine` (llama.cpp in a child process), `server.ServerEngine` (an OpenAI-compatible
server) and `scripted.ScriptedEngine` (a double for interface tests).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sparsedoctor.core.bundle import RoutingMetadata
from sparsedoctor.core.errors import SparseDoctorError


class EngineError(SparseDoctorError):
    """The engine could not do what was asked; the text says why in plain words."""


class EngineDied(EngineError):
    """The engine process ended by itself. The next call starts a new one."""


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How a model is loaded. None means: chosen from the model and the machine."""

    context: int | None = None  # tokens
    threads: int | None = None  # None: physical cores - 1, fewer while other programs use them
    batch: int = 256  # tokens decoded at once while the prompt is read
    gpu_layers: int = 0
    trace: bool = True  # follow the routing of mixture-of-experts models
    exact: bool = False  # float32 keys and values: slower, for comparing models

    def __post_init__(self) -> None:
        _within("context", self.context, 16, 1 << 24)
        _within("threads", self.threads, 1, 1024)
        _within("batch", self.batch, 1, 4096)
        _within("gpu_layers", self.gpu_layers, -1, 1 << 16)  # -1: all


@dataclass(frozen=True, slots=True)
class Sampling:
    temperature: float = 0.3
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.1
    max_tokens: int = 512
    seed: int | None = None  # None: a fresh one every time, told in `Started`

    def __post_init__(self) -> None:
        _within("temperature", self.temperature, 0.0, 10.0)
        _within("top_p", self.top_p, 0.0, 1.0)
        _within("min_p", self.min_p, 0.0, 1.0)
        _within("repeat_penalty", self.repeat_penalty, 0.1, 10.0)
        _within("max_tokens", self.max_tokens, 1, 1 << 20)
        _within("seed", self.seed, 0, (1 << 32) - 1)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a loaded model is. `bundle` is None for a GGUF that SparseDoctor did not write."""

    path: Path
    name: str
    architecture: str
    size: int  # bytes
    layers: int
    experts: int  # 0 for a dense model
    experts_used: int  # per token
    context: int  # tokens, as loaded
    context_trained: int  # tokens
    vocabulary: int
    routing_traced: bool
    bundle: RoutingMetadata | None
    template: str = ""  # name of the prompt template in use, one of engine.templates
    server: str = ""  # address of the server that answers; "" for a file of this computer


@dataclass(frozen=True, slots=True)
class Started:
    """The prompt is accepted."""

    prompt_tokens: int
    reused_tokens: int  # taken from the previous turn's memory
    dropped_turns: int  # old turns left out because the context is full
    seed: int


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True)
class RoutingUpdate:
    """Which experts were chosen so far, summed over the tokens of one phase.

    Cumulative: each update replaces the last of the same phase. Taken from llama.cpp's own
    routing of this very text.
    """

    phase: Literal["prompt", "answer"]
    tokens: int
    chosen: tuple[tuple[int, ...], ...]  # [layers][experts] times chosen
    weight: tuple[tuple[float, ...], ...]  # [layers][experts] summed gate weight

    def shares(self) -> tuple[float, ...]:
        """Gate weight per expert over all layers, adding up to 1. `[experts]`"""
        totals = [sum(column) for column in zip(*self.weight, strict=True)]
        whole = sum(totals) or 1.0
        return tuple(total / whole for total in totals)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person should know that is no error ("two old turns were left out")."""

    message: str


@dataclass(frozen=True, slots=True)
class Statistics:
    prompt_tokens: int
    reused_tokens: int
    answer_tokens: int
    first_token_seconds: float
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Of the answer, counted after its first token."""
        rest = self.seconds - self.first_token_seconds
        return (self.answer_tokens - 1) / rest if self.answer_tokens > 1 and rest > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Finished:
    reason: Literal["stop", "length", "cancelled"]
    text: str  # the whole answer
    statistics: Statistics
    sampling: Sampling  # with the seed that was used


Event = Started | TextDelta | RoutingUpdate | Notice | Finished


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the model computes for given tokens, for verification and measurement."""

    logits: NDArray[np.float32]  # [tokens, vocabulary]
    experts: NDArray[np.int32] | None  # [tokens, layers, experts used]; None when not traced
    weights: NDArray[np.float32] | None  # the same shape


class Engine(Protocol):
    """See the module's text for the states. Every method may raise EngineError."""

    def load(self) -> ModelInfo:
        """Load the model; calling it again returns the same information."""
        ...

    def generate(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> Generator[Event, None, None]:
        """Answer the last message. Closing the stream early cancels."""
        ...

    def score(self, messages: Sequence[Message], continuations: Sequence[str]) -> list[list[float]]:
        """Log-probabilities of each continuation's tokens after the prompt, natural logarithm."""
        ...

    def tokenize(self, text: str, *, control: bool = False) -> list[int]:
        """Token ids of `text`; with `control`, control tokens written in it become such."""
        ...

    def evaluate(self, tokens: Sequence[int]) -> Evaluation:
        """Logits and routing at every position of `tokens`."""
        ...

    def statistics(self) -> Statistics | None:
        """Of the last answer that ended; None before the first."""
        ...

    def cancel(self) -> None:
        """End the running generation soon; harmless when none runs."""
        ...

    def close(self) -> None:
        """End the engine and free its memory; may be called twice."""
        ...


def _within(name: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:  # refuses NaN as well
        raise EngineError(f"{name} is {value}; it must lie between {least} and {most}")
