"""The chat in a real terminal (a pseudo-terminal) with a real model."""

from __future__ import annotations

import os
import pty
import re
import sys
import time
from pathlib import Path

import pytest
from tui.terminal import CTRL_Q, ENTER, ESCAPE, Terminal

TAB, CTRL_D, CTRL_N, CTRL_S = "\t", "\x04", "\x0e", "\x13"
F4, F5 = "\x1bOS", "\x1b[15~"


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


def test_the_default_model_is_assembled_and_everything_works_with_it(
    terminals: list[Terminal], tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where the summary is written
    options = ("--seed", "7", "--max-tokens", "40", "--region", "GB")
    terminal = Terminal("chat", *options, columns=120, rows=40)
    terminals.append(terminal)
    terminal.until("assembled now")
    terminal.until("small demonstration model, no medical advice", seconds=300)
    terminal.until("ready")
    terminal.type(f"What is asthma?{ENTER}")
    terminal.until("tokens of the answer")
    terminal.until("ready")
    terminal.type(f"How is it treated?{ENTER}")
    terminal.until("writing")
    terminal.until("ready")
    terminal.type(F4)
    terminal.until("4 messages")
    terminal.type(ESCAPE)
    time.sleep(0.5)  # a key right after Escape would be read as Alt and that key
    terminal.type(CTRL_N)
    terminal.until("Describe what troubles you")
    terminal.type(F4)
    terminal.until("4 messages")
    terminal.type(ENTER)
    terminal.until("How is it treated?")
    terminal.type(F5)
    terminal.until("Summary for a doctor")
    terminal.type(CTRL_S)
    terminal.until("Saved as")
    (summary,) = tmp_path.glob("sparsedoctor-summary-*.md")
    written = summary.read_text()
    assert "> What is asthma?" in written
    assert "> How is it treated?" in written
    assert "seed 7" in written
    assert re.search("Model SHA-256: [0-9a-f]{64}", written)
    history = home / "data" / "history.db"
    assert b"How is it treated?" in saved(history)
    terminal.type(F4)
    terminal.until("4 messages")
    terminal.type(CTRL_D)
    terminal.until("cannot be brought back")
    terminal.type(TAB + ENTER)
    terminal.until("no conversation is saved yet")
    assert b"How is it treated?" not in saved(history)
    terminal.type(CTRL_Q)
    assert terminal.ended() == 0


def saved(history: Path) -> bytes:
    return b"".join(path.read_bytes() for path in history.parent.glob("history.db*"))


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
