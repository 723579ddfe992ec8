"""The supervising terms against sums written out one query and one key at a time, and whom
their gradients reach."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from sparsedoctor.core.moe.losses import Memory, compare, route_loss
from sparsedoctor.core.moe.queue import NO_LABEL, ExpertMemoryQueue
from sparsedoctor.core.moe.router import Routing, route
from sparsedoctor.core.moe.settings import KEY_SIZE, SupervisionSettings
from sparsedoctor.core.moe.supervision import RoutingRecord, RoutingSupervisor


def _unit(generator: torch.Generator, *shape: int) -> Tensor:
    return F.normalize(torch.randn(shape, generator=generator, dtype=torch.float64), dim=-1)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    queries=st.integers(1, 6),
    keys=st.integers(1, 20),
    experts=st.integers(2, 5),
    temperature=st.sampled_from([0.07, 0.1, 1.0]),
    labelled=st.sampled_from(["some", "none", "not told"]),
    in_batch=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_contrast_and_route_equal_their_sums_written_out(
    queries: int,
    keys: int,
    experts: int,
    temperature: float,
    labelled: str,
    in_batch: bool,
    seed: int,
) -> None:
    """Values, and the gradient of the contrast; with keys that are a query itself and without."""
    generator = torch.Generator().manual_seed(seed)

    def whole(low: int, high: int, size: int) -> Tensor:
        return torch.randint(low, high, (size,), generator=generator)

    q, k = _unit(generator, queries, 5).requires_grad_(), _unit(generator, keys, 5)
    chosen, lanes = whole(0, experts, queries), whole(0, experts, keys)
    some = labelled == "some"
    labels = whole(NO_LABEL, 3, queries) if some else torch.full((queries,), NO_LABEL)
    key_labels = whole(NO_LABEL, 3, keys) if some else torch.full((keys,), NO_LABEL)
    filled = torch.rand(keys, generator=generator) > 0.3
    own = whole(0, keys, queries) if in_batch else None
    if some and own is not None:  # a query's own key has its label
        labels = key_labels[own]
    found = compare(
        q,
        chosen,
        None if labelled == "not told" else labels,
        Memory(k, lanes, key_labels, filled),
        temperature,
        experts,
        own,
    )
    logits = torch.randn(queries, experts, generator=generator)
    routed = route_loss(found.lanes, logits)
    written = torch.zeros((), dtype=q.dtype)
    for m in range(queries):
        there = [n for n in range(keys) if filled[n] and (own is None or n != int(own[m]))]
        similar = {n: q[m] @ k[n] / temperature for n in there}
        if int(labels[m]) >= 0:
            positive = [n for n in there if int(key_labels[n]) == int(labels[m])]
        else:
            positive = [n for n in there if int(lanes[n]) == int(chosen[m])]
        assert bool(found.positives[m]) == bool(positive)
        if positive:
            of_all, of_positives = (
                torch.stack([similar[n] for n in some_of]).logsumexp(0)
                for some_of in (there, positive)
            )
            written = written + (of_all - of_positives)
            expected = float(of_all - of_positives)
            assert float(found.contrast[m]) == pytest.approx(expected, rel=1e-3, abs=1e-4)
        if not there:
            continue
        means = []
        for e in range(experts):
            lane = [similar[n].exp().item() for n in there if int(lanes[n]) == e]
            means.append(sum(lane) / len(lane) if lane else 0.0)
        target = [mean / sum(means) for mean in means]
        assert found.lanes[m].tolist() == pytest.approx(target, rel=1e-3, abs=1e-6)
        router = logits[m].log_softmax(-1).tolist()
        kl = sum(t * (math.log(t) - r) for t, r in zip(target, router, strict=True) if t > 1e-12)
        assert float(routed[m]) == pytest.approx(kl, rel=1e-3, abs=1e-4)
        assert int(found.nearest[m]) == int(lanes[max(there, key=lambda n: similar[n].item())])
    if written.requires_grad:
        fast = (found.contrast * found.positives).sum()
        got, wanted = (torch.autograd.grad(loss, q)[0] for loss in (fast, written))
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4)


class _Layer:
    """What the supervisor needs to know of a layer, with its tensors at hand."""

    def __init__(self, queue: Any, projection: Tensor) -> None:
        self.watched, self.record = False, None
        self.queue, self.projection = queue, projection


def _terms(**weights: float) -> tuple[Tensor, Tensor, Tensor, Any, Any]:
    """One layer's terms after its queue was filled: (A, router, projection, terms, layer)."""
    torch.manual_seed(0)
    x = torch.randn(30, 12)
    a = torch.randn(2, 4, 3, 12, requires_grad=True)  # gate and up, E, r, hidden
    router = torch.randn(4, 12, requires_grad=True)
    projection = torch.randn(KEY_SIZE, 6, requires_grad=True)
    queue = ExpertMemoryQueue(4, 16, KEY_SIZE)
    keys = F.normalize(torch.randn(80, KEY_SIZE), dim=-1)
    lanes = torch.arange(80) % 4
    queue.enqueue(keys, lanes, torch.full((80,), NO_LABEL))
    layer = _Layer(queue, projection)
    off = {"balance_weight": 0.0, "contrast_weight": 0.0, "route_weight": 0.0}
    settings_ = SupervisionSettings(**(off | weights), queue_length=16, batch_keys=False)  # type: ignore[arg-type]
    supervisor = RoutingSupervisor([layer], settings_)
    low = torch.einsum("perh,th->tper", a, x)
    layer.record = RoutingRecord(route(x, router, 2), low)
    terms = supervisor.terms(torch.ones(1, 30, dtype=torch.bool))
    return a, router, projection, terms, (layer, supervisor)


