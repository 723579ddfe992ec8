"""Which experts the answers of every topic choose: measured once, at the end of a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from sparsedoctor.core.moe.router import Routing
from sparsedoctor.core.moe.supervision import RoutingSupervisor
from sparsedoctor.train.data.batches import collate
from sparsedoctor.train.data.encode import IGNORED, Encoded
from sparsedoctor.train.report.record import CHOICES_FILE


def write_choices(
    run: Path,
    model: Any,
    supervisor: RoutingSupervisor,
    examples: Sequence[Encoded],
    *,
    pad_id: int,
    batch: int = 4,
    progress: Callable[[int], None] = lambda done: None,
    writes: bool = True,
) -> Path | None:
    """Run `examples` through the model and write what their answers' tokens chose.

    One line for each example that has a topic: `{"topic", "chosen": [layers][E]}`. None when no
    example has one. `progress` is told how many examples are done. Without `writes` the model
    runs only, because another process needs this one's part of its weights.
    """
    named = [example for example in examples if example.topic is not None]
    if not named:
        return None
    if not writes:
        for _ in _lines(model, supervisor, named, pad_id, batch):
            pass
        return None
    path = run / CHOICES_FILE
    fresh = path.with_suffix(".part")
    with fresh.open("w", encoding="utf-8") as file:
        for done, line in enumerate(_lines(model, supervisor, named, pad_id, batch), start=1):
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            progress(done)
    fresh.replace(path)
    return path


@torch.no_grad()
def _lines(
    model: Any, supervisor: RoutingSupervisor, examples: Sequence[Encoded], pad_id: int, batch: int
) -> Iterator[dict[str, Any]]:
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        for begin in range(0, len(examples), batch):
            rows = examples[begin : begin + batch]
            inputs = collate(rows, pad_id)
            counted = (inputs.pop("labels") != IGNORED).to(device)  # [batch, tokens]
            del inputs["topic_ids"]
            inputs["logits_to_keep"] = 1  # none of which is looked at
            inputs = {
                name: value.to(device) if isinstance(value, torch.Tensor) else value
                for name, value in inputs.items()
            }
            with supervisor.watching():
                model(**inputs)
            layers = [choices_of_rows(record.routing, counted) for record in supervisor.records()]
            for layer in supervisor.layers:
                layer.record = None
            for row, example in enumerate(rows):
                yield {"topic": example.topic, "chosen": [layer[row] for layer in layers]}
    finally:
        model.train(training)


def choices_of_rows(routing: Routing, counted: torch.Tensor) -> list[list[int]]:
    """How often the `counted [batch, tokens]` tokens of each row chose each expert of a layer, as
    `[batch][E]`."""
    number = routing.logits.shape[-1]
    chosen = F.one_hot(routing.experts, number).sum(dim=1)  # [batch * tokens, E]
    chosen = chosen.view(*counted.shape, number) * counted[..., None]
    counts: list[list[int]] = chosen.sum(dim=1).tolist()
    return counts
