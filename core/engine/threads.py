"""How many threads to compute with.

llama.cpp's threads wait for each other at every node of the graph, spinning. When another program
holds one of their cores all of them wait for it: on two busy cores, two threads were seen to fall
from 94 to 2 tokens a second while one thread kept its speed. So one core is left free, and cores
that others keep busy are not counted.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import psutil

_SHORTEST = 0.2  # seconds over which a load means something
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_HALF_BUSY = 0.5  # cores: less than that of other programs' work is ignored


def default_threads() -> int:
    """Physical cores that this process may use, less one for everything else; at least 1."""
    return max(1, usable_cores() - 1)


def usable_cores() -> int:
    """Physical cores, within this process's affinity and a container's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    return max(1, min(physical, allowed or 1, _quota()))


def threads_beside(others: float, cores: int, most: int) -> int:
    """Threads while other programs keep `others` cores busy: those left over, at most `most`."""
    taken = math.ceil(others - _HALF_BUSY) if others > _HALF_BUSY else 0
    return max(1, min(most, cores - taken))


class LoadMeter:
    """How many cores other programs kept busy since the last look, while we were idle."""

    def __init__(self) -> None:
        self._at, self._busy = time.monotonic(), _busy_seconds()

    def restart(self) -> None:
        """Our own work is done: measure from here."""
        self._at, self._busy = time.monotonic(), _busy_seconds()

    def others(self) -> float | None:
        """Busy cores on average, or None when too little time has passed."""
        now = time.monotonic()
        if now - self._at < _SHORTEST:
            return None
        return max(0.0, (_busy_seconds() - self._busy) / (now - self._at))


def _busy_seconds() -> float:
    """CPU seconds that any program on this machine has used."""
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0))


def _quota() -> int:
    """Cores a container may use, from its control group; a large number without one."""
    try:
        quota, period = _QUOTA.read_text().split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return 1 << 16
