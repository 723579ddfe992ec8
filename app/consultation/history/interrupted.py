"""Answers that ended, or still grow, without having been reviewed: the program was left or ended.

Whatever shows, saves or exports one asks here first: the checks of a finished answer (doses,
links, numbers) hold for it too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sparsedoctor.app.consultation.history.records import Message


def as_shown(messages: Sequence[Message]) -> Iterator[Message]:
    """A conversation's messages with their texts as they may be shown."""
    region = ""
    for message in messages:
        if message.role == "user":
            region = region_of(message.assessment) or region
        elif not message.assessment and not of_rules(message.generation):
            # A reviewed answer has an assessment.
            message = replace(message, text=reviewed(message.text, region))
        yield message


def reviewed(text: str, region: str) -> str:
    """`text` of a model after the checks of a finished answer; twice is as good as once.

    The emergency numbers of `region`, "" where it is unknown, may stay in it.
    """
    if not text:
        return text
    # the rules take a while to load, and this is rare
    from sparsedoctor.app.consultation.language import language_of
    from sparsedoctor.app.consultation.numbers import numbers_for
    from sparsedoctor.app.consultation.review import review

    return review(text, language_of(text), numbers_for(region)).text


def region_of(assessment: Mapping[str, object]) -> str:
    """Where the person was when they asked, "" when nobody knew."""
    numbers = assessment.get("numbers")
    return str(numbers.get("region") or "") if isinstance(numbers, Mapping) else ""


def of_rules(generation: Mapping[str, object]) -> bool:
    """Whether the rules wrote an answer, not the model."""
    return generation.get("written_by") == "rules"
