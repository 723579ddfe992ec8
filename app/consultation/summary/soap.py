"""From the fields of a consultation to S, O, A, P: the same fields always give the same summary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sparsedoctor.app.consultation.summary.fields import (
    URGENCIES,
    FiredRule,
    SummaryFields,
    SummaryLanguage,
    SummaryTurn,
)
from sparsedoctor.app.consultation.summary.measurements import Measurement, measurements
from sparsedoctor.app.consultation.summary.wording import DISCLAIMER, SummaryWording, wording

FORMAT = "sparsedoctor-summary/1"
_CHILD = 12.0  # years
_OF_ANSWER = ("prompt_sha256", "settings")  # only a model's answer has them
_QUESTION = re.compile(r"[^.!?。！？\n]{2,200}[?？]")


@dataclass(frozen=True, slots=True)
class Summary:
    """One consultation for a doctor's eyes. `about` are pairs of a name of the intake and its
    value in words; everything else stands as it was said, measured or written."""

    language: SummaryLanguage
    urgency: str
    crisis: bool
    own_words: tuple[SummaryTurn, ...]
    about: tuple[tuple[str, str], ...]
    measured: tuple[Measurement, ...]
    suggestion: str  # the model's last answer
    remarks: tuple[str, ...]
    advice: tuple[str, ...]
    earlier_if: tuple[str, ...]
    rules: tuple[FiredRule, ...]
    questions: tuple[str, ...]
    fields: SummaryFields


def summarise(fields: SummaryFields) -> Summary:
    """S, O, A, P of one consultation. Knows nothing that is not in `fields`."""
    words = wording(fields.language)
    rules = _fired(fields.turns)
    answers = [turn.answer for turn in fields.turns if turn.answer.strip()]
    return Summary(
        language=fields.language,
        urgency=_most_urgent(turn.urgency for turn in fields.turns),
        crisis=any(turn.crisis for turn in fields.turns),
        own_words=fields.turns,
        about=tuple(_about(fields.intake, words)),
        measured=tuple(
            measurement
            for number, turn in enumerate(fields.turns)
            if not turn.general
            for measurement in measurements(turn.words, number)
        ),
        suggestion=answers[-1] if answers else "",
        remarks=fields.remarks,
        advice=tuple(dict.fromkeys(rule.advice for rule in rules if rule.advice)),
        earlier_if=earlier_if(
            fields.language,
            age=fields.intake.get("age"),
            pregnant=bool(fields.intake.get("pregnant")),
            crisis=any(turn.crisis for turn in fields.turns),
        ),
        rules=rules,
        questions=tuple(dict.fromkeys(_questions(fields, words))),
        fields=fields,
    )


def as_document(summary: Summary) -> dict[str, Any]:
    """The summary as plain data for JSON."""
    fields = summary.fields
    return {
        "format": FORMAT,
        "language": summary.language,
        "created": fields.created,
        "disclaimer": DISCLAIMER[summary.language],
        "urgency": summary.urgency,
        "crisis": summary.crisis,
        "subjective": {
            "own_words": [{"said": turn.said, "words": turn.words} for turn in summary.own_words],
            "intake": dict(fields.intake),
        },
        "objective": [asdict(measurement) for measurement in summary.measured],
        "assessment": {
            "note": wording(summary.language).suggestion_note,
            "suggestion": summary.suggestion,
            "remarks": list(summary.remarks),
        },
        "plan": {
            "urgency": wording(summary.language).urgency[summary.urgency],
            "advice": list(summary.advice),
            "earlier_if": list(summary.earlier_if),
            "emergency_numbers": list(fields.emergency),
            "crisis_lines": list(fields.crisis_lines) if summary.crisis else [],
        },
        "rules": [asdict(rule) for rule in summary.rules],
        "questions": list(summary.questions),
        "made_with": {
            "model": fields.model,
            "model_sha256": fields.model_sha256,
            **({"model_server": fields.model_server} if fields.model_server else {}),
            "prompt_sha256": fields.prompt_sha256,
            "settings": dict(fields.settings),
            "versions": dict(fields.versions),
        },
    }


def made_with(summary: Summary) -> list[tuple[str, str]]:
    """Label and value of everything that made the summary what it is."""
    fields, words = summary.fields, wording(summary.language)
    values = {
        "created": fields.created,
        "model": fields.model,
        **_identity(fields),
        "prompt_sha256": fields.prompt_sha256,
        "settings": ", ".join(f"{name} {value}" for name, value in fields.settings.items()),
        "versions": ", ".join(f"{name} {value}" for name, value in fields.versions.items()),
    }
    return [
        (words.made[name], value or (words.by_rules if name in _OF_ANSWER else words.not_told))
        for name, value in values.items()
    ]


def _identity(fields: SummaryFields) -> dict[str, str]:
    """What tells which model it was: a file by its hash, a server by its address."""
    if fields.model_server:
        return {"model_server": fields.model_server}
    return {"model_sha256": fields.model_sha256}


def _most_urgent(urgencies: Iterable[str]) -> str:
    found = {urgency for urgency in urgencies if urgency in URGENCIES}
    return next((urgency for urgency in URGENCIES if urgency in found), "unclear")


def _fired(turns: Iterable[SummaryTurn]) -> tuple[FiredRule, ...]:
    """Each rule once, as it fired first; the most urgent first."""
    first: dict[str, FiredRule] = {}
    for turn in turns:
        for rule in turn.rules:
            first.setdefault(rule.rule, rule)
    order = {urgency: place for place, urgency in enumerate(URGENCIES)}
    return tuple(sorted(first.values(), key=lambda rule: order.get(rule.urgency, len(order))))


def _about(intake: Mapping[str, Any], words: SummaryWording) -> Iterable[tuple[str, str]]:
    for name, label in words.intake.items():
        value = intake.get(name)
        if name == "sex":
            text = words.sex.get(str(value), "")
        elif isinstance(value, bool):
            text = words.yes if value else ""
        elif isinstance(value, (list, tuple)):
            text = words.comma.join(str(one) for one in value)
        elif isinstance(value, (int, float)):
            text = f"{value:g}"
        else:
            text = str(value or "")
        if text:
            yield label, text


def earlier_if(
    language: SummaryLanguage, *, age: object, pregnant: bool, crisis: bool
) -> tuple[str, ...]:
    """The signs that should bring a person to help earlier than advised. `age` in years."""
    words = wording(language).earlier_if
    signs = [words["any"], words["worse"]]
    if isinstance(age, (int, float)) and age < _CHILD:
        signs.append(words["child"])
    if pregnant:
        signs.append(words["pregnant"])
    if crisis:
        signs.append(words["crisis"])
    return tuple(signs)


def _questions(fields: SummaryFields, words: SummaryWording) -> Iterable[str]:
    """The person's own first, then what was asked back, then what the intake gives reason for."""
    for turn in fields.turns:
        for match in _QUESTION.finditer(turn.words):
            yield match[0].strip()
    yield from fields.questions
    yield words.ask["first"]
    for name in ("medicines", "allergies", "conditions"):
        if listed := fields.intake.get(name):
            values = [listed] if isinstance(listed, str) else [str(one) for one in listed]
            yield words.ask[name].format(words.comma.join(values))
    for name in ("pregnant", "breastfeeding"):
        if fields.intake.get(name):
            yield words.ask[name]
    yield words.ask["return"]
