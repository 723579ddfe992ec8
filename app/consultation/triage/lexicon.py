"""Concepts and the words for them, found in one pass over a text.

A concept ("chest", "breathless") has words in English and Chinese. All of them lie in one tree
of tokens, so the time is proportional to the text, however many concepts there are and whatever
the text contains. Little words between the words of a phrase ("catch *my* breath", "喘不上*来*气")
are passed over.

    <cant> keep .. awake      a word class ("can't", "unable to", ...) and a gap of a few words

A phrase may name word classes, which all rules share, and leave gaps; both are unfolded into the
tree when the rules are loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sparsedoctor.app.consultation.triage.text import SIGNS, Spelling, Text, read

Span = tuple[int, int]  # first token, token after the last

# May stand between two words of a phrase without changing it.
_LITTLE_WORDS = frozenset(
    """my his her their our your him it its the a an this that these those
    very so really just quite pretty too such completely suddenly all always also kinda bit still
    is are was were be been being has have had got getting gone even actually literally seriously
    properly totally absolutely extremely super bloody basically kind sort of""".split()  # noqa: SIM905
) | frozenset("的得地了着很太都也还就又点些有好特别非常直老总已经我他她它这那在")
_MOST_PASSED_OVER = 3
GAP = ".."  # in a phrase: any words
_WIDEST_GAP = 3.0  # words
_MOST_IN_GAP = 7  # tokens; none is lighter than half a word
_END = ""  # stands after the last token and leads nowhere
_ENDS_GAP = SIGNS | {_END, "no", "not", "but", "and", "or", "without", "没", "不", "无", "但"}
_PARTS = re.compile(r"<([a-z_]+)>|\.\.|[^<.]+")

Node = tuple[dict[str, Any], Sequence[str], dict[str, Any] | None]
Classes = Mapping[str, Sequence[str]]  # word class -> its words, of one language


class Lexicon:
    """concept -> phrases per language, ready to be found."""

    def __init__(
        self,
        concepts: Mapping[str, Iterable[str]],
        aliases: Mapping[str, str],
        never_corrected: frozenset[str] = frozenset(),
        classes: Classes | None = None,
    ) -> None:
        """aliases: irregular forms and abbreviations, one word to one ("fell" -> "fall").

        Raises ValueError for an empty phrase and KeyError for an unknown word class.
        """
        classes = classes or {}
        words = {
            word
            for phrases in (*concepts.values(), *classes.values())
            for phrase in phrases
            for word in re.findall("[a-z]+", re.sub("<[a-z_]+>|'", "", phrase.lower()))
        }
        self._spelling = Spelling(words, dict(aliases), never_corrected)
        self._tree: dict[str, Any] = {}
        self._classes = {
            name: [self._keys(member) for member in members] for name, members in classes.items()
        }
        for concept, phrases in concepts.items():
            for phrase in phrases:
                self._add(concept, phrase)
        self._nodes = _frozen(self._tree)
        self._tree = {}

    def read(self, text: str) -> Text:
        return read(text, self._spelling)

    def find(self, text: Text) -> dict[str, list[Span]]:
        """Every concept of `text` with its spans, in order of their first token."""
        found: dict[str, list[Span]] = {}
        for concepts, span in self._hits(text):
            for concept in concepts:
                spans = found.get(concept)
                if spans is None:
                    found[concept] = [span]
                elif spans[-1] != span:
                    spans.append(span)
        return found

    def _hits(self, text: Text) -> list[tuple[Sequence[str], Span]]:
        """Every phrase of `text`: the concepts that it names, and where it stands.

        A path is followed only where its next token leads on, since most lead nowhere.
        """
        hits: list[tuple[Sequence[str], Span]] = []
        keys, place, little = [*text.keys, _END], text.place, _LITTLE_WORDS
        paths: list[tuple[Node, int, int]] = []  # node, next token, little words passed over
        for start, node in enumerate(map(self._nodes.get, text.keys)):
            if node is None:
                continue
            children, concepts, gap = node
            at = start + 1
            if concepts:
                hits.append((concepts, (start, at)))
            if not (gap or (children and (keys[at] in children or keys[at] in little))):
                continue
            here, passed = node, 0
            while True:
                children, _, gap = here
                key, after = keys[at], at + 1
                node = children.get(key)
                if node is not None:
                    below, concepts, gap_below = node
                    if concepts:
                        hits.append((concepts, (start, after)))
                    if gap_below or (below and (keys[after] in below or keys[after] in little)):
                        paths.append((node, after, passed))
                if (
                    key in little
                    and passed < _MOST_PASSED_OVER
                    and (gap or keys[after] in children or keys[after] in little)
                ):
                    paths.append((here, after, passed + 1))
                if gap and not gap.keys().isdisjoint(keys[at : at + _MOST_IN_GAP]):
                    last = place[at] + _WIDEST_GAP
                    while True:
                        node = gap.get(keys[at])
                        if node is not None:
                            if node[1]:
                                hits.append((node[1], (start, at + 1)))
                            if node[0] or node[2]:
                                paths.append((node, at + 1, 0))
                        if keys[at] in _ENDS_GAP or place[at + 1] > last:
                            break
                        at += 1
                if not paths:
                    break
                here, at, passed = paths.pop()
        return hits

    def _add(self, concept: str, phrase: str) -> None:
        nodes = [self._tree]
        for part in _PARTS.finditer(phrase):
            if part[1]:
                choices = self._classes[part[1]]
            elif part[0] == GAP:
                choices = [[GAP]]
            elif part[0].strip():
                choices = [self._keys(part[0])]
            else:
                continue
            nodes = [_grow(node, keys) for node in nodes for keys in choices]
        if nodes == [self._tree]:
            raise ValueError(f"the concept {concept} has an empty phrase")
        for node in nodes:
            concepts = node.setdefault("", [])
            if concept not in concepts:
                concepts.append(concept)

    def _keys(self, words: str) -> list[str]:
        return [key for key in self.read(words).keys if key != "-"]


def _grow(node: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    for key in keys:
        node = node.setdefault(key, {})
    return node


def _frozen(tree: dict[str, Any]) -> dict[str, Node]:
    """The tree as tuples, which are faster to walk: children, concepts that end here, gap.

    What is equal is one object; a smaller tree stays nearer to the processor.
    """
    return {key: _node(child) for key, child in tree.items()}


def _node(child: dict[str, Any]) -> Node:
    children = {key: below for key, below in child.items() if key not in ("", GAP)}
    concepts = tuple(child.get("", ()))
    return (
        _frozen(children) if children else _NO_CHILDREN,
        _SAME.setdefault(concepts, concepts),
        _frozen(child[GAP]) if GAP in child else None,
    )


_NO_CHILDREN: dict[str, Node] = {}
_SAME: dict[tuple[str, ...], tuple[str, ...]] = {}


class Cover:
    """Answers at once whether a span lies within one of many."""

    def __init__(self, spans: Iterable[Span], count: int) -> None:
        """count: tokens of the text."""
        self.reach = [0] * (count + 1)  # by first token: the token after the longest span
        self.add(spans)

    def add(self, spans: Iterable[Span]) -> None:
        reach = self.reach
        for start, end in spans:
            if end > reach[start]:
                reach[start] = end
        self._known: list[int] = []

    def replace(self, reach: Mapping[int, int]) -> None:
        """Set where the longest span ends that begins at each of these tokens; 0 for none."""
        for start, end in reach.items():
            self.reach[start] = end
        self._known = []

    def overlaps(self, token: int) -> bool:
        """Whether a span begins before `token` and goes on past it."""
        return token > 0 and self._furthest()[token - 1] > token

    def contains(self, span: Span) -> bool:
        """Whether `span` is a part of a longer span."""
        start, end = span
        return self.reach[start] > end or (start > 0 and self._furthest()[start - 1] >= end)

    def _furthest(self) -> list[int]:
        """By token: the furthest that a span reaches which begins there or before."""
        if not self._known:
            most = 0
            for end in self.reach:
                if end > most:
                    most = end
                self._known.append(most)
        return self._known
