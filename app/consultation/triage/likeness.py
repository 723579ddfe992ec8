"""How much a text is like descriptions of emergencies: a second net under the rules.

The rules know an emergency by words that somebody foresaw. People find others. So each stretch of
one to three sentences that no rule called an emergency is scored by a logistic regression over
its words and pairs of words (Chinese: characters and runs of up to three) and over the concepts
and findings of the rules that stand in it ("@breathless"), learned from the situations under
descriptions/ by `learn.py`. A concept weighs the same in whatever words it was said, so what one
writer taught holds for the next:

    score = (sum of the weights of the known features) / sqrt(their number + 10) + bias

(+ 10: a few words alone shall not weigh as much as a story.)

It is arithmetic on a table that ships with the program: no language model, the same every time.
It only ever raises the urgency. Negated, past and hypothetical words are left out (scope.py).
"""

from __future__ import annotations

import math
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from itertools import chain
from operator import or_
from typing import Any, NamedTuple, Protocol

import yaml

from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.consultation.triage.book import rule_book
from sparsedoctor.app.consultation.triage.lexicon import Span
from sparsedoctor.app.consultation.triage.scope import CUES, Scopes
from sparsedoctor.app.consultation.triage.text import Text

KINDS = ("emergency", "crisis")  # what is learned, each with a weight of its own
LEVELS = ("emergency", "crisis", "today")  # what a threshold exists for
DAMPING = 10  # features
_SENTENCES = 3  # of the longest stretch
_SKIP = "_"  # stands in a feature for any one word
_BREAK = ","  # stands for words that are not meant of anybody now
_CONCEPT = "@"  # begins the feature of a concept
_HAN = "\u3400"

Features = dict[str, Span]  # feature -> where it stands first, in tokens


class Read(Protocol):
    """A text that the rules have read."""

    text: Text
    found: dict[str, list[Span]]  # by concept
    scopes: Scopes

    def spans(self, name: str) -> list[Span]:
        """Where a concept or a finding is meant of somebody now."""
        ...


Pair = tuple[int, dict[str, int]]  # of "a b"; of "a b c" by c
Node = tuple[int, dict[str, Pair], dict[str, int]]  # of "a"; by b; of "a _ c" by c


class Tree(NamedTuple):
    """The features of a table by their first word, so that nothing is put together to be looked
    up. A feature is a number from 1, 0 is none; weights are in thousandths, so that sums are
    exact in whatever order. Small, because what is small stays near the processor.
    """

    nodes: dict[str, Node]
    emergency: array[int]  # weights by number
    crisis: array[int]
    tokens: bytes  # by number: how many it spans


@dataclass(frozen=True)
class Table:
    """What was learned. Scores are log-odds."""

    weights: Mapping[str, tuple[float, float]]  # by feature, of each of KINDS; three decimals
    bias: tuple[float, float]
    thresholds: Mapping[tuple[str, str], float]  # by (one of LEVELS, language)

    @cached_property
    def tree(self) -> Tree:
        nodes: dict[str, Node] = {}
        for number, feature in enumerate(self.weights, 1):
            first, *others = map(sys.intern, feature.split(" "))
            own, pairs, skips = nodes.get(first, (0, {}, {}))
            if not others:
                own = number
            elif others[0] == _SKIP:
                skips[others[1]] = number
            elif len(others) == 1:
                pairs[others[0]] = (number, pairs.get(others[0], _NO_PAIR)[1])
            else:
                pair, triples = pairs.get(others[0], _NO_PAIR)
                pairs[others[0]] = (pair, {**triples, others[1]: number})
            nodes[first] = (own, pairs, skips)
        both = [(0.0, 0.0), *self.weights.values()]
        return Tree(
            nodes,
            array("i", [round(1000 * weights[0]) for weights in both]),
            array("i", [round(1000 * weights[1]) for weights in both]),
            bytes([0, *(1 + feature.count(" ") for feature in self.weights)]),
        )


_NO_PAIR: Pair = (0, {})


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


def likeness(read: Read, known: Table | None = None) -> Likeness:
    """The highest scores of any stretch.

    A stretch is added up from its sentences: each gives what did not stand in those before it.
    """
    learned = known or table()
    words = _words(read, learned.tree)
    places = read.text.sentence
    features = chain(
        _known(words, range(len(places)), learned.tree),
        ((span[0], learned.tree.nodes[name][0]) for name, span in _concepts(read, learned.tree)),
    )
    sums = _sums(features, places, learned.tree)
    best, crisis, where = -math.inf, -math.inf, (0, 0)
    for first in range(len(sums)):
        number = DAMPING
        score = [0, 0]
        for back, sentence in enumerate(sums[first : first + _SENTENCES]):
            for more in sentence[back:]:
                number += more[0]
                score[0] += more[1]
                score[1] += more[2]
            scale = 1 / (1000 * math.sqrt(number))
            crisis = max(crisis, score[1] * scale + learned.bias[1])
            if score[0] * scale + learned.bias[0] > best:
                best, where = score[0] * scale + learned.bias[0], (first, first + back + 1)
    return Likeness(best, crisis, _heaviest(words, places, where, learned.tree))


