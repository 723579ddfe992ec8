"""From what the layers did in a forward pass to the losses that supervise their routing.

    with supervisor.watching():           # the layers keep their routing of this pass
        output = model(...)
    terms = supervisor.terms(counted)     # contrast, route, balance, z: one number each
    (loss + terms.total).backward()
    ...
    supervisor.commit()                   # once per optimiser step: keys enter the queues

Everything is computed outside the layers. Gradient checkpointing may run a layer twice without
being watched twice, and keys of several micro-steps enter together, so that the queues do not
depend on how a step is cut into micro-steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from sparsedoctor.core.moe.losses import (
    Memory,
    balance_loss,
    compare,
    expert_load,
    route_loss,
    router_z_loss,
    spread,
)
from sparsedoctor.core.moe.queue import NO_LABEL, ExpertMemoryQueue
from sparsedoctor.core.moe.router import Routing
from sparsedoctor.core.moe.settings import SupervisionSettings


class RoutingRecord(NamedTuple):
    """What a layer did with the tokens of one forward pass."""

    routing: Routing
    low: Tensor  # [tokens, 2, E, r] A_gate x and A_up x of every expert


class WatchedLayer(Protocol):
    """A LoRA-MoE layer, as far as supervision needs to know it."""

    watched: bool
    record: RoutingRecord | None

    @property
    def projection(self) -> Tensor | None: ...

    @property
    def queue(self) -> ExpertMemoryQueue | None: ...


class Terms(NamedTuple):
    """The unweighted terms, averaged over layers, and their weighted sum (scalars)."""

    total: Tensor
    contrast: Tensor
    route: Tensor
    balance: Tensor
    z: Tensor
    agreement: Tensor  # part of queries whose nearest key is of their own expert
    tokens: Tensor  # counted tokens of all processes, over which the terms are means


class _Pending(NamedTuple):
    """The keys of one micro-step, of all layers."""

    keys: Tensor  # [M, layers, D]
    experts: Tensor  # [M, layers]
    labels: Tensor  # [M], below NO_LABEL for a token that does not count


_UNCOUNTED = NO_LABEL - 1


class RoutingSupervisor:
    """Supervises the routing of all layers of a model in training.

    `total` adds a tensor up over processes and `gather` concatenates one over them in rank
    order; `processes` is their number and `rank` this one's place. With the defaults there is one
    process. The terms of one process are its part times `processes`, so that the mean over
    processes, which is what is trained on, is the term of one process with all rows.
    """

    def __init__(
        self,
        layers: Sequence[WatchedLayer],
        settings: SupervisionSettings,
        *,
        processes: int = 1,
        rank: int = 0,
        total: Callable[[Tensor], Tensor] = lambda tensor: tensor,
        gather: Callable[[Tensor], Tensor] = lambda tensor: tensor,
    ) -> None:
        self.layers = list(layers)
        self.settings = settings
        self.processes = processes
        self.total = total
        self._rank = rank
        self._gather = gather
        self._pending: list[_Pending] = []  # of every micro-step since the last commit
        self.agreement: list[Tensor] = []  # of each layer in the last pass; empty: no contrast

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Let the layers keep a record of the forward pass made inside."""
        for layer in self.layers:
            layer.watched, layer.record = True, None
        try:
            yield
        finally:
            for layer in self.layers:
                layer.watched = False

    def records(self) -> list[RoutingRecord]:
        """The records of the last watched pass, layer by layer."""
        records = [layer.record for layer in self.layers]
        return [record for record in records if record is not None]

    def terms(self, counted: Tensor, labels: Tensor | None = None) -> Terms:
        """The supervision of the last watched pass.

        `counted [batch, tokens]` bool: tokens of answers. `labels [batch, tokens]` int64: a
        class of each token (department, exam class), NO_LABEL where there is none.
        """
        settings, records = self.settings, self.records()
        counted = counted.flatten()
        if labels is None or not settings.use_labels:
            labels = torch.full_like(counted, NO_LABEL, dtype=torch.int64)
        labels = labels.flatten()
        experts = records[0].routing.logits.shape[-1]
        loads = torch.stack([expert_load(r.routing.experts, counted, experts) for r in records])
        loads = self.total(loads)  # [layers, E]
        counts = self._by_process(counted.sum())  # [processes]
        number = counts.sum()
        share = counted.float() * (self.processes / number.clamp(min=1))

        balance = [
            balance_loss(load / load.sum().clamp_min(1.0), record.routing.probabilities, share)
            for load, record in zip(loads, records, strict=True)
        ]
        z = [router_z_loss(record.routing.logits, share) for record in records]
        zero = share.new_zeros(())
        contrast, route, agreement = [zero], [zero], [zero]
        if settings.contrastive:
            contrast, route, agreement = self._contrastive(records, counted, labels, counts)
        self.agreement = [value.detach() for value in agreement if settings.contrastive]
        for layer in self.layers:
            layer.record = None  # the graph alone keeps what backward needs
        layers = len(records)
        means = {
            "contrast": torch.stack(contrast).sum() / layers,
            "route": torch.stack(route).sum() / layers,
            "balance": torch.stack(balance).sum() / layers,
            "z": torch.stack(z).sum() / layers,
        }
        weights = {name: getattr(settings, f"{name}_weight") for name in means}
        total = sum((weights[name] * mean for name, mean in means.items() if weights[name]), zero)
        return Terms(total, **means, agreement=torch.stack(agreement).sum() / layers, tokens=number)

    def commit(self) -> None:
        """Let the keys of this optimiser step enter the queues. Call it once per step."""
        if self._pending and self.layers[0].queue is not None:
            # Micro-step by micro-step and within it by rank: the order of one process.
            steps = [_Pending(*map(self._gather, pending)) for pending in self._pending]
            keys, experts, labels = (torch.cat(parts) for parts in zip(*steps, strict=True))
            counted = labels > _UNCOUNTED
            keys, experts, labels = keys[counted], experts[counted], labels[counted]
            for number, layer in enumerate(self.layers):
                assert layer.queue is not None, "all layers have a queue or none has"
                layer.queue.enqueue(keys[:, number], experts[:, number], labels)
        self._pending.clear()

    def discard(self) -> None:
        """Forget the keys of a step that is not taken."""
        self._pending.clear()

    def _contrastive(
        self, records: list[RoutingRecord], counted: Tensor, labels: Tensor, counts: Tensor
    ) -> list[list[Tensor]]:
        """Contrast, route and agreement of every layer; the new keys become pending.

        `counts [processes]` are the counted tokens of each process.
        """
        number, most = counts.sum(), self.settings.queries
        before = counts[: self._rank].sum()
        chosen, taken = spread(counted, most, before=before, number=number)
        share = taken.float() * (self.processes / number.clamp(min=1, max=most))  # [M]
        names = labels[chosen].masked_fill(~taken, _UNCOUNTED)
        found = [
            self._compare(layer, record, chosen, names, share)
            for layer, record in zip(self.layers, records, strict=True)
        ]
        *terms, keys, lanes = zip(*found, strict=True)
        self._pending.append(_Pending(torch.stack(keys, 1), torch.stack(lanes, 1), names))
        return [list(parts) for parts in terms]

    def _by_process(self, number: Tensor) -> Tensor:
        """This process's `number` beside those of the others. `[processes]`"""
        numbers = number.new_zeros(self.processes)
        numbers[self._rank] = number
        return self.total(numbers)

    def _compare(
        self,
        layer: WatchedLayer,
        record: RoutingRecord,
        chosen: Tensor,
        labels: Tensor,
        share: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Contrast, route and agreement of one layer, its new keys `[M, D]` and their experts."""
        assert layer.projection is not None, "a contrastive layer has a projection"
        experts = record.routing.experts[chosen, 0]  # [M] the most probable one
        low = record.low[chosen]  # [M, 2, E, r]
        own = low.take_along_dim(experts[:, None, None, None], dim=2).flatten(1)  # [M, 2r]
        queries = F.normalize(F.linear(own.float(), layer.projection.float()), dim=-1)  # [M, D]
        keys = queries.detach()
        exclude, active = None, share.new_ones(())
        if layer.queue is None:
            counted = labels > _UNCOUNTED
            memory = Memory(keys, experts, labels, counted)
            exclude = torch.eye(len(keys), dtype=torch.bool, device=keys.device)
        else:
            queue = layer.queue
            lanes = torch.arange(queue.keys.shape[0], device=keys.device)
            memory = Memory(
                queue.keys.flatten(0, 1),
                lanes.repeat_interleave(queue.length),
                queue.labels.flatten(),
                queue.filled().flatten(),
            )
            active = (queue.ready_steps / max(self.settings.warmup_steps, 1)).clamp(max=1.0)
        logits = record.routing.logits[chosen]  # [M, E]
        found = compare(
            queries, experts, labels, memory, self.settings.temperature, logits.shape[-1], exclude
        )
        contrast = active * (share * found.positives) @ found.contrast
        route = active * share @ route_loss(found.lanes, logits)
        agreement = share @ (found.nearest == experts).float()
        return contrast, route, agreement, keys.to(torch.bfloat16), experts
