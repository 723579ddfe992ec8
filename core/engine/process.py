"""Starting the engine's process, and saying in plain words how it ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from sparsedoctor.core.engine.channel import Channel
from sparsedoctor.core.engine.protocol import EngineError
from sparsedoctor.core.paths import state_dir

_LOG_LIMIT = 1 << 20  # bytes; a larger log is begun anew
_END_WAIT = 5.0  # seconds


class EngineProcess:
    """A fresh Python interpreter that runs `worker`, and the channel to it.

    A new interpreter, not a fork: a fork of a program with threads is not safe, and
    multiprocessing's own spawn would run the program's main module once more.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        log = _open_log()
        command = [sys.executable, "-P", "-m", "sparsedoctor.core.engine.worker"]
        try:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
            )
        except OSError as error:
            ours.close()
            raise EngineError(f"cannot start the engine: {error.strerror}") from error
        finally:
            theirs.close()
            os.close(log)
        self.channel = Channel(ours)
        self._kills = _out_of_memory_kills()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def how_it_ended(self) -> str:
        """Once the channel is closed: the end in plain words."""
        try:
            code = self._process.wait(_END_WAIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return "it closed its channel and did not end"
        return in_words(code, out_of_memory=_out_of_memory_kills() > self._kills)

    def end(self) -> None:
        """Kill it: it has nothing to save. Wakes whoever reads from the channel."""
        self._process.kill()
        self.channel.shutdown()
        self._process.wait()

    def release(self) -> None:
        """Close the channel; nobody may be reading from it any more."""
        self.channel.close()


def in_words(code: int, *, out_of_memory: bool = False) -> str:
    """How a process with this exit code ended. Negative codes are signals; `out_of_memory` tells
    that the system has killed programs for want of memory meanwhile."""
    if code >= 0:
        return f"it ended by itself with code {code}"
    number = -code
    if number == signal.SIGKILL and out_of_memory:
        return (
            "the computer ran out of memory and ended it; close other programs, "
            "or use a smaller model or context"
        )
    if number == signal.SIGKILL:
        return "it was killed from outside, perhaps because memory was short (signal 9)"
    if number in (signal.SIGSEGV, signal.SIGBUS):
        return f"it crashed while it read or used the model file (signal {number})"
    if number == signal.SIGABRT:
        return "llama.cpp stopped itself because something was wrong (signal 6)"
    return f"it was ended by signal {number}"


def _out_of_memory_kills() -> int:
    """How many processes Linux has killed for want of memory since it started; 0 elsewhere."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def log_path() -> Path:
    """Where llama.cpp's own messages go. They hold no words of a conversation."""
    return state_dir() / "engine.log"


def _open_log() -> int:
    path = log_path()
    try:
        fresh = path.exists() and path.stat().st_size > _LOG_LIMIT
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if fresh else 0)
        log = os.open(path, flags | os.O_NOFOLLOW, 0o600)
        os.fchmod(log, 0o600)  # it may have been made by another hand
    except OSError as error:
        raise EngineError(f"cannot write the engine's log {path}: {error.strerror}") from error
    return log
