"""Runs beside each other: a table in Markdown, a picture, paired tests against the first run.

Runs of the same model name and protocol over several benchmarks make one row; runs of several
seeds are told apart by their folders. A test compares answers to the same questions only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.evaluate.comparing_scores import score_table, text_loss_apart
from sparsedoctor.train.evaluate.journal import RESULT, Answer, read_answers, write_text
from sparsedoctor.train.evaluate.statistics import Difference, mcnemar, paired_bootstrap
from sparsedoctor.train.evaluate.summaries import (
    difference_text,
    open_figure,
    percent,
    probability,
)


@dataclass(frozen=True, slots=True)
class Run:
    """One finished run."""

    name: str  # its folder
    folder: Path
    result: Mapping[str, Any]
    answers: Mapping[str, Answer]

    @property
    def benchmark(self) -> str:
        return str(self.result["benchmark"])

    @property
    def scored(self) -> bool:
        """Whether its answers are right or wrong; else they are texts."""
        return self.result["accuracy"] is not None


@dataclass(frozen=True, slots=True)
class Paired:
    """A run against the first run of its benchmark."""

    common: int  # questions that both answered
    only_first: int
    only_this: int
    same_choice: int
    p: float  # McNemar
    difference: Difference


def read_run(folder: Path) -> Run:
    """A run's folder. Raises SparseDoctorError when it is none, or not finished."""
    path = folder / RESULT
    if not path.is_file():
        raise SparseDoctorError(
            f"{folder} holds no {RESULT}; give folders that sparsedoctor-eval run has finished"
        )
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        benchmark, settings = result["benchmark"], result["settings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SparseDoctorError(f"{path} is damaged ({error}); run it again") from error
    first = folder
    if not (folder / "answers.jsonl").is_file() and result.get("seeds"):
        first = folder / f"seed-{settings['seed']}"
    answers = {answer.id: answer for answer in read_answers(first)}
    if not answers:
        raise SparseDoctorError(f"{folder} holds no answers to {benchmark}")
    return Run(folder.name or str(folder), folder, result, answers)


def paired(first: Run, other: Run) -> Paired | None:
    """Compare two runs of one benchmark; None when they answered no question in common."""
    if not (first.scored and other.scored):
        return None
    common = [name for name in first.answers if name in other.answers]
    if not common:
        return None
    before = [first.answers[name].correct for name in common]
    after = [other.answers[name].correct for name in common]
    only_first = sum(a and not b for a, b in zip(before, after, strict=True))
    only_this = sum(b and not a for a, b in zip(before, after, strict=True))
    same = sum(first.answers[name].chosen == other.answers[name].chosen for name in common)
    return Paired(
        len(common),
        only_first,
        only_this,
        same,
        mcnemar(only_first, only_this),
        paired_bootstrap([[int(b) - int(a) for a, b in zip(before, after, strict=True)]]),
    )


def compare(folders: Sequence[Path], output: Path | None) -> str:
    """The table in Markdown; with `output` also as `compare.md` and `compare.png` there."""
    runs = _distinct([read_run(folder) for folder in folders])
    text = table(runs)
    if output is None:
        return text
    write_text(output / "compare.md", text + "\n")
    scored = [run for run in runs if run.scored]
    if not scored:
        return text
    from sparsedoctor.train.evaluate.pictures import draw_accuracies

    draw_accuracies(scored, output / "compare.png")
    return f"{text}\n\nwritten: {output / 'compare.md'}, {output / 'compare.png'}"


def table(runs: Sequence[Run]) -> str:
    """One block for each benchmark, and another one where texts of it were scored as well; the
    first run of each block is what its others are tested against."""
    blocks: dict[tuple[str, bool], list[Run]] = {}
    for run in runs:
        blocks.setdefault((run.benchmark, run.scored), []).append(run)
    texts = []
    for (_, scored), members in blocks.items():
        block = _exam_block(members) if scored else _open_block(members)
        texts.append("\n".join([f"### {members[0].result['title']}", "", *block]))
    return "\n\n".join(texts)


def _exam_block(runs: Sequence[Run]) -> list[str]:
    first = runs[0]
    lines = [
        f"| run | model | n | micro (95 %) | macro | invalid | difference to {first.name} "
        "| McNemar p | same choice |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    against = [None if run is first else paired(first, run) for run in runs]
    lines += [_row(first, run, found) for run, found in zip(runs, against, strict=True)]
    baselines = first.result["baselines"]
    always = baselines["always_one_letter"]
    lines += [
        f"| | chance | | {percent(baselines['chance'])} | | | | | |",
        f"| | always {always['letter']} | | {percent(always['accuracy'])} | | | | | |",
        "",
    ]
    behind = score_table(runs)
    if behind:
        lines += ["Scores behind the choices, which move before accuracy does:", "", *behind, ""]
    return lines + [f"- {note}" for note in _notes(runs, against)]


def _open_block(runs: Sequence[Run]) -> list[str]:
    """Losses of texts with paired tests, or the overlap of written answers with the authors'."""
    first = runs[0]
    lines = [
        f"| run | model | n | figure | difference to {first.name}, bits/byte (95 %) | p |",
        "|---|---|---|---|---|---|",
    ]
    for run in runs:
        found = None
        if run is not first and "loss" in run.result and "loss" in first.result:
            found = text_loss_apart(first.answers, run.answers)
        tests = "| |"
        if found is not None:
            n, apart = found
            shown = difference_text(apart, digits=4)
            tests = f"| {shown} of {n} texts | {probability(apart.p)} |"
        figure = f"{run.result['n']} | {open_figure(run.result)}"
        lines.append(f"| {run.name} | {run.result['model']['name']} | {figure} {tests}")
    return lines


def _row(first: Run, run: Run, against: Paired | None) -> str:
    result = run.result
    low, high = result["interval"]
    tests = "| | | |"
    if against is not None:
        tests = (
            f"| {difference_text(against.difference, digits=2, scale=100)} "
            f"| {probability(against.p)} | {percent(against.same_choice / against.common)} |"
        )
    elif run is not first:
        tests = "| no common questions | | |"
    micro = f"{percent(result['accuracy']['micro'])} [{percent(low)}, {percent(high)}]"
    return (
        f"| {run.name} | {result['model']['name']} | {result['n']} | {micro} "
        f"| {percent(result['accuracy']['macro'])} | {percent(result['invalid_rate'])} {tests}"
    )


def _notes(runs: Sequence[Run], against: Sequence[Paired | None]) -> list[str]:
    """What a reader must know before comparing: protocols, caveats, differing data."""
    notes = []
    protocols = {json.dumps(run.result["settings"], sort_keys=True) for run in runs}
    if len(protocols) > 1:
        notes.append("the runs differ in protocol (settings in each result.json)")
    if len({run.result["hashes"]["data"] for run in runs}) > 1:
        notes.append("the runs read different data files")
    for run, found in zip(runs, against, strict=True):
        if found is not None and found.common < max(run.result["n"], runs[0].result["n"]):
            notes.append(
                f"{run.name}: difference, p and same choice are of the {found.common} questions "
                f"that {runs[0].name} answered too"
            )
    for run in runs:
        notes += [f"{run.name}: {caveat}" for caveat in run.result.get("caveats", [])]
        if "over_seeds" in run.result:
            over = run.result["over_seeds"]
            notes.append(
                f"{run.name}: over {len(run.result['seeds'])} seeds "
                f"{100 * over['mean']:.2f} ± {100 * over['deviation']:.2f} %"
            )
    return notes


def _distinct(runs: Sequence[Run]) -> list[Run]:
    """Runs with names that tell them apart: with as many parent folders as that takes."""
    found = list(runs)
    depth = 1
    while True:
        names = [(run.benchmark, run.scored, run.name) for run in found]
        longer = [names.count(name) > 1 for name in names]
        depth += 1
        parts = [run.folder.resolve().parts for run in runs]
        if not any(longer) or depth > max(map(len, parts)):
            return found  # the same folder, given twice, stays as it is
        found = [
            replace(run, name="/".join(path[-depth:])) if same else run
            for run, path, same in zip(found, parts, longer, strict=True)
        ]
