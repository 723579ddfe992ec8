"""What every kind of model can do here: score continuations, write an answer, name itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sparsedoctor.core.engine.protocol import Message
from sparsedoctor.train.evaluate.prompts import render
from sparsedoctor.train.evaluate.scoring import Request


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What a result says about its model."""

    name: str
    kind: str  # "transformers", "adapter", "peft", "gguf" or "server"
    sha256: str  # of the file, or of base and adapter together; "" for a server
    template: str  # name of the prompt template
    base: str = ""  # of an adapter
    versions: dict[str, str] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)


class Backend(Protocol):
    """Requests are answered in any order; each answer names its request by its place."""

    record: ModelRecord

    def prompt(self, messages: Sequence[Message]) -> str:
        """The text that the model reads, control tokens written out."""
        ...

    def score(self, requests: Sequence[Request]) -> Iterator[tuple[int, list[list[float]]]]:
        """Token log-probabilities (natural) of each continuation. `[continuation][token]`"""
        ...

    def generate(
        self, requests: Sequence[Request], max_tokens: int, seed: int
    ) -> Iterator[tuple[int, str]]:
        """What the model writes, greedily, at most `max_tokens` tokens."""
        ...

    def close(self) -> None: ...


class Prompting:
    """The shared half of every backend: prompts come from its record's template."""

    record: ModelRecord

    def prompt(self, messages: Sequence[Message]) -> str:
        return render(messages, self.record.template)
