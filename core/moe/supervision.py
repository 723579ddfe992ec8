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
from sparsedoctor.core.moe.queue import NO_LABEL, ExpertMemoryQueue, enqueue_together
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


class _Batch(NamedTuple):
    """Whose the keys of a micro-step are, in all processes; the same for every layer."""

    labels: Tensor  # [N]
    own: Tensor  # [M] where among them those of this process stand


_UNCOUNTED = NO_LABEL - 1
_AT_ONCE_BYTES = 128 * 2**20  # of the similarities of queries and keys


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
        assert len(records) == len(self.layers), "the last pass was watched in every layer"
        counted = counted.flatten()
        labels = labels.flatten() if labels is not None and settings.use_labels else None
        chosen = torch.stack([record.routing.experts for record in records])
        probabilities = torch.stack([record.routing.probabilities for record in records])
        layers, experts = len(records), probabilities.shape[-1]
        load = self.total(expert_load(chosen, counted, experts))  # [layers, E]
        counts = self._by_process(counted.sum())  # [processes]
        number = counts.sum()
        share = counted.float() * (self.processes / number.clamp(min=1))

        load = load / load.sum(dim=-1, keepdim=True).clamp_min(1.0)
        balance = balance_loss(load, probabilities, share)
        z = router_z_loss(torch.stack([record.routing.logits for record in records]), share)
        zero = share.new_zeros(())
        contrast = route = agreement = zero.expand(layers)
        if settings.contrastive:
            contrast, route, agreement = self._contrastive(records, counted, labels, counts)
        self.agreement = list(agreement.detach()) if settings.contrastive else []
        for layer in self.layers:
            layer.record = None  # the graph alone keeps what backward needs
        means = {
            "contrast": contrast.sum() / layers,
            "route": route.sum() / layers,
            "balance": balance.sum() / layers,
            "z": z.sum() / layers,
        }
        weights = {name: getattr(settings, f"{name}_weight") for name in means}
        total = sum((weights[name] * mean for name, mean in means.items() if weights[name]), zero)
        return Terms(total, **means, agreement=agreement.sum() / layers, tokens=number)

    def commit(self) -> None:
        """Let the keys of this optimiser step enter the queues. Call it once per step."""
        queues = [layer.queue for layer in self.layers if layer.queue is not None]
        assert len(queues) in (0, len(self.layers)), "all layers have a queue or none has"
        if self._pending and queues:
            # Micro-step by micro-step and within it by rank: the order of one process.
            steps = [_Pending(*map(self._gather, pending)) for pending in self._pending]
            keys, experts, labels = (torch.cat(parts) for parts in zip(*steps, strict=True))
            no_lane = queues[0].pointer.shape[0]
            experts = experts.masked_fill(labels[:, None] <= _UNCOUNTED, no_lane)
            enqueue_together(queues, keys, experts, labels)
        self._pending.clear()

    def discard(self) -> None:
        """Forget the keys of a step that is not taken."""
        self._pending.clear()

    def _contrastive(
        self, records: list[RoutingRecord], counted: Tensor, labels: Tensor | None, counts: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Contrast, route and agreement of every layer `[layers]`; new keys become pending.

        `counts [processes]` are the counted tokens of each process.
        """
        number, most = counts.sum(), self.settings.queries
        before = counts[: self._rank].sum()
        chosen, taken = spread(counted, most, before=before, number=number)
        share = taken.float() * (self.processes / number.clamp(min=1, max=most))  # [M]
        names = torch.full_like(chosen, NO_LABEL) if labels is None else labels[chosen]
        names = names.masked_fill(~taken, _UNCOUNTED)
        # By what every process knows: they compare with each other's keys, equally often.
        queue = self.layers[0].queue
        memory, batch = 0 if queue is None else queue.labels.numel(), None
        if queue is None or self.settings.batch_keys:
            memory, batch = memory + self.processes * most, self._batch(names)
        at_once = _layers_at_once(counted.device, len(records), 4 * most * memory)
        found = [
            self._compare(
                self.layers[begin : begin + at_once],
                records[begin : begin + at_once],
                chosen,
                None if labels is None else names,
                share,
                batch,
            )
            for begin in range(0, len(records), at_once)
        ]
        contrast, route, agreement, keys, lanes = (
            torch.cat(parts) for parts in zip(*found, strict=True)
        )
        self._pending.append(_Pending(keys.transpose(0, 1), lanes.t(), names))
        return contrast, route, agreement

    def _batch(self, labels: Tensor) -> _Batch:
        """Of the queries `labels [M]` of this process. The k-th key of it is that of the k-th."""
        ranks = self._gather(torch.full_like(labels, self._rank))
        before = (ranks < self._rank).sum()
        own = before + torch.arange(len(labels), device=labels.device)
        return _Batch(self._gather(labels), own)

    def _with_batch(
        self, memory: Memory | None, keys: Tensor, experts: Tensor, batch: _Batch
    ) -> Memory:
        """`memory` and behind it the keys `[layers, M, D]` of this micro-step in all processes."""
        labels = batch.labels.expand(len(keys), -1)
        keys, experts = (
            self._gather(one.transpose(0, 1)).transpose(0, 1) for one in (keys, experts)
        )
        fresh = Memory(keys, experts, labels, labels > _UNCOUNTED)
        if memory is None:
            return fresh
        return Memory(*(torch.cat(pair, dim=1) for pair in zip(memory, fresh, strict=True)))

    def _by_process(self, number: Tensor) -> Tensor:
        """This process's `number` beside those of the others. `[processes]`"""
        numbers = number.new_zeros(self.processes)
        numbers[self._rank] = number
        return self.total(numbers)

    def _compare(
        self,
        layers: Sequence[WatchedLayer],
        records: Sequence[RoutingRecord],
        chosen: Tensor,
        labels: Tensor | None,
        share: Tensor,
        batch: _Batch | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Contrast, route and agreement of some layers `[layers]`, their new keys
        `[layers, M, D]` and the experts of these `[layers, M]`. Where there is no memory, there is
        a `batch`."""
        projection = torch.stack([_projection(layer) for layer in layers]).float()
        # The most probable expert of each query and what its pairs made of the token.
        experts = torch.stack([record.routing.experts[chosen, 0] for record in records])
        low = torch.stack([record.low[chosen] for record in records])  # [layers, M, 2, E, r]
        own = low.take_along_dim(experts[..., None, None, None], dim=3).flatten(2)
        queries = F.normalize(own.float() @ projection.transpose(1, 2), dim=-1)  # [layers, M, D]
        keys = queries.detach()
        queues = [layer.queue for layer in layers if layer.queue is not None]
        memory, own_key, active = None, None, share.new_ones(len(layers))
        if queues:
            memory = _remembered(queues)
            ready = torch.stack([queue.ready_steps for queue in queues])
            active = activity(ready, self.settings)
        if batch is not None:
            own_key = batch.own + (0 if memory is None else memory.keys.shape[1])
            memory = self._with_batch(memory, keys, experts, batch)
        assert memory is not None, "there is a memory or a batch"
        logits = torch.stack([record.routing.logits[chosen] for record in records])
        found = compare(
            queries,
            experts,
            labels,
            memory,
            self.settings.temperature,
            logits.shape[-1],
            own_key,
            by_subject=self.settings.route_target == "subjects",
        )
        contrast = active * (share * found.positives * found.contrast).sum(dim=-1)
        route = active * (route_loss(found.lanes, logits) @ share)
        agreement = (found.nearest == experts).float() @ share
        return contrast, route, agreement, keys.to(torch.bfloat16), experts


def _remembered(queues: Sequence[ExpertMemoryQueue]) -> Memory:
    """What the queues of some layers hold, lane behind lane."""
    lanes = torch.arange(queues[0].keys.shape[0], device=queues[0].keys.device)
    return Memory(
        torch.stack([queue.keys for queue in queues]).flatten(1, 2).float(),
        lanes.repeat_interleave(queues[0].length).expand(len(queues), -1),
        torch.stack([queue.labels for queue in queues]).flatten(1),
        torch.stack([queue.filled() for queue in queues]).flatten(1),
    )


def activity(ready: Tensor, settings: SupervisionSettings) -> Tensor:
    """The part of their weight `[layers]` that contrast and route have in layers whose memory has
    been ready for `ready [layers]` steps."""
    if settings.batch_keys and not settings.warmup_steps:  # always something to compare with
        active = torch.ones_like(ready, dtype=torch.float32)
    else:
        active = (ready / max(settings.warmup_steps, 1)).clamp(max=1.0)
    if not settings.release_steps:
        return active
    left = (settings.release_steps - ready) / (settings.release_steps - settings.warmup_steps)
    return active.minimum(left.clamp(min=0.0))


def _projection(layer: WatchedLayer) -> Tensor:
    projection = layer.projection
    assert projection is not None, "a contrastive layer has a projection"
    if not hasattr(projection, "full_tensor"):
        return projection
    # FSDP leaves a part of it to every process outside the layer's own forward pass. Each
    # process has a gradient of the whole, and they are averaged as FSDP averages others.
    from torch.distributed.tensor import Partial

    whole: Tensor = projection.full_tensor(grad_placements=[Partial("avg")])
    return whole


def _layers_at_once(device: torch.device, layers: int, similarities: int) -> int:
    """How many layers are compared together, where one makes `similarities` bytes of them.

    One on a CPU, whose cache holds them; elsewhere starting kernels costs more, up to the
    memory that a few such tensors may take.
    """
    if device.type == "cpu":
        return 1
    return min(layers, max(1, _AT_ONCE_BYTES // max(similarities, 1)))
