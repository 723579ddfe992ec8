"""Every connection that a program and its children make, recorded, for tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Python runs this file first in every process that inherits PYTHONPATH, also in the engine's.
RECORDER = """
import os, sys
def record(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind",
                 "socket.gethostbyname"):
        where = arguments[1] if event in ("socket.connect", "socket.sendto", "socket.bind") \\
            else arguments[0]
        with open(os.environ["RECORDED"], "a") as log:
            log.write(f"{event}\\t{where!r}\\n")
sys.addaudithook(record)
"""
HERE = ("'127.0.0.1'", "'localhost'", "b'127.0.0.1'", "None", "'::1'")


def recorded_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """From now on every process started records its connections; the file they go to."""
    log = tmp_path / "connections.txt"
    log.touch()
    folder = tmp_path / "recorder"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(RECORDER)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("RECORDED", str(log))
    return log


def foreign(log: Path) -> list[str]:
    """Recorded events that are neither on this computer nor a local (AF_UNIX) socket."""
    lines = []
    for line in log.read_text().splitlines():
        where = line.split("\t")[1]
        host = where[1:].split(",")[0] if where.startswith("(") else where
        local = host in HERE or (not where.startswith("(") and where[1:2] in ("/", "\\"))
        if not local:
            lines.append(line)
    return lines
