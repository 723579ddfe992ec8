"""The expert memory queue against the plainest thing that is first in, first out."""

from __future__ import annotations

import copy
from collections import deque

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sparsedoctor.core.moe.queue import ExpertMemoryQueue

SIZE = 8  # numbers in a key

Batches = list[list[int]]  # for each enqueue, the expert of each key
batches = st.lists(st.lists(st.integers(0, 2), max_size=23), max_size=12)


class Lanes:
    """One deque for each expert."""

    def __init__(self, experts: int, length: int) -> None:
        self.lanes = [deque[int](maxlen=length) for _ in range(experts)]

    def enqueue(self, numbers: list[int], experts: list[int]) -> None:
        for number, expert in zip(numbers, experts, strict=True):
            self.lanes[expert].append(number)


def _keys(numbers: list[int]) -> torch.Tensor:
    """A different unit vector for every number."""
    made = [torch.randn(SIZE, generator=torch.Generator().manual_seed(n)) for n in numbers]
    return F.normalize(torch.stack(made), dim=-1) if made else torch.zeros(0, SIZE)


def _held(queue: ExpertMemoryQueue, lane: int) -> list[int]:
    """The labels of a lane from the oldest to the newest key."""
    count, length = int(queue.count[lane]), queue.length
    first = (int(queue.pointer[lane]) - count) % length
    return [int(queue.labels[lane, (first + n) % length]) for n in range(count)]


def _fill(queue: ExpertMemoryQueue, plain: Lanes, given: Batches, start: int = 0) -> int:
    for experts in given:
        numbers = list(range(start, start + len(experts)))
        start += len(experts)
        queue.enqueue(
            _keys(numbers),
            torch.tensor(experts, dtype=torch.int64),
            torch.tensor(numbers, dtype=torch.int64),
        )
        plain.enqueue(numbers, experts)
    return start


@settings(max_examples=150, deadline=None)
@given(batches, st.integers(1, 9))
def test_every_lane_holds_its_last_keys_in_order(given_batches: Batches, length: int) -> None:
    queue, plain = ExpertMemoryQueue(3, length, SIZE), Lanes(3, length)
    _fill(queue, plain, given_batches)
    for lane in range(3):
        held = _held(queue, lane)
        assert held == list(plain.lanes[lane])
        for slot, label in enumerate(queue.labels[lane].tolist()):
            filled = bool(queue.filled()[lane, slot])
            assert filled == (label in held)
            expected = _keys([label])[0].bfloat16() if filled else torch.zeros(SIZE).bfloat16()
            assert torch.equal(queue.keys[lane, slot], expected)


@settings(max_examples=40, deadline=None)
@given(batches, st.integers(0, 12), st.integers(1, 7))
def test_a_saved_queue_goes_on_as_if_it_had_never_stopped(
    given_batches: Batches, cut: int, length: int
) -> None:
    whole, first = ExpertMemoryQueue(3, length, SIZE), ExpertMemoryQueue(3, length, SIZE)
    _fill(whole, Lanes(3, length), given_batches)
    number = _fill(first, Lanes(3, length), given_batches[:cut])
    resumed = ExpertMemoryQueue(3, length, SIZE)
    resumed.load_state_dict(copy.deepcopy(first.state_dict()))
    _fill(resumed, Lanes(3, length), given_batches[cut:], number)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_keys_carry_no_gradient_and_are_kept_apart_from_what_was_given() -> None:
    queue = ExpertMemoryQueue(2, 4, SIZE)
    keys = _keys([1, 2]).requires_grad_()
    queue.enqueue(keys, torch.tensor([0, 1]), torch.tensor([1, 2]))
    assert not queue.keys.requires_grad
    with torch.no_grad():
        keys.zero_()
    assert queue.keys[0, 0].abs().sum() > 0
