"""llama.cpp's own messages: into the log, and the last complaint kept to explain a failure."""

from __future__ import annotations

import os
from collections.abc import Callable

import llama_cpp.llama_cpp as llama

_DEBUG, _ERROR, _CONTINUED = 1, 4, 5
_LONGEST = 200  # characters of a complaint
_installed: list[object] = []  # llama.cpp calls it for as long as the process lives


class NativeLog:
    """Takes llama.cpp's messages from now on."""

    def __init__(self) -> None:
        self.on_line: Callable[[str], None] = lambda _: None  # every message, for progress
        self._complaint = ""
        self._level = 0
        self._callback = llama.llama_log_callback(self._on_message)
        llama.llama_log_set(self._callback, None)
        _installed[:] = [self._callback]

    def begin(self) -> None:
        """Forget old complaints."""
        self._complaint = ""

    @property
    def complaint(self) -> str:
        """The last error message, as one short line; "" when there was none."""
        return self._complaint

    def _on_message(self, level: int, text: bytes, _: object) -> None:
        try:
            self._level = level if level != _CONTINUED else self._level
            if self._level != _DEBUG:  # debugging prints the whole vocabulary
                os.write(2, text)
            line = " ".join(text.decode("utf-8", "replace").split())
            self.on_line(line)
            if self._level == _ERROR and line:
                self._complaint = _plain(line)
        except Exception:
            return  # nothing may be raised into llama.cpp


def _plain(line: str) -> str:
    """Without the names of llama.cpp's functions that it puts in front."""
    parts = line.split(": ")
    while len(parts) > 1 and "_" in parts[0] and " " not in parts[0]:
        parts.pop(0)
    plain = ": ".join(parts)
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…"
