"""The experts of one feed-forward block, computed without sorting tokens.

    x ──┬─ W_gate, W_up (frozen, once) ─────────────┐
        └─ A (all experts side by side) ─ low ──┐   │
                                                ▼   ▼
            slot j of k:  mask_j · low ─ B ──▶ g_j, u_j ─ silu(g_j)·u_j = a_j ─ A_down ─ mask_j
                                                        │                         │
    y = W_down (frozen, once) · Σ_j w_j a_j  +  B_down · Σ_j w_j mask_j A_down a_j

The pairs of all E experts (and the shared pair) lie side by side as one A `[R, in]` and one B
`[out, R]` with R = E·r + r0 columns. For each of a token's k slots a mask keeps the columns of
the chosen expert and of the shared pair, and carries their scale. So every shape is known
beforehand, nothing waits for the device, and an expert without tokens is no special case.
W_down is shared and linear, so the frozen projections run once per token whatever k is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sparsedoctor.core.moe.mixing import mix_slots
from sparsedoctor.core.moe.router import Routing

Projection = Callable[[Tensor], Tensor]


class LoraPairs(NamedTuple):
    """One projection's pairs. Without a shared pair the last two are None."""

    a: Tensor  # [E, r, in]
    b: Tensor  # [E, out, r]
    shared_a: Tensor | None = None  # [r0, in]
    shared_b: Tensor | None = None  # [out, r0]

    def rows(self) -> Tensor:
        """All A side by side. `[R, in]`"""
        flat = self.a.flatten(0, 1)
        return flat if self.shared_a is None else torch.cat((flat, self.shared_a))

    def columns(self) -> Tensor:
        """All B side by side. `[out, R]`"""
        flat = self.b.transpose(0, 1).flatten(1)
        return flat if self.shared_b is None else torch.cat((flat, self.shared_b), dim=1)


class ExpertWeights(NamedTuple):
    """Every trained weight of a block beside its router, with what it is scaled by."""

    gate: LoraPairs
    up: LoraPairs
    down: LoraPairs
    scale: float  # alpha / r
    shared_scale: float  # shared_alpha / r0
    sharing: float = 0.0  # part of its scale that an expert's pairs have in the other experts

    @property
    def experts(self) -> int:
        return self.gate.a.shape[0]

    @property
    def rank(self) -> int:
        return self.gate.a.shape[1]

    @property
    def shared_rank(self) -> int:
        return 0 if self.gate.shared_a is None else self.gate.shared_a.shape[0]


class FrozenBlock(NamedTuple):
    """The base's own three projections (any module: plain, quantised, with bias)."""

    gate: Projection  # hidden -> ffn
    up: Projection  # hidden -> ffn
    down: Projection  # ffn -> hidden


class BlockOutput(NamedTuple):
    y: Tensor  # [tokens, hidden]
    low: Tensor  # [tokens, 2 * R]: A_gate x and A_up x of all experts, for the contrast term


def mixed_experts(
    x: Tensor, frozen: FrozenBlock, weights: ExpertWeights, routing: Routing
) -> BlockOutput:
    """The block's output for `x [tokens, hidden]`, in x's own type. The fast path;
    `reference.reference_experts` says the same slowly."""
    base_gate, base_up = frozen.gate(x), frozen.up(x)  # [tokens, ffn]
    kind = base_gate.dtype
    rows = torch.cat((weights.gate.rows(), weights.up.rows())).to(kind)  # [2R, hidden]
    low = F.linear(x.to(kind), rows)  # [tokens, 2R]
    mask = slot_masks(routing.experts, weights, kind)  # [k, tokens, R]
    mixed, low_down = mix_slots(
        base_gate,
        base_up,
        low,
        mask,
        routing.weights.to(kind),
        weights.gate.columns().to(kind),
        weights.up.columns().to(kind),
        weights.down.rows().to(kind),
    )
    y = frozen.down(mixed)
    return BlockOutput(y + F.linear(low_down, weights.down.columns().to(kind)).to(y.dtype), low)


def slot_masks(experts: Tensor, weights: ExpertWeights, kind: torch.dtype) -> Tensor:
    """The scale of every column in a token's slot. `[k, tokens, R]`

    Whole in the columns of the chosen expert, times `sharing` in those of the others.

    `experts [tokens, k]` are the chosen ones.
    """
    owner = torch.arange(weights.experts, device=experts.device).repeat_interleave(weights.rank)
    chosen = experts.t().unsqueeze(-1) == owner  # [k, tokens, E * r]
    others = weights.scale * weights.sharing
    mask = chosen.new_full(chosen.shape, others, dtype=kind).masked_fill_(chosen, weights.scale)
    return F.pad(mask, (0, weights.shared_rank), value=weights.shared_scale)
