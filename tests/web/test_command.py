"""The command as a person runs it: a process that serves, and one clear line when it cannot."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from model_server import free_port
from web.serving import COMMAND, serving


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120)


def assert_one_clear_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode not in (0, 1), done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0]


def test_a_port_in_use_is_one_line(smollm2_gguf: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("--model", str(smollm2_gguf), "--port", port, "--no-browser")
        assert_one_clear_line(done, port, "--port")


def test_a_model_that_is_none_is_one_line(tmp_path: Path) -> None:
    text = tmp_path / "notes.gguf"
    text.write_text("no model")
    port = str(free_port())
    assert_one_clear_line(run("--model", str(text), "--port", port), "not a GGUF")
    assert_one_clear_line(run("--model", "nowhere", "--port", port), "nowhere")
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF\x03\0\0\0")
    assert_one_clear_line(run("--model", str(damaged), "--port", port), "damaged")


@pytest.mark.parametrize("port", ["0", "70000", "x"])
def test_a_wrong_port_is_named(port: str) -> None:
    done = run("--port", port)
    assert done.returncode == 2
    assert "--port" in done.stderr


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_address_stays_and_ends_cleanly(
    smollm2_gguf: Path, ending: signal.Signals
) -> None:
    pytest.importorskip("gradio", reason="the extra `web` is not installed")
    port = free_port()
    with serving("--model", str(smollm2_gguf), "--port", str(port)) as (process, url):
        assert url == f"http://127.0.0.1:{port}/"
        assert "SparseDoctor" in httpx.get(url, trust_env=False).text
        assert process.poll() is None
        process.send_signal(ending)
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


ELSEWHERE = """
import signal, sys, threading, time
from sparsedoctor.app.web import cli, page
def later():
    time.sleep(1)  # by then the main thread waits
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
page.Page.load_model = lambda self: threading.Thread(target=later).start()
sys.exit(cli.main())
"""


def test_a_signal_that_does_not_wake_the_main_thread_ends_it_too(smollm2_gguf: Path) -> None:
    """As one that comes just as that thread begins to wait, or is delivered to another."""
    pytest.importorskip("gradio", reason="the extra `web` is not installed")
    command = [sys.executable, "-c", ELSEWHERE]
    with serving("--model", str(smollm2_gguf), command=command) as (process, _):
        assert process.wait(60) == 0


HANGING = """
import sys, time
from sparsedoctor.app.web import cli, page, serve
serve._CLOSING = float(sys.argv.pop(1))
page.Page.close = lambda self: print("closing", flush=True) or time.sleep(600)
sys.exit(cli.main())
"""


@pytest.mark.parametrize(
    ("patience", "second", "code"),
    [
        ("1", None, 1),
        ("600", signal.SIGINT, -signal.SIGINT),
        ("600", signal.SIGTERM, -signal.SIGTERM),
    ],
    ids=["by itself", "Ctrl-C", "termination"],
)
def test_it_ends_even_when_something_in_it_does_not(
    smollm2_gguf: Path, patience: str, second: signal.Signals | None, code: int
) -> None:
    """A second signal is obeyed at once, and without one the wait has an end that says where."""
    pytest.importorskip("gradio", reason="the extra `web` is not installed")
    command = [sys.executable, "-c", HANGING, patience]
    with serving("--model", str(smollm2_gguf), command=command) as (process, _):
        assert process.stdout is not None
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "closing\n"
        if second is not None:
            process.send_signal(second)
        _, said = process.communicate(timeout=60)
        assert process.returncode == code
        assert ("Timeout" in said) == (second is None)


def test_help_explains() -> None:
    done = run("--help")
    assert done.returncode == 0
    for word in ("127.0.0.1", "--port", "--no-browser", "emergency", "exit codes"):
        assert word in done.stdout
