"""Accuracies with their intervals as a picture, for reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sparsedoctor.core.errors import SparseDoctorError

if TYPE_CHECKING:
    from sparsedoctor.train.evaluate.comparing import Run


def draw_accuracies(runs: Sequence[Run], path: Path) -> None:
    """One panel a benchmark: each run's micro accuracy, its 95 % interval and chance.

    Raises SparseDoctorError when matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise SparseDoctorError(
            'the picture needs matplotlib; run pip install "sparsedoctor[train]"'
        ) from error
    matplotlib.use("Agg")  # no window, no display
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(run.benchmark for run in runs))
    longest = max(sum(run.benchmark == name for run in runs) for name in names)
    figure = Figure(figsize=(7, len(names) * (1.0 + 0.35 * longest)), layout="constrained")
    panels = figure.subplots(len(names), 1, squeeze=False)[:, 0]
    for panel, name in zip(panels, names, strict=True):
        members = [run for run in runs if run.benchmark == name][::-1]  # first run on top
        shares = [100 * run.result["accuracy"]["micro"] for run in members]
        bounds = [[100 * bound for bound in run.result["interval"]] for run in members]
        below = [share - low for share, (low, _) in zip(shares, bounds, strict=True)]
        above = [high - share for share, (_, high) in zip(shares, bounds, strict=True)]
        places = range(len(members))
        panel.errorbar(shares, places, xerr=[below, above], fmt="o", capsize=3, color="#1f5f8b")
        chance = 100 * members[0].result["baselines"]["chance"]
        panel.axvline(chance, linestyle="--", color="#888888", label="chance")
        panel.set_yticks(places, [run.name for run in members])
        panel.set_ylim(-0.6, len(members) - 0.4)
        panel.set_title(f"{members[0].result['title']} (n = {members[-1].result['n']})")
        panel.set_xlabel("accuracy, %")
        panel.legend(loc="lower right", fontsize="small")
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise SparseDoctorError(f"cannot write {path}: {error.strerror}") from error
