"""A program in a real terminal (a pseudo-terminal), for tests."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

TUI, WEB = "sparsedoctor.app.tui.cli", "sparsedoctor.app.web.cli"
ENTER, ESCAPE, CTRL_Q = "\r", "\x1b", "\x11"
_CONTROL = re.compile(r"\x1b(?:\[[0-9;?>]*[a-zA-Z$]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[=>()][0-9A-B]?)")


class Terminal:
    """A program in a terminal of its own: keys go in, everything it draws is kept."""

    def __init__(
        self, *arguments: str, module: str = TUI, columns: int = 100, rows: int = 30
    ) -> None:
        self.process, self._master = pty.fork()
        if self.process == 0:
            # Not execv: readline puts COLUMNS and LINES into the C environment behind Python's
            # back, and they would go before the size of this terminal.
            environment = dict(os.environ) | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
            os.execve(sys.executable, [sys.executable, "-m", module, *arguments], environment)
        self.resize(columns, rows)
        self._drawn = ""
        self.exit_code: int | None = None

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self.process, signal.SIGWINCH)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def until(self, *words: str, seconds: float = 60.0) -> None:
        """Wait until all of `words` were drawn since the last call."""
        end = time.monotonic() + seconds
        while not all(one in self._text() for one in words):
            assert time.monotonic() < end, f"{words!r} was not drawn, but: {self._text()[-3000:]}"
            self._read()
        self._drawn = ""

    def ended(self) -> int:
        """Wait for the end; the exit code."""
        end = time.monotonic() + 60
        while self.exit_code is None:
            assert time.monotonic() < end, "it did not end"
            self._read()
            finished, status = os.waitpid(self.process, os.WNOHANG)
            if finished:
                self.exit_code = os.waitstatus_to_exitcode(status)
        return self.exit_code

    def said(self) -> str:
        """What was drawn since the last `until`, once the program has ended."""
        self.ended()
        while select.select([self._master], [], [], 0.1)[0]:
            before = self._drawn
            self._read()
            if self._drawn == before:
                break
        return self._text().replace("\r", "")

    def close(self) -> None:
        if self.exit_code is None:
            os.kill(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)
        os.close(self._master)

    def _text(self) -> str:
        return _CONTROL.sub("", self._drawn)

    def _read(self) -> None:
        if not select.select([self._master], [], [], 0.1)[0]:
            return
        try:
            self._drawn += os.read(self._master, 1 << 16).decode(errors="replace")
        except OSError:  # the program closed its side
            time.sleep(0.05)
