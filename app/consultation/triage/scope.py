"""Which words of a text speak of something that is *not* happening now to somebody real.

Negation ("no chest pain", "没有胸痛"), general questions ("what are the signs of a stroke?"),
hypotheses ("if I ever get ..."), the distant past and family history, and fiction. The cues are
data (rules/scope.yaml), found by the same lexicon as the concepts. When in doubt a word counts
as meant: a scope ends early rather than late.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sparsedoctor.app.consultation.triage.lexicon import Cover, Span
from sparsedoctor.app.consultation.triage.text import Text

CUES = "scope_"  # concepts of this prefix are cues and no findings

# How many words a negation reaches, by cue. All end at the sentence's end or a stopping word.
_REACH = {"deny": 60.0, "no": 14.0, "not": 5.0, "not_next": 1.7}
_LISTS = ("deny", "no")  # may reach over the commas of an enumeration
_HISTORY_REACH = 9.0
_FINE_REACH = 2  # tokens
_AND = ("and", "plus", "&", "+")
_QUOTES = {'"': '"', "「": "」", "『": "』", "《": "》"}
_LONGEST_QUOTE = 80  # tokens


@dataclass(slots=True)
class Scopes:
    """One flag per token of the text."""

    negated: bytearray
    unreal: bytearray  # asked in general, hypothetical, long past, of the family, or fiction
    general: bool  # some sentence asks in general

    def counts(self, span: Span, unreal_too: bool = False) -> bool:
        """Whether the words at `span` are meant of somebody now."""
        start = span[0]
        return not self.negated[start] and (unreal_too or not self.unreal[start])


def scopes(text: Text, found: Mapping[str, list[Span]], phrases: Cover) -> Scopes:
    """Read the cues among the concepts `found` in `text`.

    phrases: the spans of all that is no cue, and of cues that only look like a negation.
    """
    result = Scopes(bytearray(len(text)), bytearray(len(text)), False)
    cues = _Cues(found, phrases)
    _negations(text, cues, result.negated)
    _histories(text, cues, result.unreal)
    _sentences(text, cues, result)
    return result


class _Cues:
    """The cues by name, and the places where a scope has to stop."""

    def __init__(self, found: Mapping[str, list[Span]], phrases: Cover) -> None:
        self.found = {
            name.removeprefix(CUES): spans for name, spans in found.items() if name.startswith(CUES)
        }
        self._phrases = phrases
        # "no thoughts of hurting myself": a stop amid a longer phrase stops nothing.
        self.stops = {
            span[0] for span in self.found.get("stop", ()) if not self._phrases.overlaps(span[0])
        }
        self.clause = {span[0] for span in self.found.get("clause", ())}

    def of(self, name: str) -> list[Span]:
        """Spans of a cue that are not part of a longer phrase ("no" within "no relief")."""
        return [span for span in self.found.get(name, ()) if not self._phrases.contains(span)]


def _negations(text: Text, cues: _Cues, negated: bytearray) -> None:
    for kind, reach in _REACH.items():
        for start, end in cues.of(kind):
            if _compares(text, cues, end):
                continue
            after = _forward(text, cues, (start, end), reach, kind)
            for token in range(end, after):
                negated[token] = 1
            if (
                after == end and kind != "not_next"
            ):  # "chest pain: no." speaks of what stands before
                _backward(text, start, negated)
    for start, _ in cues.of("denied_before"):
        _backward(text, start, negated)
    for start, _ in cues.of("fine_before"):  # "呼吸没问题": only the word that it touches
        for token in range(max(0, start - _FINE_REACH), start):
            if text.sentence[token] == text.sentence[start] and not text.is_comma(token):
                negated[token] = 1


def _compares(text: Text, cues: _Cues, end: int) -> bool:
    """Whether "never" goes on "... like this": that tells how bad it is and denies nothing."""
    return any(
        0 <= start - end <= 8 and text.sentence[start] == text.sentence[end - 1]
        for start, _ in cues.found.get("compare", ())
    )


def _forward(text: Text, cues: _Cues, cue: Span, reach: float, kind: str) -> int:
    """The token at which the scope of a negation ends."""
    start, end = cue
    sentence = text.sentence[start]
    for token in range(end, len(text)):
        if text.sentence[token] != sentence or token in cues.stops:
            return token
        if text.gap(end, token) > reach:
            return token
        if text.is_comma(token) and not (
            (text.keys[token] == "\n" and token == end)
            or (kind in _LISTS and _enumerates(text, cues, token, kind == "deny"))
        ):
            return token
    return len(text)


def _enumerates(text: Text, cues: _Cues, comma: int, freely: bool) -> bool:
    """Whether what follows the comma goes on with the list of what is absent."""
    sentence = text.sentence[comma]
    closes = freely
    for token in range(comma + 1, min(len(text), comma + 40)):
        if text.sentence[token] != sentence:
            break
        if token in cues.clause or token in cues.stops:
            return closes and not freely
        if text.keys[token] in ("or", "nor", "或", "及", "等"):
            closes = True
    return closes


def _backward(text: Text, start: int, negated: bytearray) -> None:
    for token in range(start - 1, max(-1, start - 8), -1):
        if text.sentence[token] != text.sentence[start]:
            return
        if text.is_comma(token) and not (token == start - 1 and text.keys[token] == ":"):
            return
        negated[token] = 1


def _histories(text: Text, cues: _Cues, unreal: bytearray) -> None:
    """ "history of", "died of": what follows, up to a comma or a stopping word."""
    for start, end in cues.of("history"):
        for token in range(end, len(text)):
            if (
                text.sentence[token] != text.sentence[start]
                or token in cues.stops
                or text.is_comma(token)
                or text.gap(end, token) > _HISTORY_REACH
            ):
                break
            unreal[token] = 1
    for start, _ in cues.of("history_before"):
        for token in range(start - 1, max(-1, start - 8), -1):
            if text.sentence[token] != text.sentence[start] or text.is_comma(token):
                break
            unreal[token] = 1


def _sentences(text: Text, cues: _Cues, result: Scopes) -> None:
    marks: dict[int, set[str]] = {}
    framed: set[int] = set()
    for name in ("frame", "fiction"):
        for start, end in cues.of(name):
            framed.update(range(max(0, start - (2 if name == "fiction" else 0)), end))
    for name in ("ask", "suppose", "fiction", "someone"):
        for start, _ in cues.of(name):
            marks.setdefault(text.sentence[start], set()).add(name)
    quoted = _quoted(text)
    for name in ("person", "me"):
        for start, end in cues.found.get(name, ()):
            if not framed.intersection(range(start, end)) and not quoted[start]:
                marks.setdefault(text.sentence[start], set()).add(name)
    unreal_sentences = set()
    for sentence in range((text.sentence[-1] if len(text) else 0) + 1):
        found = marks.get(sentence, set())
        person = "person" in found
        told = "fiction" in found and "me" not in found
        asked = "ask" in found and not person
        result.general = result.general or asked
        someone = "ask" in found and "someone" in found and not person
        if told or asked or someone or "suppose" in found:
            unreal_sentences.add(sentence)
        if "fiction" in found:
            for token, inside in enumerate(quoted):
                if inside and text.sentence[token] == sentence:
                    result.unreal[token] = 1
    if unreal_sentences:
        for token, sentence in enumerate(text.sentence):
            if sentence in unreal_sentences:
                result.unreal[token] = 1
    _past(text, cues, result.unreal)


def _past(text: Text, cues: _Cues, unreal: bytearray) -> None:
    """The clause of a cue of the distant past, unless it goes on ("since last year").

    Where the cue ends a statement, "and" begins another: "had a stent three years ago and crushing
    chest pain".
    """
    over = Cover(cues.of("recovered"), len(text))
    ongoing = {span[0] for span in cues.of("ongoing") if not over.contains(span)}
    for start, end in cues.of("past"):
        first, last = start, end
        while first > 0 and _same_clause(text, first - 1, start):
            first -= 1
        ends_statement = first < start
        while last < len(text) and _same_clause(text, last, start):
            if ends_statement and text.keys[last] in _AND:
                break
            last += 1
        if not ongoing.intersection(range(first, last)):
            unreal[first:last] = b"\x01" * (last - first)


def _same_clause(text: Text, token: int, other: int) -> bool:
    return text.sentence[token] == text.sentence[other] and not text.is_comma(token)


def _quoted(text: Text) -> bytearray:
    """Tokens between two quotation marks; a mark that is never closed quotes nothing."""
    flags = bytearray(len(text))
    if not any(mark in text.plain for mark in _QUOTES):
        return flags
    at = 0
    while at < len(text):
        close = _QUOTES.get(text.keys[at])
        if close is not None:
            for end in range(at + 1, min(len(text), at + _LONGEST_QUOTE)):
                if text.keys[end] == close:
                    flags[at : end + 1] = b"\x01" * (end + 1 - at)
                    at = end
                    break
        at += 1
    return flags
