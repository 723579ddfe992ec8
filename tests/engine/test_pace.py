"""Threads beside busy programs, and a word when the speed has fallen."""

from __future__ import annotations

from typing import Any

import pytest

from sparsedoctor.core.engine import pace, threads
from sparsedoctor.core.engine.pace import Pace
from sparsedoctor.core.engine.protocol import Statistics
from sparsedoctor.core.engine.threads import LoadMeter, usable_cores


class Model:
    """Keeps the number of threads it was told."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def set_threads(self, count: int) -> None:
        self.threads.append(count)


def speed(tokens_per_second: float, tokens: int = 33) -> Statistics:
    return Statistics(10, 0, tokens, 1.0, 1.0 + (tokens - 1) / tokens_per_second)


def test_a_collapse_is_told_and_ordinary_changes_are_not() -> None:
    watched = Pace(Model(), 4)  # type: ignore[arg-type]
    assert watched.end(speed(60)) == []
    assert watched.end(speed(40)) == []
    assert watched.end(speed(2, tokens=8)) == []  # too few tokens to mean anything
    (notice,) = watched.end(speed(2))
    assert "2.0 tokens a second instead of 60" in notice.message


@pytest.mark.parametrize(("others", "expected"), [(0.0, [7]), (3.0, [5]), (None, [])])
def test_threads_follow_what_other_programs_use(
    monkeypatch: pytest.MonkeyPatch, others: float | None, expected: list[int]
) -> None:
    monkeypatch.setattr(pace, "usable_cores", lambda: 8)
    monkeypatch.setattr(LoadMeter, "others", lambda self: others)
    model: Any = Model()
    Pace(model, 7).begin()
    assert model.threads == expected


def test_the_meter_counts_busy_cores_between_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, busy = [100.0], [1000.0]
    monkeypatch.setattr(threads.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(threads, "_busy_seconds", lambda: busy[0])
    meter = LoadMeter()
    assert meter.others() is None  # no time has passed
    clock[0], busy[0] = 110.0, 1015.0
    assert meter.others() == pytest.approx(1.5)
    meter.restart()
    clock[0] = 120.0
    assert meter.others() == 0.0


def test_a_container_with_half_a_core_still_has_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for text, most in (("50000 100000", 1), ("max 100000", 1 << 16), ("300000 100000", 3)):
        (tmp_path / "cpu.max").write_text(text)
        monkeypatch.setattr(threads, "_QUOTA", tmp_path / "cpu.max")
        assert threads._quota() == most
    assert usable_cores() >= 1
