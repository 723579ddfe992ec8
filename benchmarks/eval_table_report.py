"""Write TABLE.md of `eval_table.py` from the results that are there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from sparsedoctor.train.evaluate.comparing import Run, probability, read_run
from sparsedoctor.train.evaluate.statistics import mean_and_deviation, paired_bootstrap

REFERENCE = "sparsedoctor"  # the row that the others are tested against
Seeds = Mapping[str, Mapping[str, Run]]  # seed -> benchmark or "loss" -> run


def write_table(output: Path, rows: Sequence[tuple[str, str]], benchmarks: Sequence[str]) -> None:
    """One line a row (name, title); a row without results yet has none."""
    found = {name: finished(output / name, [*benchmarks, "loss"]) for name, _ in rows}
    reference = found.get(REFERENCE, {})
    heads = [*benchmarks, "mean", "SparseDoctor minus this (95 %)", "p", "loss, nats/token"]
    heads += ["trained", "minutes", "peak memory"]
    lines = [f"| row | seeds | {' | '.join(heads)} |", "|---|---|" + "---|" * len(heads)]
    for name, title in rows:
        if found[name]:
            cells = [*scores(found[name], benchmarks)]
            cells += against(found[name], reference, benchmarks) if name != REFERENCE else ["", ""]
            cells += [losses(found[name]), *costs(output / name)]
            lines.append(f"| {title} | {len(found[name])} | {' | '.join(cells)} |")
    notes = remarks(found, benchmarks)
    text = "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"
    (output / "TABLE.md").write_text(text, encoding="utf-8")


def finished(folder: Path, labels: Sequence[str]) -> dict[str, dict[str, Run]]:
    """The seeds of a row that have every result."""
    seeds = {}
    for seed in sorted(folder.glob("seed-*")):
        if all((seed / label / "result.json").is_file() for label in labels):
            seeds[seed.name] = {label: read_run(seed / label) for label in labels}
    return seeds


def scores(seeds: Seeds, benchmarks: Sequence[str]) -> list[str]:
    """Mean and deviation over seeds, in percent, of each benchmark and of their mean."""
    by_benchmark = [
        [100 * runs[name].result["accuracy"]["micro"] for runs in seeds.values()]
        for name in benchmarks
    ]
    means = [fmean(values) for values in zip(*by_benchmark, strict=True)]
    return [_mean(values) for values in (*by_benchmark, means)]


def against(seeds: Seeds, reference: Seeds, benchmarks: Sequence[str]) -> list[str]:
    """Difference of the mean over benchmarks, questions resampled with all their seeds.

    Seeds are paired in their order; an untrained row meets every seed of the reference.
    """
    if not reference:
        return ["", ""]
    ours, theirs = list(seeds.values()), list(reference.values())
    count = len(theirs) if len(ours) == 1 else min(len(ours), len(theirs))
    differences = []
    for name in benchmarks:
        pairs = [(ours[i if len(ours) > 1 else 0][name], theirs[i][name]) for i in range(count)]
        differences.append([fmean(_gained(pairs, key)) for key in pairs[0][0].answers])
    found = paired_bootstrap(differences)
    low, high = 100 * found.low, 100 * found.high
    return [f"{100 * found.difference:+.2f} [{low:+.2f}, {high:+.2f}]", probability(found.p)]


def _gained(pairs: Sequence[tuple[Run, Run]], key: str) -> list[int]:
    """1, 0 or -1 for each seed: what the second run gains over the first on one question."""
    return [int(b.answers[key].correct) - int(a.answers[key].correct) for a, b in pairs]


def losses(seeds: Seeds) -> str:
    values = [runs["loss"].result["loss"]["nats_per_token"] for runs in seeds.values()]
    return _mean(values, 4)


def costs(folder: Path) -> list[str]:
    """Trained parameters, minutes and peak memory; empty for the base."""
    files = sorted(folder.glob("seed-*/train.json"))
    if not files:
        return ["", "", ""]
    documents = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    minutes = fmean(document["seconds"] for document in documents) / 60
    peak = max(document["peak_bytes"] for document in documents) / 1e9
    return [f"{documents[0]['parameters'] / 1e6:.2f} M", f"{minutes:.1f}", f"{peak:.1f} GB"]


def remarks(found: Mapping[str, Seeds], benchmarks: Sequence[str]) -> list[str]:
    """What a reader must know: chance, samples, few seeds."""
    notes = [
        "accuracies in percent, micro, mean ± deviation over seeds; p: paired bootstrap of "
        "questions, the mean over benchmarks, two-sided"
    ]
    first = next((runs for seeds in found.values() for runs in seeds.values()), None)
    if first is None:
        return notes
    for name in benchmarks:
        result = first[name].result
        chance, n = result["baselines"]["chance"], result["n"]
        always = result["baselines"]["always_one_letter"]
        notes.append(
            f"{name}: n = {n}, chance {100 * chance:.2f} %, "
            f"always {always['letter']} {100 * always['accuracy']:.2f} %"
        )
        best = max(
            run.result["interval"][0]
            for seeds in found.values()
            for runs in seeds.values()
            for run in (runs[name],)
        )
        if best <= max(chance, always["accuracy"]):
            notes.append(
                f"{name}: no row is clearly above guessing; the held-out loss is the figure "
                "that separates the rows"
            )
        notes += [f"{name}: {caveat}" for caveat in result["caveats"]]
    if any(len(seeds) < 3 for name, seeds in found.items() if seeds and name != "base"):
        notes.append("fewer than three seeds: the deviation says little")
    return notes


def _mean(values: Sequence[float], digits: int = 2) -> str:
    mean, deviation = mean_and_deviation(values)
    spread = f" ± {deviation:.{digits}f}" if len(values) > 1 else ""
    return f"{mean:.{digits}f}{spread}"
