"""Write TABLE.md of `eval_table.py` from the results that are there.

Six tables: accuracy with the paired test of the mean over benchmarks; losses with paired tests;
both of the answers once the row's liking for letters is taken off; how often the right answer is
scored above another one; every benchmark by itself (McNemar); what each row took.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from eval_table_rows import UNTRAINED
from eval_table_training import TRAIN_FILE

from sparsedoctor.train.evaluate.comparing import Run, read_run
from sparsedoctor.train.evaluate.comparing_scores import ABOVE, NATS, ScoreFigure
from sparsedoctor.train.evaluate.journal import Answer, write_text
from sparsedoctor.train.evaluate.letter_bias import without_letter_bias
from sparsedoctor.train.evaluate.statistics import (
    Difference,
    mcnemar,
    mean_and_deviation,
    paired_bootstrap,
    paired_loss,
)
from sparsedoctor.train.evaluate.summaries import difference_text, probability, signed

Seeds = Mapping[str, Mapping[str, Run]]  # seed -> benchmark or "loss" -> run
Pairs = Sequence[tuple[Run, Run]]  # a row and the reference, for each seed
Value = Callable[[Answer], float]


class Tested(NamedTuple):
    """Reference minus row."""

    over_seeds: Difference
    each: list[float]  # of every seed by itself


def write_table(
    output: Path, rows: Sequence[tuple[str, str]], benchmarks: Sequence[str], against: str
) -> None:
    """A line a row (name, title) in each table; a row without results yet has none.

    All others are tested against the row `against`.
    """
    labels = [*benchmarks, "loss"]
    found, fewer = of_most_questions(
        {name: finished(output / name, labels) for name, _ in rows}, labels
    )
    there = [(name, title) for name, title in rows if found[name]]
    reference = found.get(against, {})
    calibrated = {name: _calibrated(seeds, benchmarks) for name, seeds in found.items()}
    accuracy, loss, fair, above, tests, costs = _heads(benchmarks, dict(rows)[against])
    for name, title in there:
        seeds = found[name]
        other = reference if name != against else {}
        start = [title, str(len(seeds))]
        accuracy.append(
            [*start, *scores(seeds, benchmarks), *accuracy_test(seeds, other, benchmarks)]
        )
        loss.append([*start, *behind(NATS, seeds, other, benchmarks), *text_loss(seeds, other)])
        like = calibrated[against] if name != against else {}
        fair.append([*start, *calibrated_tests(calibrated[name], like, benchmarks)])
        above.append(
            [
                *start,
                *behind(ABOVE, seeds, other, benchmarks),
                *behind(ABOVE, calibrated[name], like, benchmarks),
            ]
        )
        tests += [[title, *cells] for cells in benchmark_tests(seeds, other, benchmarks)]
        costs.append([title, *cost(output / name)])
    blocks = ["\n".join(f"- {note}" for note in [*fewer, *remarks(found, benchmarks)])]
    if there:
        blocks = [
            _markdown(accuracy),
            f"Losses, on the same samples:\n\n{_markdown(loss)}",
            f"Answers with the liking for letters taken off:\n\n{_markdown(fair)}",
            "Of a right answer and another one, how often the right one is scored higher:\n\n"
            f"{_markdown(above)}",
            f"Each benchmark by itself, first seed:\n\n{_markdown(tests)}",
            f"What each row took:\n\n{_markdown(costs)}",
            *blocks,
        ]
    write_text(output / "TABLE.md", "\n\n".join(blocks) + "\n")


def _heads(benchmarks: Sequence[str], against: str) -> tuple[list[list[str]], ...]:
    against = against.partition(":")[0]  # a long title stands in its own row
    minus = f"{against} minus this (95 %)"
    start = ["row", "seeds"]
    return (
        [[*start, *benchmarks, "mean", minus, "p"]],
        [[*start, "right answer, nats", minus, "p", "texts, nats/token", minus, "p"]],
        [[*start, "accuracy", minus, "p", "right answer, nats", minus, "p"]],
        [[*start, "as scored", minus, "p", "liking for letters taken off", minus, "p"]],
        [["row", "benchmark", "n", f"only {against} right", "only this right", "McNemar p"]],
        [["row", "trained", "rate", "minutes", "peak memory"]],
    )


def finished(folder: Path, labels: Sequence[str]) -> dict[str, dict[str, Run]]:
    """The seeds of a row that have every result."""
    seeds = {}
    for seed in sorted((folder / UNTRAINED, *folder.glob("seed-*"))):
        if all((seed / label / "result.json").is_file() for label in labels):
            seeds[seed.name] = {label: read_run(seed / label) for label in labels}
    return seeds


def of_most_questions(
    found: Mapping[str, Seeds], labels: Sequence[str]
) -> tuple[dict[str, Seeds], list[str]]:
    """The seeds that answered as many questions as any did, and a remark on each other one: rows
    are compared on the same questions."""
    runs = [runs for seeds in found.values() for runs in seeds.values()]
    most = {label: max((one[label].result["n"] for one in runs), default=0) for label in labels}
    kept: dict[str, Seeds] = {}
    fewer = []
    for name, seeds in found.items():
        whole = {
            seed: runs
            for seed, runs in seeds.items()
            if all(runs[label].result["n"] == most[label] for label in labels)
        }
        kept[name] = whole
        fewer += [
            f"{name}, {seed}: answered fewer questions than other rows and is left out; name the "
            "row in --rows to have the rest asked"
            for seed in seeds
            if seed not in whole
        ]
    return kept, fewer


def scores(seeds: Seeds, benchmarks: Sequence[str]) -> list[str]:
    """Mean and deviation over seeds, in percent, of each benchmark and of their mean."""
    by_benchmark = [
        [100 * runs[name].result["accuracy"]["micro"] for runs in seeds.values()]
        for name in benchmarks
    ]
    means = [fmean(values) for values in zip(*by_benchmark, strict=True)]
    return [_mean(values) for values in (*by_benchmark, means)]


def accuracy_test(seeds: Seeds, reference: Seeds, benchmarks: Sequence[str]) -> list[str]:
    """Difference of the mean over benchmarks, in points."""
    found = _over_benchmarks(seeds, reference, benchmarks, lambda answer: float(answer.correct))
    return _cells(found, scale=100, digits=2)


def behind(
    figure: ScoreFigure, seeds: Seeds, reference: Seeds, benchmarks: Sequence[str]
) -> list[str]:
    """A figure of the scores behind the choices, mean over benchmarks, and the reference's less
    the row's."""
    found = _over_benchmarks(seeds, reference, benchmarks, figure.value)
    means = [figure.scale * mean for mean in _means(seeds, benchmarks, figure.value)]
    cells = _cells(found, scale=figure.scale, digits=figure.digits)
    return [_mean(means, figure.digits), *cells]


