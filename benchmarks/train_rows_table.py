"""The table of `train_rows.py` from what each row left, as Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from eval_table_rows import ROWS
from numpy.typing import NDArray

from sparsedoctor.train.evaluate.statistics import Difference, paired_loss
from sparsedoctor.train.evaluate.summaries import probability

MEASURED = "measured.json"
COMPARED = (  # is the first better than the second?
    *(("sparsedoctor", row.name) for row in ROWS if row.name not in ("base", "sparsedoctor")),
    ("moe-in-batch", "moe"),
    ("sparsedoctor-memory", "moe"),
    ("sparsedoctor-memory-early", "moe"),
    ("moe", "dense-parameters"),
    ("moe", "dense-higher"),
    ("moe", "moe-slow-router"),
    ("sparsedoctor-shared", "moe-shared"),
    ("sparsedoctor-subjects", "moe"),
    ("sparsedoctor-released", "moe"),
    ("sparsedoctor-released", "sparsedoctor-subjects"),
    ("sparsedoctor-memory", "sparsedoctor-slow-router"),
    ("sparsedoctor-slow-router", "moe-slow-router"),
    ("moe-slow-router", "moe-plain"),
    ("moe-slow-router", "moe-plain-higher"),
    ("moe-plain-higher", "moe-plain"),
    ("sparsedoctor-plain", "moe-plain"),
)
Seeds = Mapping[str, Mapping[str, Any]]  # seed -> what measured.json holds
Rates = Mapping[float, Seeds]  # learning rate -> what was trained at it; the base has the rate 0


def table(folder: Path, topics: Sequence[str] | None = None) -> str:
    """What is done: rows at their best rate, paired differences, every training's curve.

    `topics` are those of the answers, in their order; without them each is a topic of its own.
    """
    found = {row.name: _read(folder / row.name) for row in ROWS}
    tried = {name: rates for name, rates in found.items() if rates}
    rows = {name: rates[_best(rates)] for name, rates in tried.items()}
    parts = (_losses(rows), _differences(rows, tried, topics), _curves(tried), _experts(tried))
    return "\n".join(line for part in parts for line in (*part, ""))


def best_rate(row: Path) -> float:
    """The rate of a row's trainings with the lowest loss on the topics held out of training."""
    return _best(_read(row))


class Apart(NamedTuple):
    """First - second in nats per token, over the seeds that both have."""

    mean: Difference
    each: list[float]  # of every seed by itself


def paired_difference(
    first: Seeds, second: Seeds, topics: Sequence[str] | None = None
) -> Apart | None:
    """Topics are resampled with all their answers, and every answer with all its seeds; seeds stay
    as they are, so the interval tells nothing of how far another training would lie."""
    common = [seed for seed in first if seed in second]
    if not common:
        return None
    pairs = [(_losses_of(first[seed]), _losses_of(second[seed])) for seed in common]
    tokens = pairs[0][0][:, 1]
    apart = np.array([a[:, 0] - b[:, 0] for a, b in pairs])  # [seeds, answers]
    together = [_by_topic(each, topics) for each in (apart.mean(axis=0), tokens)]
    return Apart(paired_loss(*together), (apart.sum(axis=1) / tokens.sum()).tolist())


def _by_topic(values: NDArray[np.float64], topics: Sequence[str] | None) -> list[float]:
    if topics is None:
        return values.tolist()  # type: ignore[no-any-return]
    _, place = np.unique(np.asarray(topics), return_inverse=True)
    return np.bincount(place, weights=values).tolist()  # type: ignore[no-any-return]


def _read(row: Path) -> Rates:
    found: dict[float, dict[str, Any]] = {}
    for file in sorted(row.rglob(MEASURED)):
        seed = file.relative_to(row).parts[0]
        measured = json.loads(file.read_text(encoding="utf-8"))
        found.setdefault(float(measured.get("rate", 0.0)), {})[seed] = measured
    return dict(sorted(found.items()))


