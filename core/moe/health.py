"""How well a router does: what training logs and reports draw."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsedoctor.core.moe.losses import expert_load
from sparsedoctor.core.moe.supervision import RoutingSupervisor

DEAD = 0.05  # of an even share: an expert below it is called dead


@dataclass(frozen=True, slots=True)
class LayerHealth:
    """One layer, over the answer tokens of one micro-step of all processes."""

    load: tuple[float, ...]  # [E] part of all choices
    entropy: float  # of the mean probability, 1 = even
    balance: float  # 1 = even, E/k = collapsed
    margin: float  # mean of (best - second) probability
    dead: int  # experts with less than 5 % of an even share
    queue_fill: tuple[float, ...]  # [E] part of each lane that is full
    contrast_accuracy: float | None = None  # queries whose nearest key is of their own expert


@torch.no_grad()
def layer_health(supervisor: RoutingSupervisor, counted: Tensor) -> list[LayerHealth]:
    """Health of every layer in the last watched pass; `counted [batch, tokens]` bool.

    Every process has to call it. Waits for the device: call it every so many steps, not in each.
    """
    counted = counted.flatten()
    share = counted.float() / supervisor.total(counted.sum()).clamp(min=1)
    healths = []
    for layer, record in zip(supervisor.layers, supervisor.records(), strict=True):
        probabilities = record.routing.probabilities
        experts = probabilities.shape[-1]
        best = probabilities.topk(2, dim=-1).values
        parts = (
            expert_load(record.routing.experts, counted, experts),
            share @ probabilities,
            share[None] @ (best[:, 0] - best[:, 1]),
        )
        together = supervisor.total(torch.cat(parts))
        load, mean, margin = together[:experts], together[experts:-1], together[-1]
        load = load / load.sum().clamp(min=1)
        entropy = -(mean * mean.clamp_min(1e-30).log()).sum() / torch.tensor(float(experts)).log()
        queue = layer.queue
        fill = queue.count / queue.length if queue is not None else torch.zeros(0)
        healths.append(
            LayerHealth(
                load=_rounded(load),
                entropy=round(float(entropy), 4),
                balance=round(float(experts * (load @ mean)), 4),
                margin=round(float(margin), 4),
                dead=int((load * experts < DEAD).sum()),
                queue_fill=_rounded(fill),
            )
        )
    return healths


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)
