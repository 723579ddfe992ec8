"""How large what the routers read is: it decides how far a step moves them.

A logit is R x, and a step of AdamW moves every weight of R by about the learning rate, so the logit
by up to that times `|x|_1`. Bases differ: SmolLM2-135M's feed-forward blocks read vectors of 54, a
Qwen2.5 of 0.5B ones of 860. One learning rate, and one random start, therefore leave the first
one's routers free and drive the second one's to a single expert within fifty steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor

from sparsedoctor.core.moe.peft_layer import LoraMoeBlock

TYPICAL = 54.0  # SmolLM2-135M's, where the router's rate and random start were chosen
_LONGEST = 256  # tokens read


def input_size(model: Any, layers: Sequence[LoraMoeBlock], tokens: Sequence[int]) -> float:
    """The median over `layers` of the median over `tokens` of `|x|_1`, x being what a layer reads.

    `model` is PEFT's, whose experts compute nothing yet (B is zero).
    """
    found: list[float] = []

    def note(_: Any, given: tuple[Tensor, ...]) -> None:
        sizes = given[0].detach().float().abs().sum(dim=-1)  # [1, tokens]
        found.append(float(sizes.median()))

    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    body = model.get_base_model().base_model  # without the output layer
    place = next(body.parameters()).device
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            body(torch.tensor([list(tokens[:_LONGEST])], device=place), use_cache=False)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return median(found)


def suit_routers(model: Any, layers: Sequence[LoraMoeBlock], tokens: Sequence[int]) -> float:
    """Let the random routers start as undecided as on a base of TYPICAL inputs.

    Returns what their learning rate is to be multiplied by, so that a step moves a logit as far. It
    is a power of two: the same for any text, and exactly 1 where it was chosen.
    """
    size = max(input_size(model, layers, tokens), 1e-6)
    factor = 2.0 ** round(math.log2(TYPICAL / size))
    with torch.no_grad():
        for layer in layers:
            layer.router.mul_(factor)
    return factor


def about_routers(factor: float) -> str:
    """What a person is told of it, as a line of its own; nothing where it changes nothing."""
    if factor == 1:
        return ""
    return (
        f"\nrouters: what they read is about {1 / factor:g} times as large as in SmolLM2; "
        f"start and rate are {factor:g} of those there"
    )
