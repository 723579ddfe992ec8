"""The k slots of a block, forward and backward: on a CPU in blocks of tokens that stay in the
cache, elsewhere all slots of all tokens at once, where starting a kernel costs more than memory.

Only the shared base activations W_gate x and W_up x are kept for the backward pass; g_j, u_j and
a_j of every slot are computed again there. So the layer keeps two `[tokens, ffn]` tensors, where
an ordinary LoRA on the same three projections keeps four, and what is kept does not grow with k.
All slots at once need a working space of one layer that does.

With G_j = dL/da + (mask_j · dL/dlow) A_down, the derivative of a_j = silu(g_j) · u_j weighted by
w_j is   dL/dw_j = <G_j, a_j>,   dL/du_j = w_j G_j silu(g_j),   dL/dg_j = w_j G_j u_j silu'(g_j).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# Of one [tokens, ffn] block on a CPU: a few of them fit the cache, and the cores have enough to do
# before they wait for each other.
_BLOCK_BYTES = 2 << 20


def mix_slots(
    base_gate: Tensor,
    base_up: Tensor,
    low: Tensor,
    mask: Tensor,
    weights: Tensor,
    b_gate: Tensor,
    b_up: Tensor,
    a_down: Tensor,
) -> tuple[Tensor, Tensor]:
    """Σ_j w_j a_j `[tokens, ffn]` and Σ_j w_j mask_j A_down a_j `[tokens, R]`.

    base_gate, base_up `[tokens, ffn]`; low `[tokens, 2R]` (gate's columns, then up's);
    mask `[k, tokens, R]` (constant); weights `[tokens, k]`; b_gate, b_up `[ffn, R]`;
    a_down `[R, ffn]`. All of one floating type.
    """
    form = MixInBlocks if base_gate.device.type == "cpu" else MixAtOnce
    mixed, low_down = form.apply(  # type: ignore[no-untyped-call]
        base_gate, base_up, low, mask, weights, b_gate, b_up, a_down
    )
    return mixed, low_down


class MixInBlocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(*given)
        base_gate, base_up, low, mask, weights, b_gate, b_up, a_down = given
        mixed = torch.empty_like(base_gate)
        low_down = low.new_zeros(low.shape[0], mask.shape[-1])
        low_gate, low_up = low.chunk(2, dim=1)
        blocks = _blocks(base_gate)
        scratch = _scratch(base_gate, blocks, 2)
        for part in blocks:
            g, spare = (buffer[: len(base_gate[part])] for buffer in scratch)
            for j in range(mask.shape[0]):
                keep, w = mask[j, part], weights[part, j : j + 1]
                a = mixed[part] if j == 0 else spare
                torch.addmm(base_gate[part], low_gate[part] * keep, b_gate.t(), out=g)
                torch.addmm(base_up[part], low_up[part] * keep, b_up.t(), out=a)
                a.mul_(F.silu(g, inplace=True)).mul_(w)  # w_j a_j
                low_down[part] += (a @ a_down.t()) * keep
                if j:
                    mixed[part] += a
        return mixed, low_down

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        base_gate, base_up, low, mask, weights, b_gate, b_up, a_down = ctx.saved_tensors
        d_mixed, d_low_down = gradients
        exact = torch.float32 if low.dtype in (torch.bfloat16, torch.float16) else low.dtype
        d_base_gate, d_base_up = torch.empty_like(base_gate), torch.empty_like(base_up)
        d_low = torch.zeros_like(low)
        d_weights = torch.empty_like(weights)
        d_b_gate = torch.zeros_like(b_gate, dtype=exact)
        d_b_up = torch.zeros_like(b_up, dtype=exact)
        d_a_down = torch.zeros_like(a_down, dtype=exact)
        low_gate, low_up = low.chunk(2, dim=1)
        d_low_gate, d_low_up = d_low.chunk(2, dim=1)
        blocks = _blocks(base_gate)
        scratch = _scratch(base_gate, blocks, 5)
        for part in blocks:
            g, u, s, a, d_a = (buffer[: len(base_gate[part])] for buffer in scratch)
            for j in range(mask.shape[0]):
                keep, w = mask[j, part], weights[part, j : j + 1]
                gate_in, up_in = low_gate[part] * keep, low_up[part] * keep
                down_out = d_low_down[part] * keep
                torch.addmm(base_gate[part], gate_in, b_gate.t(), out=g)
                torch.addmm(base_up[part], up_in, b_up.t(), out=u)
                torch.ops.aten.silu.out(g, out=s)
                torch.mul(s, u, out=a)
                torch.addmm(d_mixed[part], down_out, a_down, out=d_a)  # G_j
                d_weights[part, j] = torch.linalg.vecdot(d_a, a)
                d_a_down += (down_out * w).t() @ a
                d_a.mul_(w)
                d_g = d_base_gate[part] if j == 0 else a
                d_u = d_base_up[part] if j == 0 else s
                torch.ops.aten.silu_backward.grad_input(u.mul_(d_a), g, grad_input=d_g)
                torch.mul(s, d_a, out=d_u)
                d_low_gate[part] += (d_g @ b_gate) * keep
                d_low_up[part] += (d_u @ b_up) * keep
                d_b_gate += d_g.t() @ gate_in
                d_b_up += d_u.t() @ up_in
                if j:
                    d_base_gate[part] += d_g
                    d_base_up[part] += d_u
        return (
            d_base_gate,
            d_base_up,
            d_low,
            None,
            d_weights,
            d_b_gate.to(b_gate.dtype),
            d_b_up.to(b_up.dtype),
            d_a_down.to(a_down.dtype),
        )


def _blocks(activation: Tensor) -> list[slice]:
    """Slices of tokens whose buffers fit the cache."""
    tokens, width = activation.shape
    size = max(32, _BLOCK_BYTES // (width * activation.element_size()))
    return [slice(start, start + size) for start in range(0, tokens, size)]


def _scratch(activation: Tensor, blocks: list[slice], number: int) -> list[Tensor]:
    """Buffers of one block, used again for every slot: touching fresh memory costs more than the
    arithmetic."""
    size = min(blocks[0].stop, len(activation)) if blocks else 0
    return [activation.new_empty(size, activation.shape[1]) for _ in range(number)]


class MixAtOnce(torch.autograd.Function):
    """The same with a slot dimension in front: `[k, tokens, ...]`."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(*given)
        base_gate, base_up, low, mask, weights, b_gate, b_up, a_down = given
        gate_in, up_in = _masked(low, mask)
        g = (gate_in @ b_gate.t()).add_(base_gate)
        u = (up_in @ b_up.t()).add_(base_up)
        a = F.silu(g, inplace=True).mul_(u).mul_(weights.t().unsqueeze(-1))  # w_j a_j
        low_down = (a @ a_down.t()).mul_(mask).sum(0)
        return a.sum(0), low_down

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        base_gate, base_up, low, mask, weights, b_gate, b_up, a_down = ctx.saved_tensors
        d_mixed, d_low_down = gradients
        w = weights.t().unsqueeze(-1)
        gate_in, up_in = _masked(low, mask)
        down_out = mask * d_low_down
        g = (gate_in @ b_gate.t()).add_(base_gate)
        u = (up_in @ b_up.t()).add_(base_up)
        s = F.silu(g)
        a = s * u
        d_a = (down_out @ a_down).add_(d_mixed)  # G_j
        d_weights = torch.linalg.vecdot(d_a, a).t()
        d_a_down = _over_tokens(down_out.mul_(w), a)
        d_a.mul_(w)
        d_u = s.mul_(d_a)
        d_g = torch.ops.aten.silu_backward(u.mul_(d_a), g)
        d_low = low.new_empty(low.shape)
        for place, inwards in enumerate((d_g @ b_gate, d_u @ b_up)):
            torch.sum(inwards.mul_(mask), 0, out=d_low.chunk(2, dim=1)[place])
        return (
            d_g.sum(0),
            d_u.sum(0),
            d_low,
            None,
            d_weights,
            _over_tokens(d_g, gate_in),
            _over_tokens(d_u, up_in),
            d_a_down,
        )


def _masked(low: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """mask_j · A_gate x and mask_j · A_up x, `[k, tokens, R]` each."""
    low_gate, low_up = low.chunk(2, dim=1)
    return low_gate * mask, low_up * mask


def _over_tokens(left: Tensor, right: Tensor) -> Tensor:
    """left^T right, added up over slots and tokens."""
    return left.flatten(0, 1).t() @ right.flatten(0, 1)
