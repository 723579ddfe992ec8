"""The expert memory queue: what each expert of a layer lately looked at.

One ring buffer of K keys for each expert. Its size is fixed before the first step, so the
contrast term sees thousands of past tokens while memory stays constant. The buffers are
registered: they move, save and resume with the model.
"""

from __future__ import annotations

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

    @torch.no_grad()
    def enqueue(self, keys: Tensor, experts: Tensor, labels: Tensor) -> None:
        """Append `keys [n, D]` to the lanes `experts [n]`, in order, overwriting the oldest.

        `labels [n]` are kept beside them. Call it once per optimiser step and never inside a
        region that gradient checkpointing runs twice.
        """
        lanes, length = self.pointer.shape[0], self.length
        arrivals = F.one_hot(experts, lanes)  # [n, E]
        totals = arrivals.sum(dim=0)  # [E]
        place = arrivals.cumsum(dim=0).gather(1, experts[:, None]).squeeze(1) - 1  # [n]
        kept = place >= (totals - length)[experts]  # the rest would be overwritten at once
        slot = (self.pointer[experts] + place) % length
        self.keys[experts[kept], slot[kept]] = keys[kept].to(self.keys.dtype)
        self.labels[experts[kept], slot[kept]] = labels[kept]
        self.pointer.copy_((self.pointer + totals) % length)
        self.count.copy_((self.count + totals).clamp(max=length))
        self.ready_steps += (self.count * 4 >= length).all()

    def filled(self) -> Tensor:
        """Which slots hold a key. `[E, K]` bool"""
        return torch.arange(self.length, device=self.count.device) < self.count[:, None]
