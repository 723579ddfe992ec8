"""A run's own files read back: log.jsonl, health.jsonl, run.json, choices.jsonl.

A run that was killed leaves a half-written last line; a line that cannot be read is counted and
left out, so that a damaged file costs its damaged lines and nothing else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.files import ADAPTER, RUN_FILE

LOG_FILE = "log.jsonl"
HEALTH_FILE = "health.jsonl"
CHOICES_FILE = "choices.jsonl"

T = TypeVar("T")
Series = tuple[list[int], list[float]]  # steps and values


@dataclass(frozen=True, slots=True)
class LayerState:
    """Router health of one layer at one step; NaN and empty where it was not recorded."""

    load: tuple[float, ...]  # [E] part of all choices
    entropy: float
    balance: float
    margin: float
    dead: float
    queue_fill: tuple[float, ...]  # [E]
    contrast_accuracy: float


@dataclass(frozen=True, slots=True)
class HealthState:
    step: int
    layers: tuple[LayerState, ...]


@dataclass(frozen=True, slots=True)
class Choices:
    """How often every example's tokens chose every expert, at the end of the run."""

    topics: tuple[str, ...]  # [N]
    counts: NDArray[np.float64]  # [N, layers, E]


@dataclass(frozen=True, slots=True)
class RunRecord:
    folder: Path
    log: dict[int, dict[str, float]]  # step to what was logged there, in order
    health: tuple[HealthState, ...]
    choices: Choices | None
    run: dict[str, Any]  # run.json: settings, versions, hashes
    adapter: dict[str, Any]  # adapter/sparsedoctor.json, empty before the end
    unreadable: dict[str, int] = field(default_factory=dict)  # lines left out, by file

    def settings(self, section: str) -> dict[str, Any]:
        """A section of the run's settings; empty where it was not recorded."""
        sections = self.run.get("settings")
        values = sections.get(section) if isinstance(sections, dict) else None
        return values if isinstance(values, dict) else {}

    def series(self, name: str) -> Series:
        """Steps and values of a logged quantity, where it was logged and is a number."""
        points = [(step, line[name]) for step, line in self.log.items() if name in line]
        return [step for step, _ in points], [value for _, value in points]


def read_run(folder: Path) -> RunRecord:
    """Everything a run left behind. Raises SparseDoctorError when it is no run or left nothing."""
    if not folder.is_dir():
        raise SparseDoctorError(f"there is no run {folder}; give the folder of a training run")
    if not any((folder / name).is_file() for name in (LOG_FILE, HEALTH_FILE)):
        raise SparseDoctorError(
            f"{folder} holds neither {LOG_FILE} nor {HEALTH_FILE}; it is no training run, "
            "or one that was stopped before its first line"
        )
    unreadable: dict[str, int] = {}
    log: dict[int, dict[str, float]] = {}
    for step, numbers in _read(folder / LOG_FILE, _log_line, unreadable):
        log.setdefault(step, {}).update(numbers)
    # A run that went on from a checkpoint may have written a step twice: the later one counts.
    health = {state.step: state for state in _read(folder / HEALTH_FILE, _health, unreadable)}
    if not log and not health:
        raise SparseDoctorError(f"{folder}: no line of its logs can be read")
    choices = list(_read(folder / CHOICES_FILE, _choice, unreadable))
    return RunRecord(
        folder=folder,
        log=dict(sorted(log.items())),
        health=tuple(health[step] for step in sorted(health)),
        choices=_together(choices),
        run=_table(folder / RUN_FILE, unreadable),
        adapter=_table(folder / ADAPTER / "sparsedoctor.json", unreadable),
        unreadable=unreadable,
    )


def _read(
    path: Path, parse: Callable[[dict[str, Any]], T], unreadable: dict[str, int]
) -> Iterator[T]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if not line.strip():
                continue
            try:
                yield parse(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                unreadable[path.name] = unreadable.get(path.name, 0) + 1


def _log_line(line: dict[str, Any]) -> tuple[int, dict[str, float]]:
    numbers = {
        name: float(value)
        for name, value in line.items()
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }
    return int(line["step"]), numbers


def _health(line: dict[str, Any]) -> HealthState:
    layers = tuple(_layer(layer) for layer in line["layers"])
    if not layers or len({len(layer.load) for layer in layers}) != 1:
        raise ValueError("layers of different numbers of experts")
    return HealthState(int(line["step"]), layers)


def _layer(layer: dict[str, Any]) -> LayerState:
    load = tuple(float(part) for part in layer["load"])
    if not load:
        raise ValueError("no load")
    return LayerState(
        load=load,
        entropy=_number(layer, "entropy"),
        balance=_number(layer, "balance"),
        margin=_number(layer, "margin"),
        dead=_number(layer, "dead"),
        queue_fill=tuple(float(part) for part in layer.get("queue_fill") or ()),
        contrast_accuracy=_number(layer, "contrast_accuracy"),
    )


def _number(table: dict[str, Any], name: str) -> float:
    value = table.get(name)
    return math.nan if value is None else float(value)


def _choice(line: dict[str, Any]) -> tuple[str, NDArray[np.float64]]:
    counts = np.asarray(line["chosen"], dtype=np.float64)  # [layers, E]
    if counts.ndim != 2 or not np.isfinite(counts).all() or counts.min(initial=0) < 0:
        raise ValueError("not counts by layer and expert")
    return str(line["topic"]), counts


def _together(choices: list[tuple[str, NDArray[np.float64]]]) -> Choices | None:
    if not choices:
        return None
    shape = choices[-1][1].shape
    same = [(topic, counts) for topic, counts in choices if counts.shape == shape]
    return Choices(tuple(topic for topic, _ in same), np.stack([counts for _, counts in same]))


def _table(path: Path, unreadable: dict[str, int]) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        table = None
    if not isinstance(table, dict):
        unreadable[path.name] = 1
        return {}
    return table
