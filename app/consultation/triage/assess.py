"""From a person's words to an `Assessment`."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Set
from functools import cached_property
from itertools import chain
from operator import or_
from typing import Literal

from sparsedoctor.app.consultation.assessment import Assessment, Finding, Numbers, Urgency
from sparsedoctor.app.consultation.language import Language, language_of
from sparsedoctor.app.consultation.numbers import numbers_for, with_numbers
from sparsedoctor.app.consultation.triage.book import Rule, RuleBook, rule_book
from sparsedoctor.app.consultation.triage.expression import NOWHERE
from sparsedoctor.app.consultation.triage.lexicon import Cover, Span
from sparsedoctor.app.consultation.triage.likeness import level_of, likeness, texts
from sparsedoctor.app.consultation.triage.measures import measures
from sparsedoctor.app.consultation.triage.scope import CUES, scopes
from sparsedoctor.app.consultation.triage.text import Text

LONGEST = 20_000  # characters that are read; enough for the longest letter
_ORDER = list(Urgency)
_MOST_QUOTED = 3  # pieces
_BODILY = ("breathing.",)  # findings that likeness to a crisis must not speak over
_ADULT = "adult_"  # measures that are read only of adults, and not of sport
_GROWN = 12.0  # years
_MINE = frozenset(("my", "me", "i", "im", "adult", "我"))


def assess(
    text: str,
    *,
    age: float | None = None,
    sex: Literal["female", "male"] | None = None,
    pregnant: bool = False,
    conditions: tuple[str, ...] = (),
    medicines: tuple[str, ...] = (),
    region: str | None = None,
    language: Language | None = None,
) -> Assessment:
    """Read `text` by the rules. What the person told about themselves comes as keywords.

    age: years. region: ISO 3166-1 alpha-2, None for the international line. language: of the
    advice; None takes the language of the text. Of a text longer than `LONGEST` characters the
    beginning and the end are read.
    """
    book = rule_book()
    if len(text) > LONGEST:
        text = text[: LONGEST // 2] + "\n" + text[-LONGEST // 2 :]
    speech = language or language_of(text)
    numbers = numbers_for(region)
    reading = Reading(book, text, age, sex, pregnant, conditions + medicines)
    findings = []
    for rule in book.rules:
        facts = reading.unreal_too if rule.unreal_too else reading
        spans = rule.when.somewhere(facts)
        if spans:
            findings.append(_finding(rule, reading.text, spans, speech, numbers))
    if not any(finding.urgency is Urgency.EMERGENCY for finding in findings):
        findings += _alike(reading, speech, numbers, findings)
    urgency = min((f.urgency for f in findings), key=_ORDER.index, default=Urgency.UNCLEAR)
    findings.sort(key=lambda finding: _ORDER.index(finding.urgency))
    return Assessment(
        urgency=urgency,
        crisis=any(finding.crisis for finding in findings),
        findings=tuple(findings),
        numbers=numbers,
        language=speech,
        about_other=bool(reading.found.get(f"{CUES}other")),
        general=reading.scopes.general and not findings,
    )


def _finding(
    rule: Rule, text: Text, spans: list[Span], language: Language, numbers: Numbers
) -> Finding:
    return Finding(
        rule=rule.id,
        urgency=rule.urgency,
        words=_quote(text, spans),
        advice=with_numbers(rule.say[language], numbers, language),
        why=rule.why[language],
        source=rule.source,
        crisis=rule.crisis,
    )


def _alike(
    reading: Reading, language: Language, numbers: Numbers, findings: list[Finding]
) -> list[Finding]:
    """At most one finding, for words that are like an emergency although no rule knows them."""
    found = likeness(reading)
    level = level_of(found, language_of(reading.text.original))
    if level == "crisis" and any(f.rule.startswith(_BODILY) for f in findings):
        level = "emergency"  # who cannot get air and says so is no suicide
    if not level or (level == "today" and any(f.urgency is Urgency.TODAY for f in findings)):
        return []
    said = texts()
    return [
        Finding(
            rule=f"likeness.{level}",
            urgency=Urgency.TODAY if level == "today" else Urgency.EMERGENCY,
            words=_quote(reading.text, found.spans),
            advice=with_numbers(said[level]["say"][language], numbers, language),
            why=said[level]["why"][language],
            source=said["source"],
            crisis=level == "crisis",
        )
    ]


def _quote(text: Text, spans: list[Span]) -> str:
    """The person's own words that made a rule fire, in a few pieces."""
    pieces: list[str] = []
    for start, end in spans:
        if start >= 0:
            piece = text.words(start, end).strip()
            if piece not in pieces:
                pieces.append(piece)
                if len(pieces) == _MOST_QUOTED:
                    break
    return " … ".join(pieces)


