"""What a summary is made from: plain data, independent of the model, the rules and the history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sparsedoctor.app.consultation.summary.identifiers import remove_identifiers

SummaryLanguage = Literal["en", "zh"]
URGENCIES = ("emergency", "today", "days", "self_care", "unclear")  # the most urgent first


@dataclass(frozen=True, slots=True)
class FiredRule:
    """A rule that fired on the person's words."""

    rule: str  # id
    urgency: str
    words: str = ""  # the part of the text that made it fire
    advice: str = ""
    why: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class SummaryTurn:
    """One thing the person said, what the rules found in it, and the model's answer."""

    words: str
    answer: str = ""
    urgency: str = "unclear"
    crisis: bool = False
    general: bool = False  # asked in general: nothing in it is about the person
    rules: tuple[FiredRule, ...] = ()
    said: str = ""  # UTC, ISO 8601


@dataclass(frozen=True, slots=True)
class SummaryFields:
    """`intake` has the names of `Intake`: age (years), sex, pregnant, breastfeeding, allergies,
    medicines, conditions, region. `settings` holds the sampling with its seed, `versions` program
    names and versions, `questions` what was asked back and not answered yet."""

    turns: tuple[SummaryTurn, ...]
    language: SummaryLanguage = "en"
    intake: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""  # UTC, ISO 8601
    emergency: tuple[str, ...] = ()  # numbers to call where the person is
    crisis_lines: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()  # what was changed in the answers, cautions about medicines
    model: str = ""
    model_sha256: str = ""
    model_server: str = ""  # address of the server that answered; "" for a file
    prompt_sha256: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


def without_identifiers(fields: SummaryFields) -> SummaryFields:
    """The same with telephone numbers, mail addresses and identity numbers removed from all that
    the person or the model wrote. Hashes, seeds and the numbers to call stay."""
    clean = remove_identifiers
    return replace(
        fields,
        turns=tuple(
            replace(
                turn,
                words=clean(turn.words),
                answer=clean(turn.answer),
                rules=tuple(replace(rule, words=clean(rule.words)) for rule in turn.rules),
            )
            for turn in fields.turns
        ),
        intake={name: each_text(value, clean) for name, value in fields.intake.items()},
        questions=tuple(map(clean, fields.questions)),
        remarks=tuple(map(clean, fields.remarks)),
    )


def each_text(value: Any, change: Callable[[str], str]) -> Any:
    """`value`, as read from JSON, with `change` applied to every text in it but the names."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: each_text(one, change) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [each_text(one, change) for one in value]
    return value
