"""Learn the table of `likeness.py` from the situations under descriptions/.

    python -m sparsedoctor.app.consultation.triage.learn [--check]

The files hold a line each: set, label, text, parted by tabs. Sets were written at different times,
most by writers who did not know the rules; what a writer wrote is scored by a table learned from
all others, and the thresholds are read off those scores: an emergency is called where one in
`FALSE_ALARM` of the harmless texts would be. The rules' own examples are learned from as well.
--check prints the scores and writes nothing.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsedoctor.app.consultation.assessment import Urgency
from sparsedoctor.app.consultation.language import language_of
from sparsedoctor.app.consultation.triage.assess import Reading
from sparsedoctor.app.consultation.triage.book import rule_book
from sparsedoctor.app.consultation.triage.likeness import (
    DAMPING,
    KINDS,
    Features,
    Table,
    likeness,
    stretches,
)
from sparsedoctor.core.errors import SparseDoctorError, run_command

ALARMING = ("emergency", "crisis")
HARMLESS = ("days", "selfcare", "info", "past", "chat")
FALSE_ALARM = {"emergency": 0.03, "today": 0.12, "crisis": 0.007}  # share of harmless texts
_EXAMPLES = "rules"  # the set of the rules' own examples, always learned from
_EVERYDAY = "everyday"  # writer of the sets of plain small complaints: not for thresholds
_DECAY = 0.03  # L2
_SEEN = 2  # a feature must stand in so many texts

Vector = NDArray[np.float64]
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Description:
    """One situation in somebody's words. `label`: emergency, crisis, today, days, selfcare, info
    (asked in general), past (over, or denied) or chat (about something else)."""

    set: str
    label: str
    text: str

    @property
    def writer(self) -> str:
        """The set without its language; the first sets are four rounds of the same writers."""
        return self.set[2:].lstrip("-1234")

    @property
    def reading(self) -> Reading:
        return Reading(rule_book(), self.text, None, None, False, ())

    @property
    def features(self) -> Features:
        """Of the whole text."""
        whole: Features = {}
        for stretch in stretches(self.reading):
            whole = {**stretch, **whole}
        return whole


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="print the scores, write nothing")
    options = parser.parse_args()
    learned = learn(read_descriptions())
    if not options.check:
        _write(learned)
    return 0


def learn(described: Sequence[Description]) -> Table:
    """Weights and thresholds from these situations; prints what the thresholds find."""
    found = [d.features for d in described]
    return replace(fit(found, described), thresholds=_thresholds(described, found))


def read_descriptions(folder: Path = _HERE / "descriptions") -> list[Description]:
    """The situations of all files and the rules' own examples."""
    described = []
    for path in sorted(folder.glob("*.tsv")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            parts = line.split("\t")
            if len(parts) != 3 or parts[1] not in (*ALARMING, "today", *HARMLESS):
                raise SparseDoctorError(f"{path.name}, line {number}: not set, label and text")
            described.append(Description(*parts))
    for rule in rule_book().rules:
        label = "crisis" if rule.crisis else rule.urgency.value
        label = "selfcare" if rule.urgency is Urgency.SELF_CARE else label
        described += [Description(_EXAMPLES, label, text) for text in rule.fires_on]
    return described


def fit(features: Sequence[Features], described: Sequence[Description]) -> Table:
    """Weights of every feature that stands in at least two texts; no thresholds."""
    seen = Counter(feature for found in features for feature in found)
    names = sorted(feature for feature, number in seen.items() if number >= _SEEN)
    index = {name: i for i, name in enumerate(names)}
    columns = [[index[f] for f in found if f in index] for found in features]
    solved = []
    for kind in KINDS:
        labels = ALARMING if kind == "emergency" else (kind,)
        wanted = np.array([float(d.label in labels) for d in described])
        solved.append(_logistic(columns, wanted, len(names)))
    weights = {
        name: (round(float(solved[0][i]), 3), round(float(solved[1][i]), 3))
        for name, i in index.items()
    }
    return Table(weights, (float(solved[0][-1]), float(solved[1][-1])), {})


def _logistic(columns: Sequence[Sequence[int]], wanted: Vector, size: int) -> Vector:
    """Weights and, last, the bias of a logistic regression, by L-BFGS."""
    row = np.repeat(np.arange(len(columns)), [len(c) for c in columns])
    column = np.concatenate([np.asarray(c, dtype=np.int64) for c in columns])
    value = np.repeat([1 / np.sqrt(len(c) + DAMPING) for c in columns], [len(c) for c in columns])

    def loss(at: Vector) -> tuple[float, Vector]:
        score = np.bincount(row, value * at[column], len(columns)) + at[size]
        error = 1 / (1 + np.exp(-score)) - wanted
        slope = np.append(np.bincount(column, value * error[row], size), error.sum())
        slope[:size] += 2 * _DECAY * at[:size]
        return float(
            np.logaddexp(0, score).sum() - wanted @ score + _DECAY * (at[:size] ** 2).sum()
        ), slope

    at = np.zeros(size + 1)
    now, slope = loss(at)
    history: list[tuple[Vector, Vector]] = []
    for _ in range(300):
        step = _direction(slope, history)
        length = 1.0 if history else 1 / float(np.linalg.norm(slope))
        while True:
            there = at - length * step
            then, new = loss(there)
            if then <= now - 1e-4 * length * float(slope @ step) or length < 1e-10:
                break
            length /= 2
        if float((there - at) @ (new - slope)) > 1e-12:
            history = [*history[-9:], (there - at, new - slope)]
        at, now, slope = there, then, new
        if np.linalg.norm(slope) < 1e-2:
            break
    return at


def _direction(slope: Vector, history: Sequence[tuple[Vector, Vector]]) -> Vector:
    """Nocedal's two-loop recursion."""
    step = slope.copy()
    parts = []
    for moved, turned in reversed(history):
        part = float(moved @ step) / float(moved @ turned)
        parts.append(part)
        step -= part * turned
    if history:
        moved, turned = history[-1]
        step *= float(moved @ turned) / float(turned @ turned)
    for (moved, turned), part in zip(history, reversed(parts), strict=True):
        step += moved * (part - float(turned @ step) / float(moved @ turned))
    return step


def _thresholds(
    described: Sequence[Description], features: Sequence[Features]
) -> dict[tuple[str, str], float]:
    """Read off what each writer's texts score by a table without that writer; prints them."""
    scores: dict[int, tuple[float, float]] = {}
    for held in sorted({d.writer for d in described if d.set != _EXAMPLES} - {_EVERYDAY}):
        rest = [i for i, d in enumerate(described) if d.writer != held]
        learned = fit([features[i] for i in rest], [described[i] for i in rest])
        for i, d in enumerate(described):
            if d.writer == held:
                found = likeness(d.reading, learned)
                scores[i] = (found.emergency, found.crisis)
    result = {}
    for language in ("en", "zh"):
        here = [i for i in scores if language_of(described[i].text) == language]
        for level, share in FALSE_ALARM.items():
            kind = KINDS.index("crisis" if level == "crisis" else "emergency")
            # An emergency that is called a crisis is called at least; harmless texts must not be.
            harmless = [scores[i][kind] for i in here if described[i].label in HARMLESS]
            wanted = ("crisis",) if level == "crisis" else ALARMING
            sought = np.array([scores[i][kind] for i in here if described[i].label in wanted])
            limit = float(np.quantile(harmless, 1 - share))
            result[level, language] = round(limit, 3)
            print(
                f"{language} {level:9} threshold {limit:6.2f}: {len(harmless)} harmless texts, "
                f"{share:.0%} of them called; {np.mean(sought >= limit):.1%} of {len(sought)} found"
            )
    return result


def _write(learned: Table) -> None:
    lines = [
        "# Learned by learn.py from descriptions/: feature, weight for an emergency, for a crisis.",
        f"#bias\t{learned.bias[0]:.3f}\t{learned.bias[1]:.3f}",
        *(
            f"#threshold\t{level}\t{language}\t{value}"
            for (level, language), value in learned.thresholds.items()
        ),
        *(
            f"{name}\t{first:g}\t{second:g}"
            for name, (first, second) in sorted(learned.weights.items())
            if abs(first) >= 0.02 or abs(second) >= 0.02
        ),
    ]
    (_HERE / "likeness.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(run_command(main))