class Reading:
    """What one text says, as `expression.Facts`: only what is meant of somebody now.

    `unreal_too` is the same text with questions, hypotheses and stories taken at their word.
    """

    def __init__(
        self,
        book: RuleBook,
        text: str,
        age: float | None,
        sex: str | None,
        pregnant: bool,
        background: tuple[str, ...],
    ) -> None:
        self._book = book
        self._age = age
        self._sex = sex
        self._pregnant = pregnant
        self._background = background
        self._unreal = False
        self._known: dict[str, list[Span]] = {}
        self._first: dict[str, list[Span]] = {}
        self.text = book.lexicon.read(text)
        count = len(self.text)
        found = _unmasked(book.lexicon.find(self.text), count)
        self.found, phrases = _without_false_starts(found, count)
        self.scopes = scopes(self.text, self.found, phrases)
        self._stated = _stated(self.text)

    @cached_property
    def _dead(self) -> bytearray:
        """Tokens that are not meant of somebody now, one flag each."""
        negated, unreal = self.scopes.negated, self.scopes.unreal
        if self._unreal or not any(unreal):
            return negated
        return bytearray(map(or_, negated, unreal))

    @cached_property
    def present(self) -> Set[str]:
        measured = {f"{name}=" for name in self._measures}
        measured |= {f"{_ADULT}{name}" for name in measured}
        if self._age is not None:
            measured.add("age=")
        return measured | self._told | self.found.keys()

    @cached_property
    def unreal_too(self) -> Reading:
        other = object.__new__(Reading)
        other.__dict__.update(self.__dict__)
        for cached in ("present", "_dead", "_measures"):
            other.__dict__.pop(cached, None)
        other._unreal = True
        other._known = {}
        other._first = {}
        return other

    def spans(self, name: str) -> list[Span]:
        known = self._known.get(name)
        if known is None:
            finding = self._book.findings.get(name)
            if finding is not None:
                self._known[name] = []  # a finding that names itself ends here
                known = finding.everywhere(self)
            else:
                dead = self._dead
                known = [span for span in self.found.get(name, ()) if not dead[span[0]]]
            self._known[name] = known
        return known

    def somewhere(self, name: str) -> list[Span]:
        known = self._known.get(name)
        if known is None:
            finding = self._book.findings.get(name)
            if finding is None:
                return self.spans(name)
            known = self._first.get(name)
            if known is None:
                self._first[name] = []
                known = self._first[name] = finding.somewhere(self)
        return known

    def has(self, condition: str) -> list[Span]:
        said = [s for s in self.found.get(condition, ()) if self.scopes.counts(s, unreal_too=True)]
        if not said and condition in self._told:
            return [NOWHERE]
        return said

    def flag(self, name: str) -> list[Span]:
        if name == "pregnant":
            return (
                [NOWHERE] if self._pregnant else self.has("pregnant") + self.measured_spans("weeks")
            )
        if name in ("female", "male"):
            if self._sex:
                return [NOWHERE] if self._sex == name else []
            return self.has("woman" if name == "female" else "man")
        limits = {"infant": (0.0, 1.0), "child": (0.0, 12.0), "elderly": (65.0, 200.0)}
        if name in limits:
            least, most = limits[name]
            ages = [at for age, at in self.measured("age") if least <= age < most]
            return ages or self.spans(name)
        return []

    def measured(self, name: str) -> list[tuple[float, Span]]:
        if name.startswith(_ADULT):
            values = self._measures.get(name.removeprefix(_ADULT), [])
            places = self.text.sentence
            sport = {places[start] for start, _ in self.spans("exercising")} if values else set()
            return [
                (value, span)
                for value, span in values
                if places[span[0]] not in sport and (self._of_adult(span) or self._mine(span))
            ]
        values = list(self._measures.get(name, ()))
        if name == "age" and self._age is not None:
            values.append((self._age, NOWHERE))
        return values

    def _of_adult(self, number: Span) -> bool:
        """Whether a number is an adult's: neither its sentence nor the intake speaks of a child.

        What other sentences say changes nothing, so that no added sentence lowers an urgency.
        """
        places = self.text.sentence
        here = places[number[0]]
        ages = [age for age, at in self.measured("age") if at == NOWHERE or places[at[0]] == here]
        if ages:
            return max(ages) >= _GROWN
        children = (*self.spans("child"), *self.spans("infant"))
        return not any(places[at[0]] == here for at in children if at != NOWHERE)

    def _mine(self, span: Span) -> bool:
        """Whether "my" or "adult" stands just before a number and its name."""
        before = self.text.keys[max(0, span[0] - 2) : span[0]]
        if before[-1:] == ["的"]:
            before.pop()
        return before[-1:] != [] and before[-1] in _MINE

    def measured_spans(self, name: str) -> list[Span]:
        return [span for _, span in self._measures.get(name, ())]

    @cached_property
    def _told(self) -> frozenset[str]:
        """Concepts named in the intake."""
        lexicon = self._book.lexicon
        return frozenset(
            concept for entry in self._background for concept in lexicon.find(lexicon.read(entry))
        )

    @cached_property
    def _measures(self) -> dict[str, list[tuple[float, Span]]]:
        result: dict[str, list[tuple[float, Span]]] = {}
        for name, value, span in self._stated:
            if self.scopes.counts((span[1] - 1, span[1]), self._unreal):
                result.setdefault(name, []).append((value, span))
        return result


