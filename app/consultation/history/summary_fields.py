"""From a conversation of the history to the fields of a summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sparsedoctor.app.consultation.history.interrupted import as_shown, of_rules
from sparsedoctor.app.consultation.history.records import Conversation, Message
from sparsedoctor.app.consultation.summary.fields import (
    FiredRule,
    SummaryFields,
    SummaryLanguage,
    SummaryTurn,
)


def summary_fields(
    conversation: Conversation,
    messages: Sequence[Message],
    *,
    created: str,
    versions: Mapping[str, str],
    questions: Sequence[str] = (),
    cautions: Sequence[str] = (),
) -> SummaryFields:
    """What the history knows, ready for `summarise`. `created` is UTC, ISO 8601.

    A message's `assessment` and `generation` are read as recorder.py writes them. Of several
    answers to one question the last counts; the settings are those of the last answer.
    What the rules wrote (questions asked back, first aid) is no suggestion of the model.
    `questions` and `cautions` are added to those that were saved.
    """
    turns: list[SummaryTurn] = []
    generation: dict[str, Any] = {}
    numbers: Mapping[str, Any] = {}
    remarks = list(cautions)
    asked: tuple[str, ...] = ()  # back, by the last message
    for message in as_shown(messages):
        if message.role == "user":
            turns.append(_turn(message))
            numbers = _mapping(message.assessment.get("numbers")) or numbers
            asked = ()
        elif turns:
            asked = _texts(message.generation.get("follow_up"))
            remarks += _texts(message.assessment.get("notices"))
            remarks += _texts(message.assessment.get("remarks"))
            if not of_rules(message.generation):  # what they say is in the plan
                turns[-1] = replace(turns[-1], answer=message.text or turns[-1].answer)
                generation = dict(message.generation) or generation
    language: SummaryLanguage = "zh" if conversation.language == "zh" else "en"
    model_server = str(generation.pop("model_server", ""))
    model_sha256 = str(generation.pop("model_sha256", ""))
    if not model_server:  # a conversation may have begun with a file and gone on with a server
        model_sha256 = model_sha256 or conversation.model_sha256
    return SummaryFields(
        turns=tuple(turns),
        language=language,
        intake=conversation.intake,
        created=created,
        emergency=_texts(numbers.get("emergency")),
        crisis_lines=_texts(numbers.get("crisis")),
        questions=tuple(dict.fromkeys((*asked, *questions))),
        remarks=tuple(dict.fromkeys(remarks)),
        model=str(generation.pop("model", "") or conversation.model),
        model_sha256=model_sha256,
        model_server=model_server,
        prompt_sha256=str(generation.pop("prompt_sha256", "")),
        versions={**_version(generation.pop("version", "")), **versions},
        settings=_flat(generation),
    )


def _turn(message: Message) -> SummaryTurn:
    assessment = message.assessment
    findings = assessment.get("findings")
    return SummaryTurn(
        words=message.text,
        urgency=str(assessment.get("urgency") or "unclear"),
        crisis=bool(assessment.get("crisis")),
        general=bool(assessment.get("general")),
        rules=tuple(
            _rule(finding) for finding in (findings if isinstance(findings, (list, tuple)) else ())
        ),
        said=message.created,
    )


def _rule(finding: object) -> FiredRule:
    values = _mapping(finding)
    names = ("rule", "urgency", "words", "advice", "why", "source")
    return FiredRule(**{name: str(values.get(name) or "") for name in names})


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, (list, tuple)) else ()


def _version(value: object) -> dict[str, str]:
    return {"sparsedoctor": str(value)} if value else {}


def _flat(generation: dict[str, Any]) -> dict[str, Any]:
    """Settings one level deep: {"seed": 7, "sampling": {"top_p": 0.9}} names seed and top_p."""
    for name in ("follow_up", "written_by"):
        generation.pop(name, None)
    flat: dict[str, Any] = {}
    for name, value in generation.items():
        if isinstance(value, Mapping):
            flat.update(value)
        else:
            flat[name] = value
    return flat
