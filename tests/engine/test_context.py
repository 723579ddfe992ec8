"""What is left out of a long conversation, and what never is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsedoctor.core.engine.child import ChildEngine
from sparsedoctor.core.engine.context import fit
from sparsedoctor.core.engine.protocol import (
    EngineError,
    Finished,
    Message,
    Notice,
    Sampling,
    Started,
)


def words(messages: Sequence[Message]) -> int:
    return sum(len(message.content.split()) + 1 for message in messages)


def conversation(lengths: Sequence[int]) -> list[Message]:
    """An instruction, then questions and answers of these many words."""
    messages = [Message("system", "be kind")]
    for number, length in enumerate(lengths):
        messages.append(Message("user", f"q{number} " * length))
        messages.append(Message("assistant", f"a{number} " * length))
    return messages[:-1]


def test_what_fits_stays_whole() -> None:
    messages = conversation([3, 3])
    fitted = fit(messages, words, context=100, answer=20)
    assert (list(fitted.messages), fitted.dropped_turns) == (messages, 0)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(80, 400))
def test_instructions_and_last_question_stay_and_turns_go_whole_and_oldest_first(
    lengths: list[int], context: int
) -> None:
    messages = conversation(lengths)
    fitted = fit(messages, words, context=context, answer=50)
    kept = list(fitted.messages)
    assert kept[0] == messages[0]
    assert kept[-1] == messages[-1]
    assert kept[1:] == messages[1 + 2 * fitted.dropped_turns :]
    assert words(kept) <= context - 16


def test_turns_go_in_steps_so_that_the_beginning_stays_for_some_turns() -> None:
    """Otherwise the model would read everything anew in every turn."""
    dropped = [
        fit(conversation([10] * turns), words, context=300, answer=60).dropped_turns
        for turns in range(1, 60)
    ]
    changes = sum(a != b for a, b in pairwise(dropped))
    assert max(dropped) > 40
    assert changes < max(dropped) / 2
    assert dropped == sorted(dropped)


def test_the_same_message_object_twice_counts_twice() -> None:
    message = Message("user", "word " * 30)
    answer = Message("assistant", "word " * 30)
    fitted = fit([message, answer, message], words, context=90, answer=30)
    assert fitted.messages == (message,)


def test_a_message_that_is_too_long_is_refused_with_both_lengths() -> None:
    messages = [Message("system", "one two three"), Message("user", "word " * 5000)]
    with pytest.raises(EngineError, match=r"5,005 tokens \(5,001 without") as caught:
        fit(messages, words, context=512, answer=100)
    assert "512" in str(caught.value)


def test_the_engine_tells_what_was_left_out_and_answers(engine: ChildEngine) -> None:
    text = "The cough is worse at night and in the cold air. " * 12
    messages = [Message("system", "Be brief. Age: 44. Allergic to penicillin.")]
    for _ in range(12):
        messages += [Message("user", text), Message("assistant", text)]
    messages.append(Message("user", "What should I do?"))
    events = list(engine.generate(messages, Sampling(max_tokens=8, seed=1)))
    started = events[0]
    assert isinstance(started, Started)
    assert started.dropped_turns > 0
    assert started.prompt_tokens <= 1024 - 8
    assert any(isinstance(e, Notice) and str(started.dropped_turns) in e.message for e in events)
    assert isinstance(events[-1], Finished)
    kept = [messages[0], *messages[1 + 2 * started.dropped_turns :]]
    again = next(engine.generate(kept, Sampling(max_tokens=8, seed=1)))
    assert isinstance(again, Started)
    assert again.prompt_tokens == started.prompt_tokens
    assert again.dropped_turns == 0
    assert again.reused_tokens == started.prompt_tokens - 1
