"""The LoRA-MoE block as its formula reads, one token and one expert at a time.

Slow and obvious; the tests hold the fast path to it, forward and in every gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sparsedoctor.core.moe.experts import ExpertWeights, LoraPairs
from sparsedoctor.core.moe.router import Routing


def reference_experts(
    x: Tensor,
    w_gate: Tensor,
    w_up: Tensor,
    w_down: Tensor,
    weights: ExpertWeights,
    routing: Routing,
) -> Tensor:
    """The block's output `[tokens, hidden]`.

    w_gate, w_up `[ffn, hidden]` and w_down `[hidden, ffn]` are the frozen weights.
    """
    outputs = []
    for t in range(x.shape[0]):
        y = torch.zeros_like(x[t])
        for j in range(routing.experts.shape[1]):
            e = int(routing.experts[t, j])
            gate = merged_weight(w_gate, weights.gate, e, weights)
            up = merged_weight(w_up, weights.up, e, weights)
            down = merged_weight(w_down, weights.down, e, weights)
            y = y + routing.weights[t, j] * (down @ (F.silu(gate @ x[t]) * (up @ x[t])))
        outputs.append(y)
    return torch.stack(outputs)


def merged_weight(base: Tensor, pairs: LoraPairs, e: int, weights: ExpertWeights) -> Tensor:
    """What expert `e` is after export: W + s B_e A_e + s sharing (the other B A) + s0 B_0 A_0.

    `[out, in]`
    """
    merged = base
    for other in range(weights.experts):
        part = 1.0 if other == e else weights.sharing
        merged = merged + part * weights.scale * pairs.b[other] @ pairs.a[other]
    if pairs.shared_a is not None and pairs.shared_b is not None:
        merged = merged + weights.shared_scale * pairs.shared_b @ pairs.shared_a
    return merged
