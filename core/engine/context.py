"""What of a conversation goes into a context that is too small for it.

System messages (the instructions, the intake) and the last turn always stay. Old turns, each a
question with its answer, go whole and oldest first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from sparsedoctor.core.engine.protocol import EngineError, Message

_MIN_ANSWER = 64  # tokens an answer must have room for, where the context is that large
_STEPS = 4


@dataclass(frozen=True, slots=True)
class Fitted:
    """The messages that stay, and how many turns went."""

    messages: tuple[Message, ...]
    dropped_turns: int


def fit(
    messages: Sequence[Message],
    count: Callable[[Sequence[Message]], int],
    *,
    context: int,
    answer: int,
) -> Fitted:
    """Drop old turns until the prompt and an answer fit.

    `count` gives a prompt's length in tokens, `context` is in tokens; a quarter of it is kept free
    for an `answer` of that many tokens, less when the last turn alone needs the place. Turns go in
    steps of a quarter of the context, not one by one: the beginning of the prompt then stays the
    same for several turns, and the model need not read it again each time.

    Raises EngineError with both lengths when the last turn does not fit alone.
    """
    room = context - min(answer, context // 4)
    whole = count(messages)
    if whole <= room:
        return Fitted(tuple(messages), 0)
    turns = _turns(messages)
    system = [message for message in messages if message.role == "system"]
    least = count(_without(messages, turns[:-1]))
    most = context - min(answer, _MIN_ANSWER, context // 4)
    if least > most:
        raise EngineError(_too_long(least, count(system) if system else 0, most, context))
    if least > room:
        return Fitted(tuple(_without(messages, turns[:-1])), len(turns) - 1)
    step = max(1, room // _STEPS)
    wanted = -(-(whole - room) // step) * step
    gone = accumulate(count([messages[at] for at in turn]) for turn in turns[:-1])
    dropped = next((i + 1 for i, tokens in enumerate(gone) if tokens >= wanted), len(turns) - 1)
    while count(kept := _without(messages, turns[:dropped])) > room:
        dropped += 1  # a turn alone may count for more tokens than it does inside
    return Fitted(tuple(kept), dropped)


def _turns(messages: Sequence[Message]) -> list[list[int]]:
    """Questions with what follows them, as places in `messages`."""
    turns: list[list[int]] = [[]]
    for at, message in enumerate(messages):
        if message.role == "system":
            continue
        if message.role == "user" and turns[-1] and messages[turns[-1][-1]].role == "assistant":
            turns.append([])
        turns[-1].append(at)
    return turns


def _without(messages: Sequence[Message], turns: Sequence[Sequence[int]]) -> list[Message]:
    gone = {at for turn in turns for at in turn}
    return [message for at, message in enumerate(messages) if at not in gone]


def _too_long(least: int, system: int, most: int, context: int) -> str:
    return (
        f"the message is too long: with the instructions it has {least:,} tokens "
        f"({least - system:,} without them), and {most:,} fit into this model's context of "
        f"{context:,}; shorten it, or load the model with a larger context"
    )
