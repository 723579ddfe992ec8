"""The terms that supervise the routing of a layer. Our own design (docs/method.md).

Pure functions of one layer's tensors, or of several layers' with a dimension of layers in front
of all but `share`. `share [tokens]` is each token's part of the mean: 1/n
for the n tokens that count, 0 for padding and prompt; so a mean over several processes is the
sum of theirs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

SURE = 0.4  # how much of a target made of subjects is not spread evenly over the experts
_TINY = 1e-30  # below any share that similarities in [-1, 1] / tau can produce
_LEFT_OUT = -1e9  # the logit of a key that does not count


def balance_loss(load: Tensor, probabilities: Tensor, share: Tensor) -> Tensor:
    """E * sum_e f_e P_e: 1 when the experts are used evenly, E/k when k of them get everything.

    `load [E]` is f, each expert's part of all choices, adding up to 1 (no gradient);
    `probabilities [tokens, E]` are the router's.
    """
    mean_probability = share @ probabilities  # [E]
    return load.shape[-1] * (load.detach() * mean_probability).sum(dim=-1)


def expert_load(experts: Tensor, counted: Tensor, number: int) -> Tensor:
    """How often each expert was chosen by the tokens `counted [tokens]` (1 or 0). `[E]` float32"""
    each = counted.float().unsqueeze(-1).expand_as(experts).flatten(-2)
    counts = each.new_zeros(*experts.shape[:-2], number)
    return counts.scatter_add(-1, experts.flatten(-2), each)


def router_z_loss(logits: Tensor, share: Tensor) -> Tensor:
    """Mean squared log-sum-exp of the router's logits `[tokens, E]`: keeps them small."""
    return logits.logsumexp(dim=-1).square() @ share


class Memory(NamedTuple):
    """The keys that queries are compared with."""

    keys: Tensor  # [N, D] unit length, no gradient
    experts: Tensor  # [N] int64
    labels: Tensor  # [N] int64, negative where there is none
    filled: Tensor  # [N] bool


class Similarity(NamedTuple):
    """What a layer's memory says about its queries."""

    contrast: Tensor  # [M] InfoNCE of every query
    positives: Tensor  # [M] bool, whether the memory holds a positive for it
    lanes: Tensor  # [M, E] share of each lane, adding up to 1, no gradient
    nearest: Tensor  # [M] int64, expert of the most similar key


def compare(
    queries: Tensor,
    chosen: Tensor,
    labels: Tensor | None,
    memory: Memory,
    temperature: float,
    experts: int,
    own: Tensor | None = None,
    *,
    by_subject: bool = False,
) -> Similarity:
    """InfoNCE of `queries [M, D]` over the memory, and the soft target for the router.

        p_n      = exp(q.k_n / tau) / sum over all keys
        contrast = -log of the sum of p over the positives ("in" form: the sum inside the log)
        lane_e   = softmax over e of log(mean over lane e of exp(q.k / tau))

    Positives are the keys with the query's label; for a query without one, the lane of its
    `chosen [M]` expert. `labels [M]` is negative for a query without one, None where none has one.
    `own [M]` int64 is the place among the keys of the one that a query is itself: left out.

    With `by_subject` a query whose label the memory holds has another target, made of c_e, the
    part of lane e's keys that have its label:

        lane_e   = SURE c_e^2 / (sum of c^2) + (1 - SURE) / E

    The square lets a small lead grow; what is spread evenly lets every expert go on learning.
    """
    own_place = None if own is None else own.expand(chosen.shape)[..., None]  # [M, 1]
    lane_of = F.one_hot(memory.experts, experts).float()  # [N, E]
    filled = memory.filled[..., None, :]
    size = filled.float() @ lane_of  # [1 or M, E] keys of each lane
    positive = memory.experts[..., None, :] == chosen[..., None]  # [M, N]
    if labels is not None:
        same_label = memory.labels[..., None, :] == labels[..., None]
        named = (labels >= 0)[..., None]
        positive = torch.where(named, same_label, positive)
    positive &= filled
    logits = ((queries / temperature) @ memory.keys.transpose(-1, -2).to(queries.dtype)).float()
    with torch.no_grad():  # in place: what is left out has no probability, and so no gradient
        logits.masked_fill_(~filled, _LEFT_OUT)
        if own_place is not None:
            logits.scatter_(-1, own_place, _LEFT_OUT)
            positive.scatter_(-1, own_place, False)
            its_lane = F.one_hot(memory.experts.gather(-1, own_place.squeeze(-1)), experts)
            size = size - its_lane * memory.filled.gather(-1, own_place.squeeze(-1))[..., None]
    contrast, p = _InfoNce.apply(logits, positive)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        lanes = (p @ lane_of) / size.clamp_min(1.0)  # [M, E]
        lanes = lanes / lanes.sum(dim=-1, keepdim=True).clamp_min(_TINY)
        if labels is not None and by_subject:
            held = positive & named
            parts = ((held.float() @ lane_of) / size.clamp_min(1.0)).square()  # [M, E]
            subject = parts / parts.sum(dim=-1, keepdim=True).clamp_min(_TINY)
            subject = SURE * subject + (1 - SURE) / experts
            lanes = torch.where(held.any(dim=-1, keepdim=True), subject, lanes)
        nearest = memory.experts.gather(-1, logits.argmax(dim=-1))
    return Similarity(contrast, positive.any(dim=-1), lanes, nearest)


class _InfoNce(torch.autograd.Function):
    """-log of the sum of p over the positives `[M]`, and p `[M, N]`, without gradient, itself.

    Its derivative by a logit is p_n, less p_n's part of the positives where n is one: made with
    the value, so that the backward pass is one multiplication.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
        p = logits.softmax(dim=-1)
        slope = torch.where(positive, p, 0.0)
        together = slope.sum(dim=-1).clamp_min(_TINY)
        ctx.save_for_backward(torch.sub(p, slope.div_(together[..., None]), out=slope))
        ctx.mark_non_differentiable(p)
        ctx.set_materialize_grads(False)  # of p, zeros as many as its own numbers
        return -together.log(), p

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return slope * gradients[0][..., None], None


def route_loss(lanes: Tensor, logits: Tensor) -> Tensor:
    """KL(lanes || router) of every query. `[M]` Gradient flows into the router's logits only.

    `lanes [M, E]` is the soft target, `logits [M, E]` the router's.
    """
    target = lanes.detach()
    return (target * (target.clamp_min(_TINY).log() - logits.log_softmax(dim=-1))).sum(dim=-1)


class Chosen(NamedTuple):
    """Tokens that become queries."""

    places: Tensor  # [M] where they stand among the tokens
    taken: Tensor  # [M] bool; False: no query, only there to keep the shape


def spread(
    counted: Tensor, most: int, *, before: Tensor | int = 0, number: Tensor | None = None
) -> Chosen:
    """At most `most` counted tokens, evenly spread, in order; M is min(most, tokens).

    `counted [tokens]` bool. Where the tokens are a part of more (several processes), `before`
    of the counted ones stand in front of this part and there are `number` in all; together the
    parts take what one call would. The shape is known beforehand and nothing is drawn at random,
    so neither padding nor a resumed run changes the choice.
    """
    number = counted.sum() if number is None else number
    place = counted.cumsum(dim=0) - 1 + before  # among all counted ones
    wanted, n = number.clamp(max=most), number.clamp(min=1)
    taken = counted & (((place + 1) * wanted) // n > (place * wanted) // n)
    order = torch.argsort((~taken).to(torch.uint8), stable=True)[:most]
    return Chosen(order, taken[order])
