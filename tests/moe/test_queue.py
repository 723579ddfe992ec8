"""The expert memory queue: first in, first out, in constant memory."""

from __future__ import annotations

from collections import deque

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedoctor.core.moe.queue import NO_LABEL, ExpertMemoryQueue, enqueue_together


def _key(number: int) -> torch.Tensor:
    return torch.tensor([float(number % 251), float(number // 251)])


def _lane(queue: ExpertMemoryQueue, expert: int) -> list[float]:
    """The labels of a lane from the oldest key to the newest."""
    count, pointer = int(queue.count[expert]), int(queue.pointer[expert])
    slots = [(pointer - count + i) % queue.length for i in range(count)]
    return [int(queue.labels[expert, slot]) for slot in slots]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), max_size=23), min_size=1, max_size=12))
def test_each_lane_holds_its_last_keys_in_order(batches: list[list[int]]) -> None:
    """Against a plain deque; batch sizes do not divide K = 7, and some exceed it."""
    queue = ExpertMemoryQueue(3, 7, 2)
    expected = [deque(maxlen=7) for _ in range(3)]
    number = 0
    for batch in batches:
        numbers = list(range(number, number + len(batch)))
        number += len(batch)
        keys = torch.stack([_key(n) for n in numbers]) if numbers else torch.zeros(0, 2)
        queue.enqueue(keys, torch.tensor(batch, dtype=torch.int64), torch.tensor(numbers).long())
        for n, expert in zip(numbers, batch, strict=True):
            expected[expert].append(n)
        for expert in range(3):
            assert _lane(queue, expert) == list(expected[expert])
            for slot, label in enumerate(queue.labels[expert].tolist()):
                if label != NO_LABEL:  # the key lies where its label lies
                    assert torch.equal(queue.keys[expert, slot].float(), _key(label))


def test_memory_stays_constant_and_in_place() -> None:
    queue = ExpertMemoryQueue(4, 16, 8)
    before = {name: (b.data_ptr(), b.shape, b.dtype) for name, b in queue.named_buffers()}
    size = queue.bytes
    assert size == 4 * 16 * (8 * 2 + 8) + 4 * 8 * 2 + 8
    for step in range(50):
        n = 1 + step % 37
        queue.enqueue(torch.randn(n, 8), torch.randint(4, (n,)), torch.full((n,), NO_LABEL))
        assert queue.bytes == size
    after = {name: (b.data_ptr(), b.shape, b.dtype) for name, b in queue.named_buffers()}
    assert before == after


def test_queues_of_several_layers_are_filled_together_and_keys_of_no_lane_left_out() -> None:
    together = [ExpertMemoryQueue(3, 5, 4) for _ in range(2)]
    alone = [ExpertMemoryQueue(3, 5, 4) for _ in range(2)]
    for step in range(9):
        keys, labels = torch.randn(4 * step, 2, 4), torch.arange(4 * step)
        experts = torch.randint(4, (4 * step, 2))  # 3 is no lane
        enqueue_together(together, keys, experts, labels)
        for layer, queue in enumerate(alone):
            enters = experts[:, layer] < 3
            queue.enqueue(keys[enters, layer], experts[enters, layer], labels[enters])
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_contrast_starts_when_every_lane_holds_a_quarter() -> None:
    queue = ExpertMemoryQueue(2, 8, 2)

    def add(expert: int, number: int) -> int:
        experts = torch.full((number,), expert)
        queue.enqueue(torch.ones(number, 2), experts, torch.full((number,), NO_LABEL))
        return int(queue.ready_steps)

    assert add(0, 8) == 0  # the other lane is empty
    assert add(1, 1) == 0
    assert add(1, 1) == 1  # 2 of 8
    assert add(0, 3) == 2


def test_the_queue_is_part_of_the_state() -> None:
    first, second = ExpertMemoryQueue(2, 5, 3), ExpertMemoryQueue(2, 5, 3)
    first.enqueue(torch.randn(6, 3), torch.tensor([0, 1, 1, 0, 0, 0]), torch.arange(6))
    second.load_state_dict(first.state_dict())
    for (name, a), (_, b) in zip(first.named_buffers(), second.named_buffers(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("count", [0, 3, 8])
def test_only_filled_slots_count(count: int) -> None:
    queue = ExpertMemoryQueue(2, 8, 2)
    if count:
        labels = torch.full((count,), NO_LABEL)
        queue.enqueue(torch.ones(count, 2), torch.zeros(count, dtype=torch.int64), labels)
    assert queue.filled().sum(dim=1).tolist() == [count, 0]
