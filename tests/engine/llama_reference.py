"""The `llama` architecture with experts in plain PyTorch, to hold llama.cpp's numbers against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from engine.small_gguf import EPSILON, HEAD, HEADS, KV_HEADS, LAYERS, ROPE_BASE, SmallModel
from torch import Tensor
from torch.nn import functional


@dataclass
class Reference:
    logits: Tensor  # [tokens, vocabulary]
    experts: Tensor  # [tokens, layers, used], by falling weight
    weights: Tensor  # [tokens, layers, used]


@torch.no_grad()
def run_reference(model: SmallModel, tokens: Sequence[int]) -> Reference:
    weights = {name: torch.from_numpy(weight) for name, weight in model.weights.items()}
    hidden = weights["token_embd.weight"][list(tokens)]  # [tokens, hidden]
    chosen, shares = [], []
    for layer in range(LAYERS):
        w = {
            name.removeprefix(f"blk.{layer}.").removesuffix(".weight"): weight
            for name, weight in weights.items()
            if name.startswith(f"blk.{layer}.")
        }
        hidden = hidden + _attention(_norm(hidden) * w["attn_norm"], w)
        x = _norm(hidden) * w["ffn_norm"]
        if not model.experts:
            inner = functional.silu(x @ w["ffn_gate"].T) * (x @ w["ffn_up"].T)
            hidden = hidden + inner @ w["ffn_down"].T
            continue
        probabilities = torch.softmax(x @ w["ffn_gate_inp"].T, dim=-1)
        share, expert = probabilities.topk(model.experts_used, dim=-1)
        share = share / share.sum(dim=-1, keepdim=True)
        chosen.append(expert)
        shares.append(share)
        for at in range(len(tokens)):
            for e, s in zip(expert[at], share[at], strict=True):
                inner = functional.silu(w["ffn_gate_exps"][e] @ x[at])
                inner = inner * (w["ffn_up_exps"][e] @ x[at])
                hidden[at] += s * (w["ffn_down_exps"][e] @ inner)
    logits = (_norm(hidden) * weights["output_norm.weight"]) @ weights["token_embd.weight"].T
    if not model.experts:
        return Reference(logits, torch.empty(0), torch.empty(0))
    return Reference(logits, torch.stack(chosen, dim=1), torch.stack(shares, dim=1))


def _norm(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPSILON)


def _attention(x: Tensor, w: dict[str, Tensor]) -> Tensor:
    tokens = len(x)
    q = _rotate((x @ w["attn_q"].T).view(tokens, HEADS, HEAD))
    k = _rotate((x @ w["attn_k"].T).view(tokens, KV_HEADS, HEAD))
    v = (x @ w["attn_v"].T).view(tokens, KV_HEADS, HEAD)
    # llama.cpp keeps keys and values in 16 bits.
    k, v = (t.half().float().repeat_interleave(HEADS // KV_HEADS, dim=1) for t in (k, v))
    scores = torch.einsum("qhd,khd->hqk", q, k) / HEAD**0.5
    mask = torch.ones(tokens, tokens).triu(1).bool()
    mixed = scores.masked_fill(mask, -torch.inf).softmax(-1)
    return torch.einsum("hqk,khd->qhd", mixed, v).reshape(tokens, -1) @ w["attn_output"].T


def _rotate(x: Tensor) -> Tensor:
    """Rotary positions in the layout of GGUF's `llama`: neighbouring values form a pair."""
    angles = torch.arange(len(x))[:, None] * ROPE_BASE ** (-torch.arange(0, HEAD, 2) / HEAD)
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)
