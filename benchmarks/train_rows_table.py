"""The table of `train_rows.py` from what each row left, as Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from eval_table_rows import ROWS
from numpy.typing import NDArray

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
Losses = NDArray[np.float64]  # [questions, 2]: summed loss in nats, answer tokens


def table(folder: Path, seeds: Sequence[int]) -> str:
    """The rows that are done, their paired differences, their curves and their experts."""
    found = {row.name: _read(folder / row.name, seeds) for row in ROWS}
    rows = {name: seeds for name, seeds in found.items() if seeds}
    return "\n".join(
        [*_losses(rows), "", *_differences(rows), "", *_curves(rows), "", *_experts(rows), ""]
    )


def paired_difference(first: list[Losses], second: list[Losses]) -> tuple[float, float, float]:
    """Mean and 95 % interval of first - second in nats per token, from 10,000 bootstrap samples
    of questions, drawn together for both; the mean over all seeds of a row."""
    a, b = np.mean(first, axis=0), np.mean(second, axis=0)  # tokens are the same in all
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(a), size=(10_000, len(a)))
    differences = (a[drawn, 0].sum(axis=1) - b[drawn, 0].sum(axis=1)) / a[drawn, 1].sum(axis=1)
    low, high = np.percentile(differences, (2.5, 97.5))
    return _mean(a) - _mean(b), float(low), float(high)


def _read(row: Path, seeds: Iterable[int]) -> list[dict[str, Any]]:
    files = [row / f"seed-{seed}" / MEASURED for seed in seeds]
    return [json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()]


def _losses(rows: dict[str, list[dict[str, Any]]]) -> list[str]:
    lines = [
        "| row | learning rate | parameters | seeds | loss | perplexity |",
        "|---|---|---|---|---|---|",
    ]
    for done in rows.values():
        loss = float(np.mean([_mean(losses) for losses in _arrays(done)]))
        rate = f"{done[0]['rate']:g}" if "rate" in done[0] else ""
        parameters = f"{done[0]['parameters']:,}" if "parameters" in done[0] else "0"
        lines.append(
            f"| {done[0]['title']} | {rate} | {parameters} | {len(done)} "
            f"| {loss:.4f} | {math.exp(loss):.3f} |"
        )
    return lines


def _differences(rows: dict[str, list[dict[str, Any]]]) -> list[str]:
    lines = ["| difference in loss | mean | 95 % interval |", "|---|---|---|"]
    for better, worse in COMPARED:
        if better in rows and worse in rows:
            mean, low, high = paired_difference(_arrays(rows[better]), _arrays(rows[worse]))
            lines.append(f"| {better} - {worse} | {mean:+.4f} | {low:+.4f} to {high:+.4f} |")
    return lines


def _curves(rows: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Loss over steps on the topics held out of the training file, and the rates' tuning."""
    lines = [
        "| row | loss after steps on held-out topics | after a quarter of the steps, by rate |",
        "|---|---|---|",
    ]
    for done in rows.values():
        if curve := done[0].get("curve"):
            shown = ", ".join(f"{step}: {loss:.4f}" for step, loss in curve)
            tuned = ", ".join(f"{rate}: {loss:.4f}" for rate, loss in done[0]["tuning"].items())
            lines.append(f"| {done[0]['title']} | {shown} | {tuned} |")
    return lines


def _experts(rows: dict[str, list[dict[str, Any]]]) -> list[str]:
    lines = [
        "| row | bits of a topic in its experts | topics shuffled (95 % below) | p |",
        "|---|---|---|---|",
    ]
    for done in rows.values():
        if found := done[0].get("specialisation"):
            chance = f"{found['shuffled']:.4f} ({found['shuffled_95']:.4f})"
            lines.append(
                f"| {done[0]['title']} | {found['bits']:.4f} | {chance} | {found['p']:.3f} |"
            )
    return lines


def _arrays(done: list[dict[str, Any]]) -> list[Losses]:
    return [np.asarray(one["losses"], dtype=np.float64) for one in done]


def _mean(losses: Losses) -> float:
    return float(losses[:, 0].sum() / losses[:, 1].sum())
