"""How much a text is like descriptions of emergencies: a second net under the rules.

The rules know an emergency by words that somebody foresaw. People find others. So each stretch of
one to three sentences that no rule called an emergency is scored by a logistic regression over
its words and pairs of words (Chinese: characters and runs of up to three), learned from the
situations under descriptions/ by `learn.py`:

    score = (sum of the weights of the known features) / sqrt(their number + 10) + bias

(+ 10: a few words alone shall not weigh as much as a story.)

It is arithmetic on a table that ships with the program: no language model, the same every time.
It only ever raises the urgency. Negated, past and hypothetical words are left out (scope.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.consultation.triage.lexicon import Span
from sparsedoctor.app.consultation.triage.text import Text

KINDS = ("emergency", "crisis")  # what is learned, each with a weight of its own
LEVELS = ("emergency", "crisis", "today")  # what a threshold exists for
DAMPING = 10  # features
_SENTENCES = 3  # of the longest stretch
_BREAK = ","  # stands for words that are not meant of anybody now
_HAN = "\u3400"

Features = dict[str, Span]  # feature -> where it stands first, in tokens


@dataclass(frozen=True, slots=True)
class Table:
    """What was learned. Scores are log-odds."""

    weights: Mapping[str, tuple[float, float]]  # by feature, of each of KINDS
    bias: tuple[float, float]
    thresholds: Mapping[tuple[str, str], float]  # by (one of LEVELS, language)


@dataclass(frozen=True, slots=True)
class Likeness:
    """The stretch that is most like an emergency."""

    emergency: float
    crisis: float
    spans: list[Span]  # of the features that weigh most, in tokens


@cache
def texts() -> dict[str, Any]:
    """What is said at each level: `say` and `why` by language, and the `source`."""
    file = files("sparsedoctor.app.consultation.triage").joinpath("likeness.yaml")
    said: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    return said


@cache
def table() -> Table:
    """The table that ships with this package."""
    file = files("sparsedoctor.app.consultation.triage").joinpath("likeness.tsv")
    return read_table(file.read_text("utf-8").splitlines())


def read_table(lines: Iterable[str]) -> Table:
    """Lines `feature<TAB>weight<TAB>weight`; those that begin with # hold thresholds and bias."""
    weights: dict[str, tuple[float, float]] = {}
    thresholds: dict[tuple[str, str], float] = {}
    bias = (0.0, 0.0)
    for line in lines:
        if line.startswith("#bias"):
            _, first, second = line.split("\t")
            bias = (float(first), float(second))
        elif line.startswith("#threshold"):
            _, level, language, value = line.split("\t")
            thresholds[level, language] = float(value)
        elif not line.startswith("#"):
            feature, first, second = line.split("\t")
            weights[feature] = (float(first), float(second))
    return Table(weights, bias, thresholds)


def level_of(found: Likeness, language: Language, known: Table | None = None) -> str:
    """The most urgent of LEVELS that the scores reach, or ""."""
    limits = (known or table()).thresholds
    if found.crisis >= limits["crisis", language]:
        return "crisis"
    return next(
        (level for level in ("emergency", "today") if found.emergency >= limits[level, language]),
        "",
    )


def likeness(text: Text, counts: Callable[[Span], bool], known: Table | None = None) -> Likeness:
    """The highest scores of any stretch. `counts` tells whether words are meant of somebody now."""
    learned = known or table()
    best, crisis, where = -math.inf, -math.inf, {}
    for stretch in stretches(text, counts):
        score = [0.0, 0.0]
        number = 0
        for feature in stretch:
            weight = learned.weights.get(feature)
            if weight is not None:
                number += 1
                score[0] += weight[0]
                score[1] += weight[1]
        scale = 1 / math.sqrt(number + DAMPING)
        crisis = max(crisis, score[1] * scale + learned.bias[1])
        if score[0] * scale + learned.bias[0] > best:
            best, where = score[0] * scale + learned.bias[0], stretch
    return Likeness(best, crisis, _heaviest(where, learned))


def stretches(text: Text, counts: Callable[[Span], bool]) -> Iterator[Features]:
    """The features of every run of one to three sentences."""
    sentences = _sentences(text, counts)
    for first in range(len(sentences)):
        together: Features = {}
        for sentence in sentences[first : first + _SENTENCES]:
            together = {**sentence, **together}
            yield together


def _heaviest(stretch: Features, learned: Table) -> list[Span]:
    """The three pairs of words that speak most for an emergency, in the order of the text."""
    weights = {f: learned.weights[f][0] for f in stretch if f in learned.weights and " " in f}
    most = sorted(weights, key=lambda feature: -weights[feature])[:3]
    return sorted(stretch[feature] for feature in most if weights[feature] > 0)


def _sentences(text: Text, counts: Callable[[Span], bool]) -> list[Features]:
    parts: dict[int, list[tuple[str, int]]] = {}
    for at, (key, sentence) in enumerate(zip(text.keys, text.sentence, strict=True)):
        word = key if counts((at, at + 1)) else _BREAK
        parts.setdefault(sentence, []).append(("0" if word[0].isdigit() else word, at))
    return [_features(part) for part in parts.values()]


def _features(words: list[tuple[str, int]]) -> Features:
    found: Features = {}
    run: list[tuple[str, int]] = []
    for word, at in [*words, (_BREAK, 0)]:
        if word[0].isalnum():
            run.append((word, at))
            continue
        for i, (a, start) in enumerate(run):
            found.setdefault(a, (start, start + 1))
            if i + 1 < len(run):
                b, end = run[i + 1]
                found.setdefault(f"{a} {b}", (start, end + 1))
            if i + 2 < len(run):
                c, end = run[i + 2]
                found.setdefault(f"{a} _ {c}", (start, end + 1))
                if a[0] >= _HAN and b[0] >= _HAN and c[0] >= _HAN:
                    found.setdefault(f"{a} {b} {c}", (start, end + 1))
        run = []
    return found