def calibrated_tests(seeds: Seeds, reference: Seeds, benchmarks: Sequence[str]) -> list[str]:
    """Accuracy and what the right answer costs, with their tests, of `_calibrated` seeds."""
    right = [100 * mean for mean in _means(seeds, benchmarks, lambda answer: float(answer.correct))]
    return [
        _mean(right),
        *accuracy_test(seeds, reference, benchmarks),
        *behind(NATS, seeds, reference, benchmarks),
    ]


def _calibrated(seeds: Seeds, benchmarks: Sequence[str]) -> Seeds:
    """The same runs with answers after batch calibration."""
    return {
        seed: {
            name: replace(
                runs[name],
                answers={a.id: a for a in without_letter_bias(list(runs[name].answers.values()))},
            )
            for name in benchmarks
        }
        for seed, runs in seeds.items()
    }


def _means(seeds: Seeds, benchmarks: Sequence[str], value: Value) -> list[float]:
    """For each seed the mean over benchmarks of the mean over questions."""
    return [
        fmean(fmean(map(value, runs[name].answers.values())) for name in benchmarks)
        for runs in seeds.values()
    ]


def text_loss(seeds: Seeds, reference: Seeds) -> list[str]:
    """The loss of the authors' texts, and how much less in the reference."""
    values = [runs["loss"].result["loss"]["nats_per_token"] for runs in seeds.values()]
    pairs = pairs_of(seeds, reference, "loss")
    if not pairs:
        return [_mean(values, 4), "", ""]
    tokens = [answer.scores["tokens"] for answer in pairs[0][0].answers.values()]
    gains = _gains(pairs, lambda answer: answer.scores["nats"])
    apart = [fmean(seeds) for seeds in gains]
    each = [sum(one) / sum(tokens) for one in zip(*gains, strict=True)]
    return [_mean(values, 4), *_cells(Tested(paired_loss(apart, tokens), each), digits=4)]


def benchmark_tests(seeds: Seeds, reference: Seeds, benchmarks: Sequence[str]) -> list[list[str]]:
    """McNemar's test of each benchmark and of all questions together, with the first seed: the
    same question of several seeds is no further question."""
    rows, all_n, all_theirs, all_ours = [], 0, 0, 0
    for name in benchmarks:
        pairs = pairs_of(seeds, reference, name)
        if not pairs:
            return []
        gained = [gain for (gain,) in _gains(pairs[:1], lambda answer: float(answer.correct))]
        theirs, ours = gained.count(1.0), gained.count(-1.0)
        rows.append([name, *_discordant(len(gained), theirs, ours)])
        all_n, all_theirs, all_ours = all_n + len(gained), all_theirs + theirs, all_ours + ours
    return [*rows, ["all", *_discordant(all_n, all_theirs, all_ours)]]


def _discordant(n: int, theirs: int, ours: int) -> list[str]:
    return [str(n), str(theirs), str(ours), probability(mcnemar(ours, theirs))]


