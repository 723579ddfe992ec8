"""The chat in a real terminal (a pseudo-terminal) with a real model."""

from __future__ import annotations

import os
import pty
import sys
from pathlib import Path

from tui.terminal import CTRL_Q, ENTER, ESCAPE, Terminal


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