def stretches(read: Read) -> Iterator[Features]:
    """The features of every run of one to three sentences, known or not: what is learned from."""
    sentences = _sentences(read)
    for first in range(len(sentences)):
        together: Features = {}
        for sentence in sentences[first : first + _SENTENCES]:
            together = {**sentence, **together}
            yield together


def _words(read: Read, tree: Tree) -> list[str]:
    """The words as features know them, a break for all else; two breaks more at the end."""
    nodes = tree.nodes
    words = [
        _BREAK if dead else (key if key in nodes else _word(key))
        for key, dead in zip(read.text.keys, _dead(read), strict=True)
    ]
    return [*words, _BREAK, _BREAK]


def _dead(read: Read) -> Iterable[int]:
    """Of each token whether it is not meant of somebody now."""
    return map(or_, read.scopes.negated, read.scopes.unreal)


def _concepts(read: Read, known: Tree | None = None) -> Iterator[tuple[str, Span]]:
    """The features of concepts and findings, each in the order of the text; `known`: only those."""
    for name in chain(read.found, rule_book().findings):
        feature = _CONCEPT + name
        if not name.startswith(CUES) and (known is None or feature in known.nodes):
            for span in sorted(read.spans(name)):
                if span[0] >= 0:
                    yield feature, span


def _word(key: str) -> str:
    if key[0].isdigit():
        return "0"
    return key if key[0].isalnum() else _BREAK


def _known(words: Sequence[str], tokens: range, tree: Tree) -> Iterator[tuple[int, int]]:
    """The features of the table that begin at these tokens: first token, number."""
    nodes = tree.nodes
    for at in tokens:
        node = nodes.get(words[at])
        if node is None:
            continue
        own, pairs, skips = node
        if own:
            yield at, own
        second = words[at + 1]
        if second == _BREAK:
            continue
        third = words[at + 2]
        pair, triples = pairs.get(second, _NO_PAIR)
        if pair:
            yield at, pair
        if third in skips:
            yield at, skips[third]
        if third in triples:
            yield at, triples[third]


def _sums(
    features: Iterable[tuple[int, int]], sentences: Sequence[int], tree: Tree
) -> list[list[list[int]]]:
    """Number of features and their weights [sentences, distance, 3].

    Distance: how many sentences before this one the feature stood last; the last entry is for
    _SENTENCES and more, or never. A feature counts once in a sentence.
    """
    length = sentences[-1] + 1 if sentences else 0
    sums = [[[0, 0, 0] for _ in range(_SENTENCES)] for _ in range(length)]
    last: dict[int, int] = {}
    for at, feature in features:
        sentence = sentences[at]
        distance = sentence - last.get(feature, -_SENTENCES)
        if distance:
            last[feature] = sentence
            of = sums[sentence][min(distance, _SENTENCES) - 1]
            of[0] += 1
            of[1] += tree.emergency[feature]
            of[2] += tree.crisis[feature]
    return sums


def _heaviest(
    words: Sequence[str], sentences: Sequence[int], stretch: Span, tree: Tree
) -> list[Span]:
    """The three pairs of words that speak most for an emergency, in the order of the text."""
    found: dict[int, int] = {}  # feature -> where it stands first
    for sentence in range(*stretch):
        tokens = range(bisect_left(sentences, sentence), bisect_right(sentences, sentence))
        own: dict[int, int] = {}
        for at, feature in _known(words, tokens, tree):
            if feature not in own and tree.tokens[feature] > 1 and tree.emergency[feature] > 0:
                own[feature] = at
        found = {**own, **found}
    most = sorted(found, key=lambda feature: -tree.emergency[feature])[:3]
    return sorted((found[feature], found[feature] + tree.tokens[feature]) for feature in most)


def _sentences(read: Read) -> list[Features]:
    text = read.text
    parts: dict[int, list[tuple[str, int]]] = {}
    for at, (key, dead) in enumerate(zip(text.keys, _dead(read), strict=True)):
        parts.setdefault(text.sentence[at], []).append((_BREAK if dead else _word(key), at))
    found = {sentence: _features(part) for sentence, part in parts.items()}
    for feature, span in _concepts(read):
        found[text.sentence[span[0]]].setdefault(feature, span)
    return list(found.values())


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
                found.setdefault(f"{a} {_SKIP} {c}", (start, end + 1))
                if a[0] >= _HAN and b[0] >= _HAN and c[0] >= _HAN:
                    found.setdefault(f"{a} {b} {c}", (start, end + 1))
        run = []
    return found
