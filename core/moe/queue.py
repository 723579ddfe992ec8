"""The expert memory queue: what each expert of a layer lately looked at.

One ring buffer of K keys for each expert. Its size is fixed before the first step, so the
contrast term sees thousands of past tokens while memory stays constant. The buffers are
registered: they move, save and resume with the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NO_LABEL = -1


class ExpertMemoryQueue(nn.Module):
    """Ring buffers of detached unit-length keys, one lane per expert, first in first out."""

    keys: Tensor  # [E, K, D] bfloat16
    labels: Tensor  # [E, K] int64, NO_LABEL where the data had none
    pointer: Tensor  # [E] int64, the slot each lane writes next
    count: Tensor  # [E] int64, keys each lane holds
    ready_steps: Tensor  # [] int64, enqueues since every lane first held K/4 keys

    def __init__(self, experts: int, length: int, key_size: int) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(experts, length, key_size, dtype=torch.bfloat16))
        self.register_buffer("labels", torch.full((experts, length), NO_LABEL))
        self.register_buffer("pointer", torch.zeros(experts, dtype=torch.int64))
        self.register_buffer("count", torch.zeros(experts, dtype=torch.int64))
        self.register_buffer("ready_steps", torch.zeros((), dtype=torch.int64))

    @property
    def length(self) -> int:
        """K, keys of one lane."""
        return self.keys.shape[1]

    @property
    def bytes(self) -> int:
        """Bytes of all buffers; the same from the first step to the last."""
        return sum(buffer.numel() * buffer.element_size() for buffer in self.buffers())

    def enqueue(self, keys: Tensor, experts: Tensor, labels: Tensor) -> None:
        """Append `keys [n, D]` to the lanes `experts [n]`, in order, overwriting the oldest.

        `labels [n]` are kept beside them. Call it once per optimiser step and never inside a
        region that gradient checkpointing runs twice.
        """
        enqueue_together([self], keys[:, None], experts[:, None], labels)

    def filled(self) -> Tensor:
        """Which slots hold a key. `[E, K]` bool"""
        return torch.arange(self.length, device=self.count.device) < self.count[:, None]


@torch.no_grad()
def enqueue_together(
    queues: Sequence[ExpertMemoryQueue], keys: Tensor, experts: Tensor, labels: Tensor
) -> None:
    """`ExpertMemoryQueue.enqueue` for the queues of several layers, of one shape, at once.

    `keys [n, layers, D]`, `experts [n, layers]`, `labels [n]`. A key whose expert is E, one more
    than the last lane, enters none. Every shape is known beforehand and nothing waits for the
    device: each slot looks up which arrival it holds afterwards.
    """
    pointer = torch.stack([queue.pointer for queue in queues])  # [layers, E]
    count = torch.stack([queue.count for queue in queues])
    lanes, length = pointer.shape[1], queues[0].length
    totals = F.one_hot(experts, lanes + 1).sum(dim=0)[:, :lanes]  # [layers, E]
    if len(keys):
        order = experts.t().argsort(dim=1, stable=True)  # lane by lane, in order of arrival
        begins = totals.cumsum(dim=1) - totals  # where each lane's arrivals begin in it
        newest = (totals - 1)[..., None]
        slots = torch.arange(length, device=pointer.device)
        place = newest - (pointer[..., None] + newest - slots) % length  # [layers, E, K]
        source = order.gather(1, (begins[..., None] + place).clamp(min=0).flatten(1))
        layers = torch.arange(len(queues), device=source.device)[:, None]
        arrived = keys[source, layers].to(queues[0].keys.dtype)  # [layers, E * K, D]
        for number, queue in enumerate(queues):
            arrives = place[number] >= 0
            fresh = arrived[number].view_as(queue.keys)
            named = labels[source[number]].view_as(queue.labels)
            queue.keys.copy_(torch.where(arrives[..., None], fresh, queue.keys))
            queue.labels.copy_(torch.where(arrives, named, queue.labels))
    pointer, count = (pointer + totals) % length, (count + totals).clamp(max=length)
    ready = (count * 4 >= length).all(dim=1)
    for number, queue in enumerate(queues):
        queue.pointer.copy_(pointer[number])
        queue.count.copy_(count[number])
        queue.ready_steps += ready[number]