def _reached(total: Tensor, *tensors: Tensor) -> list[bool]:
    if not total.requires_grad:
        return [False] * len(tensors)
    found = torch.autograd.grad(total, tensors, allow_unused=True)
    return [gradient is not None and bool(gradient.abs().max() > 0) for gradient in found]


def test_the_contrast_reaches_the_experts_and_only_when_switched_on() -> None:
    a, router, projection, terms, _ = _terms(contrast_weight=1.0)
    assert _reached(terms.total, a, projection, router) == [True, True, False]
    assert terms.contrast.item() > 0
    a, router, projection, terms, _ = _terms(balance_weight=1.0)  # the control
    assert _reached(terms.total, a, projection, router) == [False, False, True]


def test_the_route_term_reaches_the_router_and_only_when_switched_on() -> None:
    a, router, projection, terms, _ = _terms(route_weight=1.0)
    assert _reached(terms.total, router, a, projection) == [True, False, False]
    a, router, projection, terms, _ = _terms(contrast_weight=1.0)  # the control
    assert _reached(terms.total, router) == [False]


def test_with_every_term_off_nothing_is_added() -> None:
    a, router, projection, terms, (layer, supervisor) = _terms()
    assert float(terms.total) == 0
    assert _reached(terms.total, a, router, projection) == [False, False, False]
    before = layer.queue.state_dict()["pointer"].clone()
    supervisor.commit()
    assert torch.equal(layer.queue.pointer, before)


def test_the_contrast_waits_for_its_queues_and_then_warms_up() -> None:
    *_, full, (layer, supervisor) = _terms(contrast_weight=1.0)
    supervisor.settings = replace(supervisor.settings, warmup_steps=10)
    assert _shares(layer, supervisor, full) == pytest.approx([0, 0.1, 0.5, 1, 1, 1], abs=1e-5)


def test_keys_of_the_batch_stand_behind_the_memory_and_nobody_meets_itself() -> None:
    """Written out one query and one key at a time, with the memory full and empty."""
    *_, (layer, supervisor) = _terms(contrast_weight=1.0)
    supervisor.settings = replace(supervisor.settings, batch_keys=True)
    for filled in (True, False):
        if not filled:
            layer.queue.count.zero_()
            layer.queue.ready_steps.zero_()
        layer.record = record = _record()
        terms = supervisor.terms(torch.ones(1, 30, dtype=torch.bool))
        chosen = record.routing.experts[:, 0]
        own = record.low[torch.arange(30), :, chosen].flatten(1)
        q = F.normalize(own @ layer.projection.t(), dim=-1).double()
        keys = [(lane, key.double()) for lane in range(4) for key in layer.queue.keys[lane]]
        keys = keys if filled else []
        total = 0.0
        for m in range(30):
            others = [(int(chosen[n]), q[n]) for n in range(30) if n != m]
            similar = [(lane, math.exp(float(q[m] @ k) / 0.1)) for lane, k in keys + others]
            positive = sum(value for lane, value in similar if lane == int(chosen[m]))
            if positive:
                total -= math.log(positive / sum(value for _, value in similar))
        assert float(terms.contrast) == pytest.approx(total / 30, rel=1e-3)


def test_released_contrast_falls_evenly_to_nothing() -> None:
    *_, full, (layer, supervisor) = _terms(contrast_weight=1.0)
    supervisor.settings = replace(supervisor.settings, warmup_steps=10, release_steps=30)
    assert _shares(layer, supervisor, full) == pytest.approx([0, 0.1, 0.5, 1, 0.5, 0], abs=1e-5)


def _shares(layer: Any, supervisor: RoutingSupervisor, full: Any) -> list[float]:
    """Of the whole contrast term, so many steps after the memory was ready."""
    record, shares = _record(), []
    for steps in (0, 1, 5, 10, 20, 30):
        layer.queue.ready_steps.fill_(steps)
        layer.record = record
        terms = supervisor.terms(torch.ones(1, 30, dtype=torch.bool))
        shares.append(float(terms.contrast.detach() / full.contrast.detach()))
    return shares


def test_keys_of_several_micro_steps_enter_together_in_their_order() -> None:
    """The same tokens in one micro-step, and in two of an accumulated step."""
    queues = []
    for cuts in ([30], [13, 17]):
        *_, (layer, supervisor) = _terms(contrast_weight=1.0)
        supervisor.discard()
        whole, begin = _record(), 0
        before = layer.queue.pointer.clone()
        for size in cuts:
            part = slice(begin, begin + size)
            layer.record = RoutingRecord(
                Routing(*(v[part] for v in whole.routing)), whole.low[part]
            )
            supervisor.terms(torch.ones(1, size, dtype=torch.bool))
            assert torch.equal(layer.queue.pointer, before)  # nothing enters before the step
            begin += size
        supervisor.commit()
        supervisor.commit()  # a second time finds nothing left to enter
        queues.append(layer.queue.state_dict())
    for name, value in queues[0].items():
        assert torch.equal(queues[1][name], value), name


def _record() -> RoutingRecord:
    """The record that `_terms` makes, without gradients."""
    torch.manual_seed(0)
    x, a, router = torch.randn(30, 12), torch.randn(2, 4, 3, 12), torch.randn(4, 12)
    return RoutingRecord(route(x, router, 2), torch.einsum("perh,th->tper", a, x))