def _stated(text: Text) -> list[tuple[str, float, Span]]:
    """Every measure of `text`: name, value, place."""
    starts = text.starts
    result = []
    for name, values in measures(text.plain).items():
        for value, first, last in values:
            span = (bisect_left(starts, first), bisect_left(starts, last))
            if span[0] < span[1]:
                result.append((name, value, span))
    return result


def _unmasked(found: dict[str, list[Span]], count: int) -> dict[str, list[Span]]:
    """Without the parts of phrases that mean something else ("heart rate", "止痛药").

    A phrase of `mask_whole` hides itself as well. count: tokens of the text.
    """
    whole = set(found.pop("mask_whole", ()))
    spans = [*found.pop("mask", ()), *whole]
    if not spans:
        return found
    masks = Cover(spans, count)
    inside = bytearray(count)
    for start, end in spans:
        inside[start:end] = b"\x01" * (end - start)
    near = {span for span in chain.from_iterable(found.values()) if inside[span[0]]}
    hidden = {span for span in near if span in whole or masks.contains(span)}
    return _without(found, hidden) if hidden else found


def _without_false_starts(
    found: dict[str, list[Span]], count: int
) -> tuple[dict[str, list[Span]], Cover]:
    """Without phrases that begin with a negation which belongs to a longer word after it.

    "没有呼吸困难" (no shortness of breath) is not "没有呼吸" (no breathing). Also gives the
    cover that `scopes` needs of the phrases that are left.
    """
    negations: dict[int, int] = {}  # first token -> token after the negation
    for kind in ("no", "not", "not_next", "deny"):
        for start, end in found.get(CUES + kind, ()):
            negations[start] = max(end, negations.get(start, 0))
    fakes = found.get(f"{CUES}fake", [])
    meanings = [spans for name, spans in found.items() if not name.startswith(CUES)]
    phrases = Cover(chain.from_iterable(meanings), count)
    reach = phrases.reach.copy()
    phrases.add(fakes)
    # Only where a phrase begins within the rest of a negated one can that be false.
    # Its first token, and where the longest phrase ends that is left there.
    left = {s: 0 for s, after in negations.items() if any(reach[after : phrases.reach[s]])}
    if left:
        false: set[Span] = set()
        for span in chain(chain.from_iterable(meanings), fakes):
            start, end = span
            if start in left:
                if any(reach[token] > end for token in range(negations[start], end)):
                    false.add(span)
                else:
                    left[start] = max(left[start], end)
        if false:
            cues = {
                name: spans
                for name, spans in found.items()
                if name.startswith(CUES) and name != f"{CUES}fake"
            }
            found = _without(found, false) | cues
            phrases.replace(left)
    return found, phrases


def _without(found: Mapping[str, list[Span]], gone: Set[Span]) -> dict[str, list[Span]]:
    result = {}
    for name, spans in found.items():
        kept = spans if gone.isdisjoint(spans) else [s for s in spans if s not in gone]
        if kept:
            result[name] = kept
    return result
