"""What the rules found in a person's words. Pure data; no rule lives here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


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
    emergency: tuple[str, ...]  # ambulance first
    crisis: tuple[str, ...]  # crisis lines
    poison: tuple[str, ...] = ()


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
        """What a banner shows: the most urgent findings and any crisis, each advice once.

        Milder advice beside "call an ambulance" would only take attention from it. The findings
        of one advice become one, with the reasons and the words of all.
        """
        by_advice: dict[str, list[Finding]] = {}
        for finding in self.findings:
            if finding.urgency is self.urgency or finding.crisis:
                by_advice.setdefault(finding.advice, []).append(finding)
        return replace(self, findings=tuple(map(_merged, by_advice.values())))


def _merged(findings: list[Finding]) -> Finding:
    return replace(
        findings[0],
        words=" … ".join(dict.fromkeys(finding.words for finding in findings if finding.words)),
        why=" ".join(dict.fromkeys(finding.why for finding in findings)),
        crisis=any(finding.crisis for finding in findings),
    )