def pairs_of(seeds: Seeds, reference: Seeds, label: str) -> Pairs:
    """A row and the reference with the same seed; an untrained one meets every seed."""
    if UNTRAINED in seeds:
        return [(seeds[UNTRAINED][label], theirs[label]) for theirs in reference.values()]
    if UNTRAINED in reference:
        return [(ours[label], reference[UNTRAINED][label]) for ours in seeds.values()]
    common = [seed for seed in seeds if seed in reference]
    return [(seeds[seed][label], reference[seed][label]) for seed in common]


def _over_benchmarks(
    seeds: Seeds, reference: Seeds, benchmarks: Sequence[str], value: Value
) -> Tested | None:
    """The mean over benchmarks; questions are drawn with all their seeds."""
    pairs = [pairs_of(seeds, reference, name) for name in benchmarks]
    if not all(pairs):
        return None
    gains = [_gains(each, value) for each in pairs]
    drawn = paired_bootstrap([[fmean(seeds) for seeds in each] for each in gains])
    by_benchmark = [[fmean(one) for one in zip(*each, strict=True)] for each in gains]
    return Tested(drawn, [fmean(one) for one in zip(*by_benchmark, strict=True)])


def _gains(pairs: Pairs, value: Value) -> list[list[float]]:
    """For each question, and each seed, the reference's value less the row's."""
    return [
        [value(theirs.answers[key]) - value(ours.answers[key]) for ours, theirs in pairs]
        for key in pairs[0][0].answers
    ]


def _cells(found: Tested | None, *, digits: int, scale: float = 1.0) -> list[str]:
    """Difference and interval, with several seeds followed by that of each, and p."""
    if found is None:
        return ["", ""]
    drawn, each = found
    seeds = ", ".join(signed(scale * one, digits) for one in each)
    apart = f"; {seeds}" if len(each) > 1 else ""
    return [f"{difference_text(drawn, digits=digits, scale=scale)}{apart}", probability(drawn.p)]


def cost(folder: Path) -> list[str]:
    """Trained parameters, learning rate, minutes and peak memory; empty for the base."""
    files = sorted(folder.glob(f"seed-*/{TRAIN_FILE}"))
    if not files:
        return ["", "", "", ""]
    documents = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    first = documents[0]
    trained = f"{first['parameters'] / 1e6:.2f} M"
    # A training that was stopped before it wrote what it took has neither figure.
    timed = [document for document in documents if "seconds" in document]
    if not timed:
        return [trained, f"{first['rate']:g}", "unknown", "unknown"]
    minutes = fmean(document["seconds"] for document in timed) / 60
    peak = max(document["peak_bytes"] for document in timed) / 1e9
    return [trained, f"{first['rate']:g}", f"{minutes:.1f}", f"{peak:.1f} GB"]


def remarks(found: Mapping[str, Seeds], benchmarks: Sequence[str]) -> list[str]:
    """What a reader must know: chance, samples, few seeds."""
    notes = [
        "accuracies in percent, micro, mean ± deviation over seeds; p: paired bootstrap of "
        "questions, the mean over benchmarks, two-sided, not corrected for the number of rows; "
        "after an interval the difference of each seed, where there are several",
        "right answer: -log of its probability among the options (for several right options, among "
        "all sets of them), mean over benchmarks; texts: explanations or authors' answers",
        "liking for letters: each option's probability is divided by its mean over the other "
        "questions with the same options (batch calibration)",
        "the right one scored higher: in percent of pairs, each question counting alike, mean over "
        "benchmarks; even guessing has 50",
    ]
    first = next((runs for seeds in found.values() for runs in seeds.values()), None)
    if first is None:
        return notes
    for name in benchmarks:
        notes += _benchmark_remarks(name, first[name].result, found)
    if any(len(seeds) < 3 for name, seeds in found.items() if seeds and name != "base"):
        notes.append("fewer than three seeds: the deviation says little")
    return notes


def _benchmark_remarks(
    name: str, result: Mapping[str, Any], found: Mapping[str, Seeds]
) -> list[str]:
    chance, n = result["baselines"]["chance"], result["n"]
    always = result["baselines"]["always_one_letter"]
    notes = [
        f"{name}: n = {n}, chance {100 * chance:.2f} %, "
        f"always {always['letter']} {100 * always['accuracy']:.2f} %; even guessing costs "
        f"{result['answer_loss']['even_guessing']:.4f} nats"
    ]
    best = max(
        runs[name].result["interval"][0] for seeds in found.values() for runs in seeds.values()
    )
    if best <= max(chance, always["accuracy"]):
        notes.append(
            f"{name}: no row is clearly above guessing; what separates the rows are losses, those "
            "of answers once the liking for letters is taken off"
        )
    return notes + [f"{name}: {caveat}" for caveat in result["caveats"]]


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its head."""
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _mean(values: Sequence[float], digits: int = 2) -> str:
    mean, deviation = mean_and_deviation(values)
    spread = f" ± {deviation:.{digits}f}" if len(values) > 1 else ""
    return f"{mean:.{digits}f}{spread}"
