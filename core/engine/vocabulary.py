"""Text to tokens and back, so that a person's words can never become control tokens."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import llama_cpp.llama_cpp as llama

from sparsedoctor.core.engine.protocol import EngineError
from sparsedoctor.core.engine.templates import Control, Segment, Text

_NORMAL, _BYTE, _UNUSED = 1 << 2, 1 << 5, 1 << 1
_BLANK = "\u2581"  # how SentencePiece writes a blank


class Vocabulary:
    """The vocabulary of a loaded model."""

    def __init__(self, pointer: Any) -> None:
        self._pointer = pointer
        self.size = int(llama.llama_vocab_n_tokens(pointer))

    @cached_property
    def controls(self) -> dict[str, int]:
        """Every token that is not plain text, by its text: control, end and user-defined ones.

        Some vocabularies have user-defined tokens for runs of blanks: those are plain text.
        """
        found = {}
        for token in range(self.size):
            plain = llama.llama_vocab_get_attr(self._pointer, token) & (_NORMAL | _BYTE | _UNUSED)
            if not plain or llama.llama_vocab_is_eog(self._pointer, token):
                text = llama.llama_vocab_get_text(self._pointer, token).decode("utf-8", "replace")
                if text.replace(_BLANK, " ").strip():
                    found[text] = token
        return found

    @cached_property
    def _control_ids(self) -> frozenset[int]:
        return frozenset(self.controls.values())

    def beginning(self) -> list[int]:
        """The tokens every prompt of this vocabulary begins with."""
        if llama.llama_vocab_get_add_bos(self._pointer):
            return [int(llama.llama_vocab_bos(self._pointer))]
        return []

    def ends(self, token: int) -> bool:
        return bool(llama.llama_vocab_is_eog(self._pointer, token))

    def piece(self, token: int) -> bytes:
        """The bytes of a token; nothing for a control token."""
        buffer = ctypes.create_string_buffer(64)
        count = llama.llama_token_to_piece(self._pointer, token, buffer, len(buffer), 0, False)
        if count < 0:
            buffer = ctypes.create_string_buffer(-count)
            count = llama.llama_token_to_piece(self._pointer, token, buffer, -count, 0, False)
        return buffer.raw[:count]

    def write(self, segments: Sequence[Segment]) -> list[int]:
        """The tokens of a prompt. Raises EngineError for a control token it does not have."""
        tokens = self.beginning()
        for segment in _joined(segments):
            if isinstance(segment, Text):
                tokens += self.plain(segment.text)
            elif segment.text in self.controls:
                tokens.append(self.controls[segment.text])
            else:
                raise EngineError(
                    f"this model has no token {segment.text}, which its prompt template needs; "
                    "it was exported with a template of another family"
                )
        return tokens

    def plain(self, text: str) -> list[int]:
        """Tokens of `text`, none of them a control token, whatever is written in it."""
        tokens = self.tokenize(text, control=False)
        if self._control_ids.isdisjoint(tokens):
            return tokens
        # llama.cpp takes user-defined tokens out of any text: cut inside each such word.
        return [token for part in self._cut(text) for token in self.tokenize(part, control=False)]

    def tokenize(self, text: str, *, control: bool) -> list[int]:
        """llama.cpp's own tokens; with `control`, control tokens written in `text` become such."""
        data = text.encode("utf-8", "replace")
        room = len(data) + 16
        while True:
            tokens = (llama.llama_token * room)()
            count = llama.llama_tokenize(
                self._pointer, data, len(data), tokens, room, False, control
            )
            if count >= 0:
                return list(tokens[:count])
            if count <= -(1 << 31):
                raise EngineError("the text is too long to be split into tokens")
            room = -count

    def _cut(self, text: str) -> Iterator[str]:
        """`text` in parts that no longer hold any control token's text."""
        words = sorted((word for word in self.controls if len(word) > 1), key=len, reverse=True)
        cuts = set()
        for word in words:
            at = text.find(word)
            while at >= 0:
                cuts.add(at + 1)
                at = text.find(word, at + 1)
        begin = 0
        for cut in sorted(cuts):
            yield text[begin:cut]
            begin = cut
        yield text[begin:]


def _joined(segments: Sequence[Segment]) -> Iterator[Segment]:
    """Neighbouring texts as one: a tokenizer splits words better when it sees them whole."""
    held = ""
    for segment in segments:
        if isinstance(segment, Control):
            if held:
                yield Text(held)
            held = ""
            yield segment
        else:
            held += segment.text
    if held:
        yield Text(held)
