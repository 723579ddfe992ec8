"""Our runs beside published scores: each with its source, and what its protocol differs in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from sparsedoctor.train.evaluate.comparing import Run, read_run
from sparsedoctor.train.evaluate.summaries import percent

COLUMNS = {
    "cmb-exam": "CMB",
    "cmexam": "CMExam",
    "cmmlu-med": "CMMLU-Med",
    "cmmlu-med-o1": "CMMLU-Med (o1 list)",
    "cmmlu-med-apollo": "CMMLU-Med (Apollo list)",
    "medqa-zh": "MedQA-zh",
}
WARNING = (
    "Published scores are not comparable with each other: HuatuoGPT-II-7B on CMB stands here with "
    "three values, and an untouched Qwen2.5-7B-Instruct lies above it. Only rows of one run, "
    "scored alike (`sparsedoctor-eval compare`), show what a method does."
)


def published() -> dict[str, Any]:
    """The published scores with their sources, in percent."""
    file = resources.files("sparsedoctor.train.evaluate") / "published.json"
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return document


def leaderboard(folders: Sequence[Path]) -> str:
    """A Markdown table; our rows first. Raises SparseDoctorError for a folder that is no run."""
    document = published()
    runs = [read_run(folder) for folder in folders]
    marks = {name: str(i) for i, name in enumerate(document["sources"], 1)}
    lines = ["| model | " + " | ".join(COLUMNS.values()) + " | source |"]
    lines.append("|---|" + "---|" * (len(COLUMNS) + 1))
    ours, notes = _our_rows(runs)
    lines += ours
    for row in document["rows"]:
        cells = (f"{row[column]:.2f}" if column in row else "" for column in COLUMNS)
        lines.append(f"| {row['model']} | {' | '.join(cells)} | [{marks[row['source']]}] |")
    lines += ["", WARNING, ""]
    lines += [
        f"[{marks[name]}] {source['title']}: {source['protocol']}."
        for name, source in document["sources"].items()
    ]
    return "\n".join([*lines, *notes])


def _our_rows(runs: Sequence[Run]) -> tuple[list[str], list[str]]:
    """Runs of one model and protocol share a row; its notes say how it was scored."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    notes: dict[str, None] = {}
    for run in runs:
        if run.result["accuracy"] is None:
            continue
        found = _cells(run)
        if not found:
            notes[
                f"{run.result['title']} has no column here; `sparsedoctor-eval compare` shows it."
            ] = None
            continue
        settings = run.result["settings"]
        protocol = f"{settings['shots']}-shot, {settings['scoring']}"
        if settings["compatibility"]:
            protocol += f", as {settings['compatibility']}"
        cells = rows.setdefault((run.result["model"]["name"], protocol), {})
        cells |= found
        for caveat in run.result.get("caveats", []):
            notes[f"{run.result['title']} here: {caveat}."] = None
    lines = [
        f"| **{name}** ({protocol}) | "
        + " | ".join(cells.get(column, "") for column in COLUMNS)
        + " | this run |"
        for (name, protocol), cells in rows.items()
    ]
    return lines, list(notes)


def _cells(run: Run) -> dict[str, str]:
    """The columns that a run answers for; CMB by its published average, the mean of six types."""
    result: Mapping[str, Any] = run.result
    low, high = result["interval"]
    whole = f"{percent(result['accuracy']['micro'])} [{percent(low)}, {percent(high)}]"
    if run.benchmark == "cmb-exam" and "macro_categories" in result["accuracy"]:
        whole = f"{percent(result['accuracy']['macro_categories'])} (micro {whole})"
    cells = {run.benchmark: whole} if run.benchmark in COLUMNS else {}
    for name, row in result.get("lists", {}).items():
        if name in COLUMNS and name != run.benchmark:
            cells[name] = percent(row["micro"])
    return cells
