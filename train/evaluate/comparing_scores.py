"""Paired tests of what stands behind two runs' choices: it moves long before accuracy does.

Near chance most questions are guesses of either run, and a test of accuracy sees large differences
only. Scores of options and losses of texts say more, one number a question or text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from sparsedoctor.train.evaluate.journal import Answer
from sparsedoctor.train.evaluate.letter_bias import is_liking_for_letters, without_letter_bias
from sparsedoctor.train.evaluate.statistics import (
    Difference,
    answer_nats,
    paired_bootstrap,
    paired_loss,
    pairwise_accuracy,
)
from sparsedoctor.train.evaluate.summaries import difference_text, percent, probability

if TYPE_CHECKING:
    from sparsedoctor.train.evaluate.comparing import Run

Answers = Mapping[str, Answer]


class ScoreFigure(NamedTuple):
    """A number that every scored answer has."""

    title: str
    value: Callable[[Answer], float]
    calibrated: bool = False  # with the run's liking for letters taken off
    percent: bool = False

    @property
    def scale(self) -> float:
        """What it is multiplied by to be shown."""
        return 100.0 if self.percent else 1.0

    @property
    def digits(self) -> int:
        """Behind its point, where a difference is shown."""
        return 2 if self.percent else 4


def _nats(answer: Answer) -> float:
    return answer_nats(answer.scores, answer.gold)


def _above(answer: Answer) -> float:
    return pairwise_accuracy(answer.scores, answer.gold)


NATS = ScoreFigure("right answer, nats", _nats)
ABOVE = ScoreFigure("right answer above another", _above, percent=True)
SCORE_FIGURES = (
    NATS,
    NATS._replace(title="right answer, nats, liking for letters taken off", calibrated=True),
    ABOVE,
    ABOVE._replace(title="right answer above another, liking taken off", calibrated=True),
)


def score_table(runs: Sequence[Run]) -> list[str]:
    """Lines of a table of the runs that scored options, each tested against the first of them.

    Empty where fewer than two did. A test is of the questions whose candidates both scored.
    """
    scored = [run for run in runs if "answer_loss" in run.result]
    if len(scored) < 2:
        return []
    first = scored[0]
    lines = [
        f"| figure | run | mean | difference to {first.name} (95 %) | p |",
        "|---|---|---|---|---|",
    ]
    by_letter = all(_answered_by_letter(run) for run in scored)
    answers = {False: [list(run.answers.values()) for run in scored]}
    if by_letter:
        answers[True] = [without_letter_bias(found) for found in answers[False]]
    common = [_same_candidates(first.answers, run.answers) for run in scored]
    for figure in SCORE_FIGURES:
        if figure.calibrated and not by_letter:
            continue
        values = [{a.id: figure.value(a) for a in found} for found in answers[figure.calibrated]]
        for run, now, ids in zip(scored, values, common, strict=True):
            mean = fmean(now.values())
            shown = percent(mean) if figure.percent else f"{mean:.4f}"
            gains = [now[name] - values[0][name] for name in ids]
            tests = ["", ""] if run is first else _cells(gains, figure)
            lines.append(f"| {' | '.join([figure.title, run.name, shown, *tests])} |")
    return lines


def _answered_by_letter(run: Run) -> bool:
    settings = run.result["settings"]
    return is_liking_for_letters(settings["scoring"], settings["candidates"])


def _cells(gains: Sequence[float], figure: ScoreFigure) -> list[str]:
    if not gains:
        return ["no common questions", ""]
    found = paired_bootstrap([gains])
    return [
        difference_text(found, digits=figure.digits, scale=figure.scale),
        probability(found.p),
    ]


def _same_candidates(first: Answers, other: Answers) -> list[str]:
    """Ids of the questions that both answered among the same candidates."""
    return [
        name
        for name, answer in first.items()
        if name in other and set(other[name].scores) == set(answer.scores)
    ]


def text_loss_apart(first: Answers, other: Answers) -> tuple[int, Difference] | None:
    """How many texts both runs scored, and the second's loss less the first's, in bits a byte.

    Bytes are the same for every vocabulary, tokens are not. None where no text is common.
    """
    common = [
        name
        for name, answer in first.items()
        if name in other and other[name].scores["bytes"] == answer.scores["bytes"]
    ]
    if not common:
        return None
    nats = [other[name].scores["nats"] - first[name].scores["nats"] for name in common]
    lengths = [first[name].scores["bytes"] for name in common]
    return len(common), paired_loss([one / math.log(2) for one in nats], lengths)