def _best(rates: Rates) -> float:
    """By the seeds that were trained at every rate: seeds differ more than rates do."""
    common = set.intersection(*(set(seeds) for seeds in rates.values()))

    def held_out(rate: float) -> float:
        seeds = rates[rate]
        losses = [seeds[seed].get("held_out_loss", 0.0) for seed in common or seeds]
        return float(np.mean(losses))

    return min(rates, key=held_out)


def _losses(rows: Mapping[str, Seeds]) -> list[str]:
    lines = [
        "| row | learning rate | parameters | seeds | loss | perplexity |",
        "|---|---|---|---|---|---|",
    ]
    for seeds in rows.values():
        done = list(seeds.values())
        loss = _loss(seeds)
        rate = f"{done[0]['rate']:g}" if "rate" in done[0] else ""
        parameters = f"{done[0]['parameters']:,}" if "parameters" in done[0] else "0"
        lines.append(
            f"| {done[0]['title']} | {rate} | {parameters} | {len(done)} "
            f"| {loss:.4f} | {math.exp(loss):.3f} |"
        )
    return lines


def _differences(
    rows: Mapping[str, Seeds], tried: Mapping[str, Rates], topics: Sequence[str] | None
) -> list[str]:
    """Each row at its best rate against another at its own, then both at every equal rate."""
    lines = [
        "| difference in loss | rate | mean | 95 % interval | p | of each seed |",
        "|---|---|---|---|---|---|",
    ]
    pairs = [("best", rows)]
    for rate in sorted({rate for rates in tried.values() for rate in rates} - {0.0}):
        pairs.append((f"{rate:g}", {name: rates.get(rate, {}) for name, rates in tried.items()}))
    for rate_name, chosen in pairs:
        for better, worse in COMPARED:
            apart = paired_difference(chosen.get(better, {}), chosen.get(worse, {}), topics)
            if apart is not None:
                found, each = apart
                lines.append(
                    f"| {better} - {worse} | {rate_name} | {found.difference:+.4f} "
                    f"| {found.low:+.4f} to {found.high:+.4f} | {probability(found.p)} "
                    f"| {', '.join(f'{one:+.4f}' for one in each)} |"
                )
    return lines


def _curves(tried: Mapping[str, Rates]) -> list[str]:
    """Loss over steps on the topics held out of the training file, of every training.

    These topics are drawn with the seed: rows compare within one only.
    """
    lines = [
        "| row | learning rate | seed | loss after steps on held-out topics "
        "| loss of the answers |",
        "|---|---|---|---|---|",
    ]
    for rates in tried.values():
        for rate, seeds in rates.items():
            for seed, one in seeds.items():
                if curve := one.get("curve"):
                    shown = ", ".join(f"{step}: {loss:.4f}" for step, loss in curve)
                    start = f"| {one['title']} | {rate:g} | {seed}"
                    lines.append(f"{start} | {shown} | {_loss({seed: one}):.4f} |")
    return lines


def _experts(tried: Mapping[str, Rates]) -> list[str]:
    lines = [
        "| row | learning rate | answers | bits of a subject in its experts "
        "| shuffled (95 % below) | p |",
        "|---|---|---|---|---|---|",
    ]
    for rates in tried.values():
        for rate, seeds in rates.items():
            first = next(iter(seeds.values()))
            if found := first.get("specialisation"):
                chance = f"{found['shuffled']:.4f} ({found['shuffled_95']:.4f})"
                lines.append(
                    f"| {first['title']} | {rate:g} | {found.get('answers', 'some of 48')} "
                    f"| {found['bits']:.4f} | {chance} "
                    f"| {probability(found['p'])} |"
                )
    return lines


def _loss(seeds: Seeds) -> float:
    """The mean over seeds of the loss per answer token."""
    sums = [_losses_of(one).sum(axis=0) for one in seeds.values()]
    return float(np.mean([total / tokens for total, tokens in sums]))


def _losses_of(measured: Mapping[str, Any]) -> NDArray[np.float64]:
    """`[questions, 2]`: summed loss in nats, answer tokens; these are the same in every row."""
    return np.asarray(measured["losses"], dtype=np.float64)
