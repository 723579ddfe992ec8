"""The small language in which a rule says when it holds.

    chest ~ (pain | pressure)           within a few words of each other, in one sentence
    chest ~12 pain                      the same within 12 words
    fever ^ rash                        in one sentence
    fever & stiff_neck                  anywhere in the text
    temp >= 40    age < 0.25    has:diabetes    @pregnant
    2 of (pale, faint, confused)        at least so many of them anywhere in the text

`~` and `^` bind strongest, then `&`, then `|`. There is no "unless": nothing that a person adds
can take a finding away. Names are concepts of the lexicon or findings defined by an expression.
"""

from __future__ import annotations

import operator
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Set
from typing import NamedTuple, Protocol

from sparsedoctor.app.consultation.triage.lexicon import Span
from sparsedoctor.app.consultation.triage.text import Text

NOWHERE: Span = (-1, -1)  # true without a place in the text, such as an age from the intake
NEAR = 7.0  # words

_TOKEN = re.compile(
    r"\s*(?:(?P<near>~(?P<width>\d*))|(?P<sign>[()&|^,])|(?P<least>[1-9])\s+of\b"
    r"|(?P<compare>(?P<measure>[a-z_0-9]+)\s*(?P<how><=|>=|<|>|=)\s*(?P<value>\d+(?:\.\d+)?))"
    r"|(?P<flag>@[a-z_]+)|(?P<has>has:[a-z_]+)|(?P<name>[a-z_][a-z_0-9]*))"
)
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
}


class Facts(Protocol):
    """What an expression is held against."""

    @property
    def text(self) -> Text: ...

    @property
    def present(self) -> Set[str]:
        """Concepts that were said or told, and measures ("temp=") that were stated."""
        ...

    def spans(self, name: str) -> list[Span]:
        """Where the concept or finding `name` stands, in order."""
        ...

    def somewhere(self, name: str) -> list[Span]:
        """One of these places, or none."""
        ...

    def has(self, condition: str) -> list[Span]:
        """The same for an illness or medicine that the person has, past or told beforehand."""
        ...

    def flag(self, name: str) -> list[Span]:
        """`[NOWHERE]` when the flag holds."""
        ...

    def measured(self, name: str) -> list[tuple[float, Span]]:
        """Values of a measure with their places."""
        ...


Evaluate = Callable[[Facts], list[Span]]


Needs = tuple[frozenset[str], ...]


class Expression(NamedTuple):
    """`everywhere` tells every place where the expression holds, `somewhere` one place or none.

    Most of a rule only has to know whether something was said, and stops at its first place.
    `needs`: sets of concepts; of each set one must be present, or the expression cannot hold.
    """

    everywhere: Evaluate
    somewhere: Evaluate
    needs: Needs = ()


class ExpressionError(ValueError):
    """An expression that cannot be read; the text names the place."""


def parse(
    source: str, findings: Mapping[str, Expression] | None = None
) -> tuple[Expression, set[str]]:
    """The expression as a function, and the names it uses (with "has:", "@" and measures).

    findings: what `source` may name beside concepts, as far as it is known.
    """
    parser = _Parser(source, findings or {})
    expression = parser.either()
    if parser.at < len(parser.tokens):
        raise ExpressionError(
            f"{source!r}: unexpected {parser.tokens[parser.at].group().strip()!r}"
        )
    return expression, parser.names


