"""A real OpenAI-compatible server on this computer, for tests: llama-cpp-python's own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

NEEDED = ("llama_cpp.server.app", "uvicorn", "sse_starlette", "starlette_context")


@contextmanager
def model_server(model: Path, alias: str = "small", more: Sequence[str] = ()) -> Iterator[str]:
    """Serve `model` on a free port of the loopback interface; its address. `more`: options."""
    for package in NEEDED:
        pytest.importorskip(package, reason="the server of llama-cpp-python is not installed")
    port = free_port()
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(model)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--n_ctx", "2048", "--n_threads", "1"]
    command += ["--chat_format", "chatml", "--model_alias", alias, *more]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    try:
        while not _answers(port):
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < until, "the server did not come up"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
