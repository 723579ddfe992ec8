"""Prompts as token ids of a transformers tokenizer, cut exactly as the engine cuts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparsedoctor.core.engine.protocol import Message
from sparsedoctor.core.engine.templates import Control, find_template
from sparsedoctor.core.errors import SparseDoctorError


class PromptWriter:
    """Messages to ids: control tokens by their name, everything else as plain text."""

    def __init__(self, tokenizer: Any, template: str) -> None:
        self._tokenizer = tokenizer
        self._template = find_template(template)
        self.beginning = self._beginning()

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The ids of a prompt. Raises SparseDoctorError for a control token there is not."""
        ids = list(self.beginning)
        held = ""
        for segment in self._template.write(messages):
            if isinstance(segment, Control):
                ids += self.plain(held) if held else []
                held = ""
                ids.append(self._control(segment.text))
            else:
                held += segment.text
        return ids + (self.plain(held) if held else [])

    def plain(self, text: str) -> list[int]:
        """The ids of text, none of them a control token, whatever is written in it."""
        encoded = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        return list(encoded["input_ids"])

    @property
    def stops(self) -> list[int]:
        """Ids that end an answer: the tokenizer's end and the template's control stops."""
        vocabulary = self._tokenizer.get_vocab()
        found = [vocabulary[stop] for stop in self._template.stops if stop in vocabulary]
        end = self._tokenizer.eos_token_id
        return sorted({*found, *([] if end is None else [int(end)])})

    def _control(self, text: str) -> int:
        identity = self._tokenizer.get_vocab().get(text)
        if identity is None:
            raise SparseDoctorError(
                f"this model has no token {text}, which the template {self._template.name} needs; "
                "choose another one with --template"
            )
        return int(identity)

    def _beginning(self) -> list[int]:
        start = self._tokenizer.bos_token_id
        empty = list(self._tokenizer("")["input_ids"])
        return [int(start)] if start is not None and empty[:1] == [start] else []
