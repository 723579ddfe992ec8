"""How sure a score is, and whether two runs differ. Pure functions of counts and answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

import numpy as np
from numpy.typing import NDArray

from sparsedoctor.train.evaluate.questions import Question


@dataclass(frozen=True, slots=True)
class Tally:
    """Right answers of one group of questions."""

    n: int
    correct: int

    @property
    def accuracy(self) -> float:
        return self.correct / self.n if self.n else 0.0


def tally(questions: Sequence[Question], correct: Mapping[str, bool]) -> dict[str, Tally]:
    """Right answers by subject, in order of first appearance."""
    counts: dict[str, list[int]] = {}
    for question in questions:
        row = counts.setdefault(question.subject, [0, 0])
        row[0] += 1
        row[1] += correct[question.id]
    return {subject: Tally(*row) for subject, row in counts.items()}


def micro(rows: Mapping[str, Tally]) -> float:
    """Right answers over questions."""
    total = sum(row.n for row in rows.values())
    return sum(row.correct for row in rows.values()) / total if total else 0.0


def macro(rows: Mapping[str, Tally]) -> float:
    """Mean of the subjects' accuracies, each subject counting the same."""
    return fmean(row.accuracy for row in rows.values()) if rows else 0.0


def macro_categories(questions: Sequence[Question], correct: Mapping[str, bool]) -> float | None:
    """CMB's published average: classes averaged within each exam type, then the types.

    With all six types this is "macro-6"; None where questions carry no category.
    """
    categories = sorted({question.category for question in questions})
    if categories in ([], [""]):
        return None
    per_category = []
    for category in categories:
        members = [question for question in questions if question.category == category]
        per_category.append(macro(tally(members, correct)))
    return fmean(per_category)


def wilson(correct: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927)."""
    if n == 0:
        return (0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = correct / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At 0 and 1 the formula gives the bound itself, but for rounding.
    low = 0.0 if correct == 0 else max(0.0, middle - half)
    high = 1.0 if correct == n else min(1.0, middle + half)
    return (low, high)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of McNemar's test.

    `only_first` questions were right in the first run alone, `only_second` in the second alone;
    under no difference each discordant question is a fair coin.
    """
    n = only_first + only_second
    if n == 0:
        return 1.0
    tail = sum(math.comb(n, i) for i in range(min(only_first, only_second) + 1))
    return float(min(1.0, tail / 2 ** (n - 1)))


@dataclass(frozen=True, slots=True)
class Difference:
    """Second run minus first, on the same questions."""

    difference: float
    low: float
    high: float
    p: float  # two-sided, from the bootstrap


def paired_bootstrap(
    differences: Sequence[Sequence[float]],
    *,
    samples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """Resample questions and take the mean difference over benchmarks.

    `differences` holds for each benchmark one number a question: second run minus first, in right
    answers (1, 0 or -1) or in nats, or the mean of that over seeds (a question is then resampled
    with all its seeds, which are no questions of their own). Every benchmark is resampled by
    itself and counts the same. p is twice the share of resamples on the far side of zero, never
    below 2 / (samples + 1).
    """
    generator = np.random.default_rng(seed)
    drawn = np.zeros(samples)
    observed = 0.0
    for values in differences:
        if not values:
            raise ValueError("there is no question to compare")
        # A resample is one draw of how often each value occurs: few do, where answers are counted.
        kinds, counts = np.unique(np.round(np.asarray(values, dtype=float), 12), return_counts=True)
        n = len(values)
        for begin in range(0, samples, _AT_ONCE):
            block = drawn[begin : begin + _AT_ONCE]
            times = generator.multinomial(n, counts / n, len(block))
            block += times @ kinds / n / len(differences)
        observed += float(kinds @ counts) / n / len(differences)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Difference(observed, float(low), float(high), _two_sided(drawn))


def paired_loss(
    differences: Sequence[float],
    tokens: Sequence[float],
    *,
    samples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """Resample texts and take the summed difference of their losses over their summed tokens.

    For each text: second run minus first in nats (with several seeds the mean), and its tokens,
    which both runs share. The same p as `paired_bootstrap`.
    """
    apart, weights = np.asarray(differences, dtype=float), np.asarray(tokens, dtype=float)
    n = len(apart)
    if not n:
        raise ValueError("there is no text to compare")
    generator = np.random.default_rng(seed)
    drawn = np.empty(samples)
    for begin in range(0, samples, _AT_ONCE):
        block = drawn[begin : begin + _AT_ONCE]
        counts = generator.multinomial(n, np.full(n, 1 / n), len(block))
        block[:] = (counts @ apart) / (counts @ weights)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    observed = float(apart.sum() / weights.sum())
    return Difference(observed, float(low), float(high), _two_sided(drawn))


_AT_ONCE = 250  # resamples: 4,000 texts of them are 8 MB


def _two_sided(drawn: NDArray[np.float64]) -> float:
    drawn = np.round(drawn, 12)  # a sum that is zero but for rounding counts on both sides
    below = (int(np.sum(drawn <= 0)) + 1) / (len(drawn) + 1)
    above = (int(np.sum(drawn >= 0)) + 1) / (len(drawn) + 1)
    return min(1.0, 2 * min(below, above))


def answer_nats(scores: Mapping[str, float], gold: str) -> float:
    """-log of the probability of `gold` among the candidates that were scored, in nats.

    Moves long before accuracy does: a model whose choices are still guesses may already give the
    right option more than its share. Even guessing between n candidates costs log(n).
    """
    best = max(scores.values())
    whole = math.log(sum(math.exp(value - best) for value in scores.values()))
    return whole + best - scores[gold]


def pairwise_accuracy(scores: Mapping[str, float], gold: str) -> float:
    """The share of the other candidates that `gold` is scored above; a tie counts half.

    How often the right answer wins against one wrong one. Even guessing has a half of them, however
    many candidates there are (and where there is no other one). How sure a model is does not
    matter: where `answer_nats` is governed by a few answers that it was far too sure of, this is
    not.
    """
    others = [value for name, value in scores.items() if name != gold]
    own = scores[gold]
    return fmean(0.5 if value == own else float(value < own) for value in others or [own])


def chance(questions: Sequence[Question]) -> float:
    """Expected accuracy of guessing: one of n options, or one of 2^n - 1 sets of them."""
    return fmean(
        1 / (2 ** len(question.options) - 1) if question.multiple else 1 / len(question.options)
        for question in questions
    )


def always_one_letter(questions: Sequence[Question]) -> dict[str, float]:
    """Accuracy of answering the same letter to every question, by letter."""
    letters = sorted({letter for question in questions for letter in question.options})
    n = len(questions)
    return {
        letter: sum(question.answer == letter for question in questions) / n for letter in letters
    }


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (0 for a single value), over seeds."""
    mean = fmean(values)
    if len(values) < 2:
        return mean, 0.0
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
