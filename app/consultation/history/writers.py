"""Who lets an answer grow: told apart from a program that crashed, and from one that came after.

A writer is "process id : start of the process in seconds : a random part".
"""

from __future__ import annotations

import os
import uuid

import psutil

_TOLERANCE = 5.0  # seconds; the start is reckoned from the clock, which may be corrected


def this_writer() -> str:
    """A name for one open history of this process."""
    return f"{os.getpid()}:{psutil.Process().create_time():.2f}:{uuid.uuid4().hex[:8]}"


def is_alive(writer: str) -> bool:
    """Whether the writer's process still runs.

    A wrong "no" (another container) does no harm: the answer's end sets its status again.
    """
    try:
        process, start, _ = writer.split(":")
        return abs(psutil.Process(int(process)).create_time() - float(start)) < _TOLERANCE
    except (ValueError, psutil.Error):
        return False
