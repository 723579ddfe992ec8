"""Runs beside each other: a table in Markdown, a picture, paired tests against the first run.

Runs of the same model name and protocol over several benchmarks make one row; runs of several
seeds are told apart by their folders. A test compares answers to the same questions only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.evaluate.journal import RESULT, Answer, read_answers, write_text
from sparsedoctor.train.evaluate.statistics import Difference, mcnemar, paired_bootstrap
from sparsedoctor.train.evaluate.summaries import open_figure, percent


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
    if first.result["accuracy"] is None or other.result["accuracy"] is None:
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
    scored = [run for run in runs if run.result["accuracy"] is not None]
    if not scored:
        return text
    from sparsedoctor.train.evaluate.pictures import draw_accuracies

    draw_accuracies(scored, output / "compare.png")
    return f"{text}\n\nwritten: {output / 'compare.md'}, {output / 'compare.png'}"


def table(runs: Sequence[Run]) -> str:
    """One block for each benchmark, the first run of each being what the others are tested
    against."""
    blocks = []
    for benchmark in dict.fromkeys(run.benchmark for run in runs):
        members = [run for run in runs if run.benchmark == benchmark]
        blocks.append("\n".join(_block(members)))
    return "\n\n".join(blocks)


def _block(runs: Sequence[Run]) -> list[str]:
    first = runs[0]
    lines = [f"### {first.result['title']}", ""]
    if first.result["accuracy"] is None:
        lines += ["| run | model | n | figure |", "|---|---|---|---|"]
        return lines + [
            f"| {run.name} | {run.result['model']['name']} | {run.result['n']} "
            f"| {open_figure(run.result)} |"
            for run in runs
            if run.result["accuracy"] is None
        ]
    lines += [
        f"| run | model | n | micro (95 %) | macro | invalid | difference to {first.name} "
        "| McNemar p | same choice |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    scored = [run for run in runs if run.result["accuracy"] is not None]
    against = [None if run is first else paired(first, run) for run in scored]
    lines += [_row(first, run, found) for run, found in zip(scored, against, strict=True)]
    baselines = first.result["baselines"]
    always = baselines["always_one_letter"]
    lines += [
        f"| | chance | | {percent(baselines['chance'])} | | | | | |",
        f"| | always {always['letter']} | | {percent(always['accuracy'])} | | | | | |",
        "",
        *(f"- {note}" for note in _notes(scored, against)),
    ]
    return lines


def _row(first: Run, run: Run, against: Paired | None) -> str:
    result = run.result
    low, high = result["interval"]
    tests = "| | | |"
    if against is not None:
        found = against.difference
        tests = (
            f"| {100 * found.difference:+.2f} [{100 * found.low:+.2f}, {100 * found.high:+.2f}] "
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


def probability(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def _distinct(runs: Sequence[Run]) -> list[Run]:
    """Runs with names that tell them apart: with their parent folder where needed."""
    names = [(run.benchmark, run.name) for run in runs]
    return [
        Run(f"{run.folder.resolve().parent.name}/{run.name}", run.folder, run.result, run.answers)
        if names.count((run.benchmark, run.name)) > 1
        else run
        for run in runs
    ]
