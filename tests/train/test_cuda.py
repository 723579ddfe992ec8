"""Training and scoring on a CUDA device say what they say on a CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from tiny_runs import state_of, tiny_settings

from sparsedoctor.core.moe.adapter import load_adapter
from sparsedoctor.core.moe.base import load_base
from sparsedoctor.train.run import Loaded, prepare, resume_run, start_run
from sparsedoctor.train.settings import Settings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def _train(settings: Settings, output: Path) -> Loaded:
    transformers.set_seed(settings.run.seed)
    loaded = prepare(settings, output)
    loaded.trainer.train()
    return loaded


def _losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_a_run_in_float32_follows_the_one_on_a_cpu(tmp_path: Path) -> None:
    losses, queues = [], []
    for device in ("cpu", "cuda"):
        settings = tiny_settings(tmp_path, device=device, precision="float32", steps=6)
        loaded = _train(settings, tmp_path / device)
        assert next(loaded.model.parameters()).device.type == device
        losses.append(torch.tensor(_losses(tmp_path / device)))
        state = state_of(loaded.model)
        queues.append([state[name].cpu() for name in state if name.endswith("count")])
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-3, atol=1e-3)
    for cuda, cpu in zip(queues[1], queues[0], strict=True):
        assert int(cuda.sum()) == int(cpu.sum()) > 0


def test_a_run_in_bfloat16_learns_resumes_and_its_adapter_loads(tmp_path: Path) -> None:
    settings = tiny_settings(
        tmp_path, device="cuda", steps=30, learning_rate=5e-3, gradient_checkpointing=True
    )
    run = tmp_path / "run"
    assert start_run(settings, run) == 0
    losses = _losses(run)
    assert sum(losses[-5:]) < sum(losses[:5])
    model = load_adapter(load_base(settings.run.base), run / "adapter")
    assert all(t.isfinite().all() for t in state_of(model).values() if t.is_floating_point())
    first = (run / "log.jsonl").read_text().splitlines()
    (run / "adapter").rename(tmp_path / "first")
    (run / "checkpoint-30").rename(tmp_path / "checkpoint-30")
    assert resume_run(run) == 0
    again = _losses(run)
    assert len(again) == 30
    assert (run / "log.jsonl").read_text().splitlines()[:28] == first[:28]  # not done again
    last = torch.tensor(again[28:])
    torch.testing.assert_close(last, torch.tensor(losses[28:]), rtol=2e-2, atol=2e-2)
