"""Logits of nothing but the tokens that are learned.

    answers    q q q q a a .        q q a a a a a       (q asked, a answered, . padding)
    logits           ^ ^              ^ ^ ^ ^ ^         of the token before each that is learned

A row of logits is as wide as the vocabulary, and an exam's answer is a tenth of its row: they would
be most of a micro-step's memory and, with the output layer's product, a good part of its time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sparsedoctor.train.data.encode import IGNORED


class LearnedLogits:
    """Lets `model` compute the logits from which learned tokens are predicted, and no others."""

    def __init__(self, model: Any, multiple: int = 1) -> None:
        """`multiple`: of what the number of logits is, filled up with ones that do not count."""
        self._multiple = multiple
        self._places: Tensor | None = None  # among the tokens of the batch; None: of all of them
        model.get_output_embeddings().register_forward_pre_hook(self._choose)

    @contextmanager
    def of(self, batch: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The batch for a pass made inside: its loss is the same, its `labels` and the logits are
        `[1, N]` and `[1, N, vocabulary]`. Reads one number off the device (N)."""
        labels: Tensor = batch["labels"]
        following = F.pad(labels[:, 1:], (0, 1), value=IGNORED).flatten()
        places = (following != IGNORED).nonzero()[:, 0]
        learned = following[places]
        # The loss shifts: its last logits predict nothing, and its first label is not predicted.
        more = 1 + -(len(places) + 1) % self._multiple
        self._places = F.pad(places, (0, more))
        try:
            yield {**batch, "labels": F.pad(learned, (1, more - 1), value=IGNORED)[None]}
        finally:
            self._places = None

    def _choose(self, layer: torch.nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._places is None:
            return None
        hidden, *rest = given
        return hidden.flatten(0, -2)[self._places][None], *rest
