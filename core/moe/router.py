"""The router: softmax over experts in float32, the best k, weights renormalised.

This is what llama.cpp's `llama` and `qwen3moe` graphs, Mixtral and Qwen3-MoE compute; any
other order would not survive export.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Routing(NamedTuple):
    """Where the tokens of one layer go."""

    logits: Tensor  # [tokens, E] float32
    probabilities: Tensor  # [tokens, E] float32, softmax of the logits
    experts: Tensor  # [tokens, k] int64, the most probable first
    weights: Tensor  # [tokens, k] float32, adds up to 1


def route(x: Tensor, router: Tensor, top_k: int) -> Routing:
    """Route `x [tokens, hidden]` by `router [E, hidden]`. Float32 also under autocast."""
    with torch.autocast(x.device.type, enabled=False):
        logits = F.linear(x.float(), router.float())  # [tokens, E]
        probabilities = logits.softmax(dim=-1)
        chosen, experts = probabilities.topk(top_k, dim=-1)  # [tokens, k]
        weights = chosen / chosen.sum(dim=-1, keepdim=True)
    return Routing(logits, probabilities, experts, weights)
