"""Nothing leaves this computer: every connection of the program and its children is recorded."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from connections import foreign, recorded_connections


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return recorded_connections(tmp_path, monkeypatch)


def test_the_recorder_sees_a_connection(recorded: Path) -> None:
    program = (
        "import socket\n"
        "s = socket.socket()\n"
        "s.settimeout(0.01)\n"
        "try:\n    s.connect(('192.0.2.1', 9))\nexcept OSError:\n    pass\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert len(foreign(recorded)) == 1


def test_asking_connects_nowhere(recorded: Path, smollm2_gguf: Path) -> None:
    command = [sys.executable, "-m", "sparsedoctor.app.tui.cli", "ask", "What is asthma?"]
    options = ["--model", str(smollm2_gguf), "--max-tokens", "8"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert foreign(recorded) == []


def test_the_page_connects_nowhere(recorded: Path, smollm2_gguf: Path) -> None:
    pytest.importorskip("gradio", reason="the extra `web` is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # A person's own environment must not switch anything on again.
    environment = dict(os.environ) | {"GRADIO_ANALYTICS_ENABLED": "True", "GRADIO_SHARE": "True"}
    arguments = ["--no-browser", "--model", str(smollm2_gguf), "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "sparsedoctor.app.web.cli", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = next(word for word in line.split() if word.startswith("http://"))
        assert httpx.get(url + "config", trust_env=False).status_code == 200
        process.send_signal(signal.SIGINT)
        process.wait(60)
    finally:
        process.kill()
    assert foreign(recorded) == []
    assert f"('127.0.0.1', {port})" in recorded.read_text()  # it was recorded
    assert "0.0.0.0" not in recorded.read_text()


def test_folders_and_files_are_the_persons_alone(home: Path, smollm2_gguf: Path) -> None:
    command = [sys.executable, "-m", "sparsedoctor.app.tui.cli", "ask", "What is asthma?"]
    options = ["--model", str(smollm2_gguf), "--max-tokens", "2"]
    subprocess.run([*command, *options], capture_output=True, timeout=120, check=True)
    for path in home.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
