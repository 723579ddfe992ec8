"""The terms that supervise the routing, on inputs whose value is known."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
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


@pytest.mark.parametrize(("experts", "top_k"), [(4, 2), (8, 2), (8, 3), (5, 5)])
def test_balance_is_one_when_even_and_e_over_k_when_collapsed(experts: int, top_k: int) -> None:
    tokens = experts * 6
    share = torch.full((tokens,), 1 / tokens)
    even = torch.stack([(torch.arange(top_k) + t) % experts for t in range(tokens)])
    load = expert_load(even, torch.ones(tokens), experts)
    uniform = torch.full((tokens, experts), 1 / experts)
    assert balance_loss(load / load.sum(), uniform, share) == pytest.approx(1.0, abs=1e-6)

    few = torch.arange(top_k).expand(tokens, top_k)
    load = expert_load(few, torch.ones(tokens), experts)
    sure = torch.zeros(tokens, experts)
    sure[:, :top_k] = 1 / top_k
    collapsed = balance_loss(load / load.sum(), sure, share)
    assert collapsed == pytest.approx(experts / top_k, rel=1e-5)


def test_two_layers_collapsed_on_opposite_halves_are_both_seen() -> None:
    """Pooled over layers they would look balanced."""
    share = torch.full((10,), 0.1)
    for first in (0, 2):
        chosen = torch.tensor([first, first + 1]).expand(10, 2)
        sure = torch.zeros(10, 4)
        sure[:, first : first + 2] = 0.5
        load = expert_load(chosen, torch.ones(10), 4)
        assert balance_loss(load / load.sum(), sure, share) == pytest.approx(2.0)


def test_uncounted_tokens_are_in_no_load() -> None:
    chosen = torch.tensor([[0, 1], [2, 3], [0, 2]])
    assert expert_load(chosen, torch.tensor([1, 0, 1]), 4).tolist() == [2, 1, 1, 0]


def test_z_loss_is_the_mean_squared_log_sum_exp() -> None:
    logits = torch.zeros(6, 4)
    share = torch.tensor([0.5, 0.5, 0, 0, 0, 0])
    logits[2:] = 100  # padding
    assert router_z_loss(logits, share) == pytest.approx(math.log(4) ** 2, rel=1e-5)


def _memory(keys: torch.Tensor, experts: list[int], labels: list[int], filled: list[int]) -> Memory:
    filled_mask = torch.tensor(filled).bool()
    return Memory(
        F.normalize(keys, dim=-1), torch.tensor(experts), torch.tensor(labels), filled_mask
    )


def test_contrast_equals_info_nce_written_out() -> None:
    torch.manual_seed(0)
    keys, queries = torch.randn(6, 5), F.normalize(torch.randn(3, 5), dim=-1)
    memory = _memory(keys, [0, 0, 1, 1, 2, 2], [7, -1, 7, 8, -1, 8], [1, 1, 1, 1, 1, 0])
    chosen, labels = torch.tensor([1, 0, 2]), torch.tensor([-1, 7, 9])
    found = compare(queries, chosen, labels, memory, 0.1, 3)
    for m in range(3):
        similar = [math.exp(float(queries[m] @ memory.keys[n]) / 0.1) for n in range(5)]
        positive = {0: [2, 3], 1: [0, 2], 2: []}[m]  # by lane, by label, a label nobody has
        assert bool(found.positives[m]) == bool(positive)
        if positive:
            expected = -math.log(sum(similar[n] for n in positive) / sum(similar))
            assert float(found.contrast[m]) == pytest.approx(expected, rel=1e-4)
        means = [(similar[0] + similar[1]) / 2, (similar[2] + similar[3]) / 2, similar[4]]
        for e in range(3):
            assert float(found.lanes[m, e]) == pytest.approx(means[e] / sum(means), rel=1e-4)


def test_a_subject_goes_to_the_experts_that_remember_most_of_it() -> None:
    torch.manual_seed(0)
    keys, queries = torch.randn(7, 5), F.normalize(torch.randn(4, 5), dim=-1)
    memory = _memory(keys, [0, 0, 1, 1, 2, 2, 2], [7, 7, 7, 8, 8, -1, 7], [1, 1, 1, 1, 1, 1, 0])
    chosen, labels = torch.tensor([1, 0, 2, 2]), torch.tensor([7, 8, 9, -1])
    plain = compare(queries, chosen, labels, memory, 0.1, 3)
    found = compare(queries, chosen, labels, memory, 0.1, 3, by_subject=True)
    # Subject 7 fills lane 0 and half of lane 1, subject 8 half of lanes 1 and 2.
    for query, parts in ((0, [1.0, 0.25, 0.0]), (1, [0.0, 0.25, 0.25])):
        expected = [0.4 * part / sum(parts) + 0.2 for part in parts]
        assert found.lanes[query].tolist() == pytest.approx(expected, rel=1e-5)
    # One that nobody remembers, and a text without one, go where what is like them went.
    torch.testing.assert_close(found.lanes[2:], plain.lanes[2:])
    torch.testing.assert_close(found.contrast, plain.contrast)


def test_an_empty_memory_gives_finite_numbers_and_no_gradient_blows_up() -> None:
    queries = F.normalize(torch.randn(3, 5), dim=-1).requires_grad_()
    memory = _memory(torch.zeros(6, 5), [0, 0, 1, 1, 2, 2], [-1] * 6, [0] * 6)
    found = compare(queries, torch.tensor([0, 1, 2]), torch.full((3,), -1), memory, 0.1, 3)
    (found.contrast * found.positives).sum().backward()
    assert not found.positives.any()
    assert torch.isfinite(found.lanes).all()
    assert queries.grad is not None
    assert torch.equal(queries.grad, torch.zeros_like(queries))


def test_route_is_zero_where_router_and_memory_agree() -> None:
    logits = torch.randn(5, 4, requires_grad=True)
    agreed = route_loss(logits.softmax(-1), logits)
    torch.testing.assert_close(agreed, torch.zeros(5), atol=1e-6, rtol=0)
    lanes = torch.tensor([[0.7, 0.1, 0.1, 0.1]])
    level = torch.zeros(1, 4, requires_grad=True)
    route_loss(lanes, level).sum().backward()
    assert level.grad is not None
    torch.testing.assert_close(level.grad, 0.25 - lanes)  # softmax minus target


@pytest.mark.parametrize("most", [1, 4, 7, 50])
def test_spread_takes_counted_tokens_evenly_and_in_order(most: int) -> None:
    counted = torch.tensor([0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 0, 1]).bool()
    places, chosen = spread(counted, most)
    number = min(most, int(counted.sum()))
    assert len(places) == min(most, len(counted))
    assert chosen.tolist() == [True] * number + [False] * (len(places) - number)
    taken = places[:number].tolist()
    assert all(counted[taken])
    assert taken == sorted(set(taken))
    ranks = [int(counted[: place + 1].sum()) for place in taken]
    gaps = [b - a for a, b in pairwise(ranks)]
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_padding_does_not_change_the_choice() -> None:
    counted = torch.rand(40, generator=torch.Generator().manual_seed(0)) > 0.3
    padded = torch.cat((counted, torch.zeros(25, dtype=torch.bool)))
    assert torch.equal(spread(counted, 12).places, spread(padded, 12).places)


@pytest.mark.parametrize("most", [1, 5, 12, 60])
def test_parts_of_a_batch_choose_what_the_whole_chooses(most: int) -> None:
    """As several processes do, each with its rows; the second part has no counted token."""
    counted = torch.rand(50, generator=torch.Generator().manual_seed(1)) > 0.4
    counted[20:26] = False
    parts = counted.split([20, 6, 24])
    taken, before = [], 0
    for number, part in enumerate(parts):
        places, chosen = spread(part, most, before=before, number=counted.sum())
        taken += [place + (0, 20, 26)[number] for place in places[chosen].tolist()]
        before += int(part.sum())
    whole = spread(counted, most)
    assert taken == whole.places[whole.taken].tolist()


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("by_subject", [True, False])
def test_several_layers_at_once_are_those_layers_one_by_one(
    labelled: bool, by_subject: bool
) -> None:
    """On a GPU all layers are compared together; the queries' own keys stand at the end."""
    torch.manual_seed(0)
    queries = F.normalize(torch.randn(3, 4, 5), dim=-1)
    memory = Memory(
        torch.cat([F.normalize(torch.randn(3, 6, 5), dim=-1), queries], dim=1),
        torch.randint(3, (3, 10)),
        torch.randint(-1, 2, (3, 10)),
        torch.rand(3, 10) > 0.2,
    )
    chosen, own = torch.randint(3, (3, 4)), torch.arange(6, 10)
    labels = torch.tensor([0, 1, -1, 7]) if labelled else None
    together = compare(queries, chosen, labels, memory, 0.1, 3, own, by_subject=by_subject)
    for layer in range(3):
        of_layer = Memory(*(part[layer] for part in memory))
        alone = compare(
            queries[layer], chosen[layer], labels, of_layer, 0.1, 3, own, by_subject=by_subject
        )
        for name, value in alone._asdict().items():
            torch.testing.assert_close(getattr(together, name)[layer], value)