class _Parser:
    def __init__(self, source: str, findings: Mapping[str, Expression]) -> None:
        self.source = source
        self.findings = findings
        self.names: set[str] = set()
        self.tokens: list[re.Match[str]] = []
        self.at = 0
        place = 0
        text = source.strip()
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                raise ExpressionError(f"{source!r}: cannot read {text[place:]!r}")
            self.tokens.append(match)
            place = match.end()

    def either(self) -> Expression:
        parts = [self._both()]
        while self._take("|"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else _either(parts)

    def _both(self) -> Expression:
        parts = [self._near()]
        while self._take("&"):
            parts.append(self._near())
        return parts[0] if len(parts) == 1 else _both(parts)

    def _near(self) -> Expression:
        left = self._atom()
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            if token["near"]:
                self.at += 1
                left = _near(left, self._atom(), float(token["width"] or NEAR))
            elif token["sign"] == "^":
                self.at += 1
                left = _near(left, self._atom(), float("inf"))
            else:
                break
        return left

    def _atom(self) -> Expression:
        if self._take("("):
            inner = self.either()
            if not self._take(")"):
                raise ExpressionError(f"{self.source!r}: a bracket is not closed")
            return inner
        if self.at >= len(self.tokens):
            raise ExpressionError(f"{self.source!r}: something is missing at the end")
        token = self.tokens[self.at]
        self.at += 1
        if token["least"]:
            return self._several(int(token["least"]))
        if token["compare"]:
            self.names.add(f"{token['measure']}=")
            return _compare(token["measure"], token["how"], float(token["value"]))
        if token["flag"]:
            self.names.add(token["flag"])
            return _flag(token["flag"][1:])
        if token["has"]:
            self.names.add(token["has"])
            return _has(token["has"][4:])
        if token["name"]:
            self.names.add(token["name"])
            finding = self.findings.get(token["name"])
            return _name(token["name"], finding.needs if finding else None)
        raise ExpressionError(f"{self.source!r}: unexpected {token.group().strip()!r}")

    def _several(self, least: int) -> Expression:
        if not self._take("("):
            raise ExpressionError(f"{self.source!r}: a bracket must follow 'of'")
        parts = [self.either()]
        while self._take(","):
            parts.append(self.either())
        if not self._take(")"):
            raise ExpressionError(f"{self.source!r}: a bracket is not closed")
        if len(parts) < least:
            raise ExpressionError(f"{self.source!r}: {least} of {len(parts)} can never hold")
        return _several(parts, least)

    def _take(self, sign: str) -> bool:
        if self.at < len(self.tokens) and self.tokens[self.at]["sign"] == sign:
            self.at += 1
            return True
        return False


def _name(name: str, needs: Needs | None) -> Expression:
    """needs: of a finding; None for a concept."""
    if needs is None:
        needs = (frozenset([name]),)
    return Expression(lambda facts: facts.spans(name), lambda facts: facts.somewhere(name), needs)


def _has(condition: str) -> Expression:
    return _alike(lambda facts: facts.has(condition), (frozenset([condition]),))


def _flag(name: str) -> Expression:
    return _alike(lambda facts: facts.flag(name))


def _compare(measure: str, how: str, value: float) -> Expression:
    holds = _COMPARE[how]
    return _alike(
        lambda facts: [at for number, at in facts.measured(measure) if holds(number, value)],
        (frozenset([f"{measure}="]),),
    )


def _alike(evaluate: Evaluate, needs: Needs = ()) -> Expression:
    return Expression(evaluate, evaluate, needs)


def _either(parts: list[Expression]) -> Expression:
    needs: Needs = ()
    if all(part.needs for part in parts):
        needs = (frozenset().union(*(min(part.needs, key=len) for part in parts)),)

    def possible(facts: Facts) -> Iterator[Expression]:
        present = facts.present
        for clause in needs:
            if clause.isdisjoint(present):
                return
        for part in parts:
            for clause in part.needs:
                if clause.isdisjoint(present):
                    break
            else:
                yield part

    def evaluate(facts: Facts) -> list[Span]:
        found = [span for part in possible(facts) for span in part.everywhere(facts)]
        return sorted(found) if len(found) > 1 else found

    def evaluate_first(facts: Facts) -> list[Span]:
        for part in possible(facts):
            spans = part.somewhere(facts)
            if spans:
                return spans
        return []

    return Expression(evaluate, evaluate_first, needs)


def _both(parts: list[Expression]) -> Expression:
    somewhere = [part.somewhere for part in parts]

    def evaluate(facts: Facts) -> list[Span]:
        found: list[Span] = []
        for part in somewhere:
            spans = part(facts)
            if not spans:
                return []
            found.append(spans[0])
        return found

    return _alike(evaluate, tuple(clause for part in parts for clause in part.needs))


def _several(parts: list[Expression], least: int) -> Expression:
    somewhere = [part.somewhere for part in parts]

    def evaluate(facts: Facts) -> list[Span]:
        found: list[Span] = []
        for left, part in zip(range(len(somewhere), 0, -1), somewhere, strict=True):
            if len(found) + left < least:
                return []
            spans = part(facts)
            if spans:
                found.append(spans[0])
                if len(found) == least:
                    return found
        return []

    return _alike(evaluate)


def _near(left: Expression, right: Expression, width: float) -> Expression:
    """Pairs of one sentence at most `width` words apart, in either order, overlap allowed."""

    def pairs(facts: Facts, most: int) -> list[Span]:
        lefts = left.everywhere(facts)
        if not lefts:
            return []
        rights = [span for span in right.everywhere(facts) if span != NOWHERE]
        if not rights:
            return []
        firsts = [span[0] for span in rights]
        found = []
        for span in lefts:
            if span == NOWHERE:
                continue
            nearest = _nearest(facts.text, span, rights, firsts, width)
            if nearest is not None:
                found.append((min(span[0], nearest[0]), max(span[1], nearest[1])))
                if len(found) == most:
                    break
        return found

    return Expression(
        lambda facts: pairs(facts, -1), lambda facts: pairs(facts, 1), left.needs + right.needs
    )


def _nearest(
    text: Text, span: Span, others: list[Span], firsts: list[int], width: float
) -> Span | None:
    # Only the neighbours of `span` in order of their first token can be nearest; looking at a few
    # on each side covers spans that overlap.
    at = bisect_left(firsts, span[0])
    sentence, place, (start, end) = text.sentence, text.place, span
    best, best_gap = None, width
    for other in others[max(0, at - 3) : at + 3]:
        if other == span or sentence[other[0]] != sentence[start]:
            continue
        gap = place[other[0]] - place[end] if start <= other[0] else place[start] - place[other[1]]
        if gap <= best_gap:
            best, best_gap = other, gap
    return best
