"""The table of `train_rows.py` from what each row left, as Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from eval_table_rows import ROWS
from numpy.typing import NDArray

from sparsedoctor.train.evaluate.comparing import probability
from sparsedoctor.train.evaluate.statistics import Difference, paired_loss

MEASURED = "measured.json"
COMPARED = (  # is the first better than the second?
    ("sparsedoctor", "dense-parameters"),
    ("sparsedoctor", "dense-active"),
    ("sparsedoctor", "moe"),
    ("sparsedoctor", "moe-in-batch"),
    ("sparsedoctor", "moe-frozen-router"),
    ("moe", "dense-parameters"),
    ("sparsedoctor-shared", "dense-parameters"),
    ("sparsedoctor-shared", "moe-shared"),
    ("sparsedoctor-shared", "sparsedoctor"),
)
Seeds = Mapping[str, Mapping[str, Any]]  # seed -> what measured.json holds


def table(folder: Path) -> str:
    """The rows that are done, their paired differences, their curves and their experts."""
    found = {row.name: _read(folder / row.name) for row in ROWS}
    rows = {name: seeds for name, seeds in found.items() if seeds}
    return "\n".join(
        [*_losses(rows), "", *_differences(rows), "", *_curves(rows), "", *_experts(rows), ""]
    )


def paired_difference(first: Seeds, second: Seeds) -> Difference | None:
    """First - second in nats per token, over the seeds that both have; questions are resampled."""
    common = [seed for seed in first if seed in second]
    if not common:
        return None
    pairs = [(_losses_of(first[seed]), _losses_of(second[seed])) for seed in common]
    tokens = pairs[0][0][:, 1]
    apart = np.mean([a[:, 0] - b[:, 0] for a, b in pairs], axis=0)
    return paired_loss(apart.tolist(), tokens.tolist())


def _read(row: Path) -> Seeds:
    files = sorted(row.glob(f"*/{MEASURED}"))
    return {file.parent.name: json.loads(file.read_text(encoding="utf-8")) for file in files}


def _losses(rows: Mapping[str, Seeds]) -> list[str]:
    lines = [
        "| row | learning rate | parameters | seeds | loss | perplexity |",
        "|---|---|---|---|---|---|",
    ]
    for seeds in rows.values():
        done = list(seeds.values())
        losses = [_losses_of(one).sum(axis=0) for one in done]
        loss = float(np.mean([total / tokens for total, tokens in losses]))
        rate = f"{done[0]['rate']:g}" if "rate" in done[0] else ""
        parameters = f"{done[0]['parameters']:,}" if "parameters" in done[0] else "0"
        lines.append(
            f"| {done[0]['title']} | {rate} | {parameters} | {len(done)} "
            f"| {loss:.4f} | {math.exp(loss):.3f} |"
        )
    return lines


def _differences(rows: Mapping[str, Seeds]) -> list[str]:
    lines = ["| difference in loss | mean | 95 % interval | p |", "|---|---|---|---|"]
    for better, worse in COMPARED:
        if found := paired_difference(rows.get(better, {}), rows.get(worse, {})):
            lines.append(
                f"| {better} - {worse} | {found.difference:+.4f} "
                f"| {found.low:+.4f} to {found.high:+.4f} | {probability(found.p)} |"
            )
    return lines


def _curves(rows: Mapping[str, Seeds]) -> list[str]:
    """Loss over steps on the topics held out of the training file, and the rates' tuning."""
    lines = [
        "| row | loss after steps on held-out topics | after a quarter of the steps, by rate |",
        "|---|---|---|",
    ]
    for seeds in rows.values():
        first = next(iter(seeds.values()))
        if curve := first.get("curve"):
            shown = ", ".join(f"{step}: {loss:.4f}" for step, loss in curve)
            tuned = ", ".join(f"{rate}: {loss:.4f}" for rate, loss in first["tuning"].items())
            lines.append(f"| {first['title']} | {shown} | {tuned} |")
    return lines


def _experts(rows: Mapping[str, Seeds]) -> list[str]:
    lines = [
        "| row | bits of a topic in its experts | topics shuffled (95 % below) | p |",
        "|---|---|---|---|",
    ]
    for seeds in rows.values():
        first = next(iter(seeds.values()))
        if found := first.get("specialisation"):
            chance = f"{found['shuffled']:.4f} ({found['shuffled_95']:.4f})"
            lines.append(
                f"| {first['title']} | {found['bits']:.4f} | {chance} | {probability(found['p'])} |"
            )
    return lines


def _losses_of(measured: Mapping[str, Any]) -> NDArray[np.float64]:
    """`[questions, 2]`: summed loss in nats, answer tokens; these are the same in every row."""
    return np.asarray(measured["losses"], dtype=np.float64)
