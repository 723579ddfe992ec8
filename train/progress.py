"""What a person sees of a running training, and what log.jsonl and health.jsonl keep of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from sparsedoctor.core.moe.health import LayerHealth
from sparsedoctor.train.checkpoints import write_atomically

LOG_FILE = "log.jsonl"
HEALTH_FILE = "health.jsonl"


class Progress(TrainerCallback):  # type: ignore[misc]
    """One line each `log_every` steps: loss, terms, tokens per second, time left."""

    def __init__(self, run: Path, show: Callable[[str], None] = print) -> None:
        self._run = run
        self._show = show
        self._began = self._last = self._stepped = time.monotonic()
        self._paused = 0.0  # seconds since the last line that went to measuring and saving
        self._first_step = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._began = self._last = self._stepped = time.monotonic()
        self._first_step = state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._stepped = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._pause()

    def _pause(self) -> None:
        """What came since the end of the step, or since the last call, was no training."""
        now = time.monotonic()
        self._paused += now - self._stepped
        self._stepped = now

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        if not logs or not state.is_world_process_zero:
            return
        if "eval_loss" in logs:
            self._pause()
            loss, perplexity = logs["eval_loss"], logs["perplexity"]
            self._show(f"step {state.global_step}: held-out loss {loss:.4f} ({perplexity:.2f})")
            self._keep({"step": state.global_step, "held_out_loss": round(loss, 6)})
        elif "loss" in logs:
            self._steps(state, logs)

    def _steps(self, state: Any, logs: dict[str, float]) -> None:
        now = time.monotonic()
        speed = logs.get("tokens", 0) / max(now - self._last - self._paused, 1e-9)
        done = state.global_step - self._first_step
        left = (now - self._began) / max(done, 1) * (state.max_steps - state.global_step)
        self._last, self._paused = now, 0.0
        line: dict[str, Any] = {
            "step": state.global_step,
            "loss": round(logs["loss"], 6),
            **{
                name: round(float(logs[name]), 6)
                for name in ("lm_loss", "contrast", "route", "balance", "z", "agreement")
                if name in logs
            },
            "learning_rate": logs.get("learning_rate", 0.0),
            "gradient_norm": round(float(logs.get("grad_norm", 0.0)), 4),
            "tokens_per_second": round(speed, 1),
        }
        self._keep(line)
        terms = "  ".join(
            f"{name} {line[name]:.3f}" for name in ("contrast", "route", "balance") if name in line
        )
        self._show(
            f"step {state.global_step}/{state.max_steps}  loss {line['loss']:.4f}  {terms}  "
            f"{speed:,.0f} tokens/s  {duration(left)} left"
        )

    def _keep(self, line: dict[str, Any]) -> None:
        append_line(self._run / LOG_FILE, line)


class Health(TrainerCallback):  # type: ignore[misc]
    """Writes a line of router health whenever the trainer has looked at it."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self.trainer: Any = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        healths: list[LayerHealth] | None = self.trainer.health
        if healths is None or not state.is_world_process_zero:
            return
        self.trainer.health = None
        layers = [asdict(health) for health in healths]
        append_line(self._run / HEALTH_FILE, {"step": state.global_step, "layers": layers})


def append_line(path: Path, line: dict[str, Any]) -> None:
    """Append one JSON object to a file of them."""
    with path.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(line) + "\n")


def drop_lines_after(path: Path, step: int) -> None:
    """Take lines of steps that are about to be done again out of a file of JSON lines."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError):
            continue  # the last line of a run that was killed
    write_atomically(path, "".join(kept))


def duration(seconds: float) -> str:
    """A length of time for people: "40 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
