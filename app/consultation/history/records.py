"""What the history holds: conversations, their messages, and places where words were found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Role = Literal["user", "assistant"]
Status = Literal["streaming", "done", "cancelled", "error"]
EndStatus = Literal["done", "cancelled", "error"]

INTERRUPTED = "interrupted"  # the error of an answer whose program ended while it grew


@dataclass(frozen=True, slots=True)
class Conversation:
    """One line of the list. Times are UTC, ISO 8601; `parent` is where it was branched from."""

    id: str
    title: str
    created: str
    updated: str
    pinned: bool
    parent: str | None
    branched_at: str | None  # the message of `parent` that was the last one taken along
    language: str
    model: str
    model_sha256: str
    intake: Mapping[str, object]
    messages: int


@dataclass(frozen=True, slots=True)
class Message:
    """What a person said or the model answered.

    `generation` holds what made an answer (seed, sampling, model hash, version), `routing` the
    experts' shares (adding up to 1), `assessment` what the rules found. All of it may be empty.
    """

    id: str
    conversation: str
    role: Role
    text: str
    created: str
    status: Status
    error: str
    generation: Mapping[str, object]
    routing: tuple[float, ...]
    assessment: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Match:
    """A message that holds the words searched for; `excerpt` is at most some 80 characters."""

    conversation: str
    title: str
    message: str
    role: Role
    created: str
    excerpt: str
