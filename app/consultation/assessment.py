"""What the rules found in a person's words. Pure data; no rule lives here."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, replace
from enum import StrEnum

_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])\s*")  # of a sentence


class Urgency(StrEnum):
    """How soon a person needs help. UNCLEAR: not enough was said; leads to a question."""

    EMERGENCY = "emergency"
    TODAY = "today"
    DAYS = "days"
    SELF_CARE = "self_care"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that fired, with the words that made it fire."""

    rule: str  # id of the rule
    urgency: Urgency
    words: str  # the part of the person's text that matched
    advice: str  # what to do, in the person's language
    why: str
    source: str
    crisis: bool = False


@dataclass(frozen=True, slots=True)
class Numbers:
    """Whom to call where the person is. `region` is ISO 3166-1 alpha-2, or "" when unknown."""

    region: str
    emergency: tuple[str, ...]  # those that reach an ambulance, the best one first
    crisis: tuple[str, ...]  # crisis lines
    poison: tuple[str, ...] = ()
    police: tuple[str, ...] = ()  # where it has a number of its own


@dataclass(frozen=True, slots=True)
class Assessment:
    urgency: Urgency
    crisis: bool
    findings: tuple[Finding, ...]
    numbers: Numbers
    language: str  # "en" or "zh": the language of the person's words
    about_other: bool = False  # the person speaks for somebody else
    general: bool = False  # asked in general; nothing is the matter with anybody now

    def most_urgent(self) -> Assessment:
        """What a banner shows: the most urgent findings and any crisis, each sentence of advice
        once.

        Milder advice beside "call an ambulance" would only take attention from it. A finding that
        has nothing more to advise joins the one that said it, with its reasons and words.
        """
        said: dict[str, str] = {}  # sentence -> the advice that it was first said with
        by_advice: dict[str, list[Finding]] = {}
        for finding in self.findings:
            if finding.urgency is not self.urgency and not finding.crisis:
                continue
            shown = unsaid(finding.advice, said)
            by_advice.setdefault(shown or said[sentences(finding.advice)[0]], []).append(finding)
            said |= dict.fromkeys(sentences(shown), shown)
        merged = (_merged(shown, findings) for shown, findings in by_advice.items())
        return replace(self, findings=tuple(merged))


def sentences(text: str) -> list[str]:
    """The sentences of an advice, in English or Chinese."""
    return [one for one in _END.split(text) if one]


def unsaid(advice: str, said: Container[str]) -> str:
    """What of `advice` is no sentence of `said`; empty where all of it is."""
    return " ".join(one for one in sentences(advice) if one not in said).replace("。 ", "。")


def _merged(advice: str, findings: list[Finding]) -> Finding:
    return replace(
        findings[0],
        advice=advice,
        words=" … ".join(dict.fromkeys(finding.words for finding in findings if finding.words)),
        why=" ".join(dict.fromkeys(finding.why for finding in findings)),
        crisis=any(finding.crisis for finding in findings),
    )
