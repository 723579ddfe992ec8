"""Two processes train what one process with all rows trains."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from tiny_runs import tiny_settings

FLAGS = {
    "rank": 2, "shared_rank": 2, "queue_length": 64, "max_tokens": 96, "steps": 3, "log_every": 1,
    "save_every": 3, "evaluate_every": 0, "health_every": 0, "threads": 1, "device": "cpu",
    "held_out_fraction": 0, "warmup_steps": 1, "contrast_weight": 0.1, "route_weight": 0.1,
    "balance_weight": 0.1, "learning_rate": 1e-3, "warmup": 0,
}  # fmt: skip


def _train(folder: Path, run: str, processes: int, batch: int) -> dict[str, torch.Tensor]:
    flags = FLAGS | {"batch": batch, "data": folder / "data.jsonl", "base": folder / "base"}
    given = [t for n, v in flags.items() for t in ("--" + n.replace("_", "-"), str(v))]
    launch = [sys.executable, "-m"]
    if processes > 1:
        launch += [
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            str(processes),
            "-m",
        ]
    done = subprocess.run(
        [*launch, "sparsedoctor.train.cli", *given, "--output", str(folder / run)],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return load_file(folder / run / "checkpoint-3" / "adapter_model.safetensors")


def test_two_processes_equal_one(tmp_path: Path) -> None:
    """Queues hold the same keys in the same order; weights agree within Adam's rounding."""
    tiny_settings(tmp_path)  # makes base and data
    one = _train(tmp_path, "one", 1, batch=4)
    two = _train(tmp_path, "two", 2, batch=2)
    assert one.keys() == two.keys()
    assert any(name.endswith("queue.count") for name in one)
    for name, tensor in one.items():
        if name.endswith(("count", "pointer", "labels", "ready_steps")):
            assert torch.equal(tensor, two[name]), name
        else:
            difference = (tensor.float() - two[name].float()).norm()
            assert difference <= 2e-2 * tensor.float().norm(), (name, float(difference))
