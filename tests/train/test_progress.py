"""The speed of a line is that of the steps, whatever came between them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers", reason="training needs sparsedoctor[train]")

from sparsedoctor.train.progress import LOG_FILE, Progress


def test_measuring_and_saving_are_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    state: Any = SimpleNamespace(global_step=0, max_steps=4, is_world_process_zero=True)
    progress = Progress(tmp_path, show=lambda _: None)
    progress.on_train_begin(None, state, None)

    def step(seconds: float) -> None:
        now[0] += seconds
        state.global_step += 1
        progress.on_step_end(None, state, None)

    def line() -> None:
        progress.on_log(None, state, None, {"loss": 2.0, "tokens": 100.0})

    step(2)
    step(2)
    line()
    now[0] += 7  # the held-out loss
    progress.on_log(None, state, None, {"eval_loss": 2.0, "perplexity": 7.4})
    now[0] += 9  # a checkpoint
    progress.on_save(None, state, None)
    step(3)
    now[0] += 5
    progress.on_log(None, state, None, {"eval_loss": 2.0, "perplexity": 7.4})
    step(1)
    line()
    lines = [json.loads(text) for text in (tmp_path / LOG_FILE).read_text().splitlines()]
    speeds = [one["tokens_per_second"] for one in lines if "loss" in one]
    assert speeds == [25.0, 25.0]  # 100 tokens in 2 + 2 seconds, and in 3 + 1
