"""The chat in a real terminal (a pseudo-terminal) with a real model."""

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
from collections.abc import Iterator
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "sparsedoctor.app.tui.cli"]
ENTER, ESCAPE, CTRL_Q = "\r", "\x1b", "\x11"
_CONTROL = re.compile(r"\x1b(?:\[[0-9;?>]*[a-zA-Z$]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[=>()][0-9A-B]?)")


class Terminal:
    """A program in a terminal of its own: keys go in, everything it draws is kept."""

    def __init__(self, *arguments: str, columns: int = 100, rows: int = 30) -> None:
        self.process, self._master = pty.fork()
        if self.process == 0:
            # Not execv: readline puts COLUMNS and LINES into the C environment behind Python's
            # back, and they would go before the size of this terminal.
            environment = dict(os.environ) | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
            os.execve(sys.executable, [*COMMAND, *arguments], environment)
        self.resize(columns, rows)
        self._drawn = ""
        self.exit_code: int | None = None

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self.process, signal.SIGWINCH)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def until(self, words: str, seconds: float = 60.0) -> None:
        """Wait until `words` were drawn since the last call."""
        end = time.monotonic() + seconds
        while words not in self._text():
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


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for one in opened:
        one.close()


def test_a_consultation_with_a_plain_model(terminals: list[Terminal], smollm2_gguf: Path) -> None:
    terminal = Terminal("chat", "--model", str(smollm2_gguf), "--seed", "7", "--region", "GB")
    terminals.append(terminal)
    terminal.until("999 or 112")
    terminal.until("ready")
    terminal.type("What is asthma?" + ENTER)
    terminal.until("ready")
    terminal.type("Write a very long text about the heart." + ENTER)
    terminal.until("writing")
    terminal.type(ESCAPE)
    terminal.until("stopped by you")
    terminal.resize(40, 15)
    terminal.until("routing not available")
    terminal.type(CTRL_Q)
    assert terminal.ended() == 0


def test_the_default_model_is_assembled_and_shows_its_experts(terminals: list[Terminal]) -> None:
    terminal = Terminal("chat", "--seed", "7", "--max-tokens", "40", columns=120, rows=40)
    terminals.append(terminal)
    terminal.until("assembled now")
    terminal.until("small demonstration model, no medical advice", 300)
    terminal.until("ready")
    terminal.type("What is asthma?" + ENTER)
    terminal.until("tokens of the answer")
    terminal.until("tokens/s")
    terminal.type(CTRL_Q)
    assert terminal.ended() == 0


def test_a_screen_that_would_draw_into_a_file_is_refused(
    smollm2_gguf: Path, tmp_path: Path
) -> None:
    # Textual draws on standard error: with that in a file the terminal would stay empty.
    master, slave = pty.openpty()
    with (tmp_path / "errors.txt").open("w") as errors:
        process = os.posix_spawn(
            sys.executable,
            [
                sys.executable,
                "-m",
                "sparsedoctor.app.tui.cli",
                "chat",
                "--model",
                str(smollm2_gguf),
            ],
            dict(os.environ),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, slave, 0),
                (os.POSIX_SPAWN_DUP2, slave, 1),
                (os.POSIX_SPAWN_DUP2, errors.fileno(), 2),
            ],
        )
        _, status = os.waitpid(process, 0)
    os.close(master)
    os.close(slave)
    assert os.waitstatus_to_exitcode(status) == 2
    assert "needs a terminal" in (tmp_path / "errors.txt").read_text()
