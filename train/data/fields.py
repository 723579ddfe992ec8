"""Taking text out of a record, with an error that names the field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparsedoctor.train.data.example import Turn

Fields = Mapping[str, Any]  # names in lower case


class WrongRecord(ValueError):
    """A record does not hold what its format promises; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a format reads from one record."""

    turns: list[Turn]
    topic: str | None = None
    subject: str | None = None
    stem: str | None = None
    options: tuple[str, ...] = ()


def required(fields: Fields, *names: str) -> str:
    """The text of the first of `names` that is there. Raises WrongRecord when it is no text."""
    for name in names:
        if name in fields:
            value = fields[name]
            if not isinstance(value, str):
                raise WrongRecord(f'expected text in "{name}", found {type(value).__name__}')
            if not value.strip():
                raise WrongRecord(f'expected text in "{name}", found nothing')
            return value.strip()
    raise WrongRecord(f'expected the field "{names[0]}"')


def optional(fields: Fields, *names: str) -> str | None:
    """The text of the first of `names` that holds some; None when none does."""
    for name in names:
        value = fields.get(name)
        if value is not None and not isinstance(value, str):
            raise WrongRecord(f'expected text in "{name}", found {type(value).__name__}')
        if value and value.strip():
            return value.strip()
    return None
