"""Train a row of `eval_table.py`, each training in a process of its own, and tune its rate."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from eval_table_rows import MEMORY, SHAPE, Row
from safetensors import safe_open

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.evaluate.journal import write_json

TRAIN_FILE = "train.json"  # what a finished training left: seconds, memory, held-out loss
DESCRIPTIONS = ("sparsedoctor.json", "dense.json")  # the last file of a finished adapter
LOG_FILE = "train.log"  # what it said, where several run beside each other


def tuned_rate(row: Row, files: Sequence[Path], options: argparse.Namespace) -> float:
    """The learning rate with the lowest held-out loss after a quarter of the steps."""
    if row.name == "base" or len(options.rates) == 1:
        return float(options.rates[0])
    losses = {rate: try_rate(row, rate, files, options) for rate in options.rates}
    print(f"{row.name}: held-out loss by rate {losses}", flush=True)
    return float(min(losses, key=lambda rate: losses[rate]))


def try_rate(row: Row, rate: float, files: Sequence[Path], options: argparse.Namespace) -> float:
    """The held-out loss after a quarter of the steps at `rate`, with the first seed."""
    folder = options.output / row.name / f"rate-{rate:g}"
    steps = max(1, options.steps // 4)
    train(row, files, folder, options, seed=options.seeds[0], rate=rate, steps=steps)
    return float(json.loads((folder / TRAIN_FILE).read_text())["held_out_loss"])


def train(
    row: Row,
    files: Sequence[Path],
    folder: Path,
    options: argparse.Namespace,
    *,
    seed: int,
    rate: float,
    steps: int,
) -> None:
    """Train into `folder` in a process of its own, unless that is done.

    A training whose adapter is there was stopped before its figures were written; what it took is
    then unknown, as it is of one that goes on after an interruption.
    """
    if (folder / TRAIN_FILE).is_file():
        return
    adapter = folder / "run" / "adapter"
    done: dict[str, object] = {"row": asdict(row), "seed": seed, "rate": rate, "steps": steps}
    if any((adapter / name).is_file() for name in DESCRIPTIONS):
        write_json(folder / TRAIN_FILE, done | trained(adapter))
        return
    command = training_command(row, files, folder, options, seed=seed, rate=rate, steps=steps)
    goes_on = any((folder / "run").glob("checkpoint-*"))
    print(f"training {folder.relative_to(options.output)}", flush=True)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        log = None
        if options.jobs > 1:
            folder.mkdir(parents=True, exist_ok=True)
            log = stack.enter_context((folder / LOG_FILE).open("ab"))
        process = subprocess.Popen(command, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SparseDoctorError(
            f"training {folder} stopped with code {process.returncode}"
            f"{f', see {folder / LOG_FILE}' if log else ''}; call this again to go on"
        )
    took = {
        "seconds": round(time.monotonic() - began, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_bytes": usage.ru_maxrss * 1024,
    }
    write_json(folder / TRAIN_FILE, done | ({} if goes_on else took) | trained(adapter))


def training_command(
    row: Row,
    files: Sequence[Path],
    folder: Path,
    options: argparse.Namespace,
    *,
    seed: int,
    rate: float,
    steps: int,
) -> list[str]:
    """The command that trains a row, or goes on with it.

    A training of few steps needs its warm-ups shorter: the learning rate's, and that of contrast
    and route where they wait for a memory, which else would not have their weight before the end.
    """
    run = folder / "run"
    interval, third = max(1, steps // options.evaluations), max(1, steps // 3)
    common = {
        "--base": options.base,
        "--steps": steps,
        "--batch": options.batch,
        "--max-tokens": options.max_tokens,
        "--precision": options.precision,
        "--learning-rate": rate,
        "--warmup": min(options.warmup, third),
        "--seed": seed,
        "--evaluate-every": interval,
        "--save-every": interval,
        "--held-out-fraction": options.held_out_fraction,
        "--held-out-limit": options.held_out_limit,
        "--threads": options.threads,
    }
    flags = [str(part) for pair in common.items() for part in pair]
    if options.pack:
        flags.append("--pack")
    data = ["--data", *map(str, files)]
    if row.dense_rank:
        dense = [sys.executable, str(Path(__file__).with_name("eval_table_dense.py"))]
        shape = ["--rank", str(row.dense_rank), "--alpha", str(row.alpha)]
        return [*dense, *shape, "--output", str(run), *flags, *data]
    trainer = [sys.executable, "-m", "sparsedoctor.train.cli"]
    if (run / "run.json").is_file():
        return [*trainer, "--resume", str(run)]
    given = row.flags or ()
    if MEMORY[0] in given:
        given = ("--warmup-steps", str(min(options.warmup_steps, third)), *given)
    return [*trainer, "--output", str(run), *flags, *SHAPE, *given, *data]


def trained(adapter: Path) -> dict[str, object]:
    """The held-out loss and the number of trained parameters of a finished adapter."""
    for name in DESCRIPTIONS:
        if (adapter / name).is_file():
            document = json.loads((adapter / name).read_text(encoding="utf-8"))
    with safe_open(str(adapter / "adapter_model.safetensors"), framework="np") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    parameters = sum(math.prod(shape) for shape in shapes)
    return {"held_out_loss": document["training"]["held_out_loss"], "parameters": parameters}
