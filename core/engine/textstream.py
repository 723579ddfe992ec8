"""Bytes of tokens become text that may be shown.

Held back are the bytes of a character that is not complete yet, and text that may turn out to be
the beginning of a stop sequence.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """`feed` gives the text that is certain; `stopped` tells that a stop sequence came."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped = False

    def feed(self, piece: bytes) -> str:
        """Text after `piece`; nothing comes after a stop sequence."""
        if self.stopped:
            return ""
        text = self._held + self._decoder.decode(piece)
        at = min((i for i in (text.find(stop) for stop in self._stops) if i >= 0), default=-1)
        if at >= 0:
            self.stopped, self._held = True, ""
            return text[:at]
        keep = self._overlap(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """What was held back as a possible stop; half a character is dropped."""
        held, self._held = self._held, ""
        return "" if self.stopped else held

    def _overlap(self, text: str) -> int:
        """Length of the longest end of `text` that begins a stop sequence."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stops):
                return length
        return 0
