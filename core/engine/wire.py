"""Events and settings as messages on the channel, and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsedoctor.core.engine.protocol import (
    Event,
    Finished,
    Message,
    Notice,
    RoutingUpdate,
    Sampling,
    Started,
    Statistics,
    TextDelta,
)

_KINDS: dict[str, type[Event]] = {
    kind.__name__: kind for kind in (Started, TextDelta, RoutingUpdate, Notice, Finished)
}


def pack_event(event: Event) -> tuple[dict[str, Any], bytes]:
    """An event as message and bytes; a routing table goes as raw numbers."""
    kind = type(event).__name__
    if isinstance(event, RoutingUpdate):
        chosen = np.asarray(event.chosen, dtype="<i8")
        weight = np.asarray(event.weight, dtype="<f8")
        head = {"event": kind, "phase": event.phase, "tokens": event.tokens}
        return {**head, "shape": chosen.shape}, chosen.tobytes() + weight.tobytes()
    return {"event": kind, **asdict(event)}, b""


def unpack_event(message: dict[str, Any], data: bytes) -> Event:
    """The inverse of `pack_event`. Raises KeyError, TypeError or ValueError for anything else."""
    fields = dict(message)
    kind = _KINDS[fields.pop("event")]
    if kind is RoutingUpdate:
        layers, experts = fields.pop("shape")
        numbers = layers * experts
        chosen = np.frombuffer(data, "<i8", numbers).reshape(layers, experts)
        weight = np.frombuffer(data, "<f8", numbers, numbers * 8).reshape(layers, experts)
        return RoutingUpdate(**fields, chosen=_rows(chosen), weight=_rows(weight))
    if kind is Finished:
        fields["statistics"] = Statistics(**fields["statistics"])
        fields["sampling"] = Sampling(**fields["sampling"])
    return kind(**fields)


def pack_messages(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def unpack_messages(packed: list[dict[str, Any]]) -> tuple[Message, ...]:
    return tuple(Message(**message) for message in packed)


def _rows(table: NDArray[Any]) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(row) for row in table.tolist())
