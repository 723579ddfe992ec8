"""Two processes, started as the docs say, train what one process with all rows trains."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import tiny_settings, write_data

from sparsedoctor.train.run import start_run

RUN = {
    "steps": 3, "accumulate": 2, "save_every": 3, "evaluate_every": 3, "health_every": 1,
    "learning_rate": 1e-3, "warmup": 0,
    "seed": 18,  # with which no token is so undecided between experts that rounding chooses
}  # fmt: skip
SUPERVISION = {
    "queue_length": 8, "warmup_steps": 1, "contrast_weight": 0.1, "route_weight": 0.1,
    "balance_weight": 0.1, "queries": 7,
}  # fmt: skip


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


COPIES = ("--multi_gpu", "-m", "sparsedoctor.train.cli")  # a whole model on each process
FSDP = (
    *("--use_fsdp", "--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP"),
    *("--fsdp_transformer_layer_cls_to_wrap", "LlamaDecoderLayer"),
    *("--fsdp_state_dict_type", "FULL_STATE_DICT", "--fsdp_cpu_ram_efficient_loading", "false"),
)
FSDP_ON_CPU = str(Path(__file__).with_name("fsdp_on_cpu.py"))
SHARDS = (  # each weight spread over both
    *(*FSDP, "--fsdp_version", "2", "--fsdp_reshard_after_forward", "true"),
    FSDP_ON_CPU,
)
FIRST_FSDP = (*FSDP, "--fsdp_version", "1", FSDP_ON_CPU)


def _launch(program: tuple[str, ...], *arguments: str, refused: bool = False) -> str:
    """What two processes started by accelerate's launcher say as they end."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch"),
            *("--num_processes", "2", "--num_machines", "1"),
            *("--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no"),
            *program,
            *arguments,
        ],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert (done.returncode == 0) is not refused, said[-3000:]
    return said


@pytest.fixture(scope="module", params=[COPIES, SHARDS], ids=["copies", "shards"])
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A run of one process with 4 rows a micro-step, and of two with 2 rows each."""
    folder = tmp_path_factory.mktemp("processes")
    write_data(folder / "dev.jsonl", examples=7)  # odd: the second process has one fewer
    data = {"held_out": [str(folder / "dev.jsonl")]}
    threads = torch.get_num_threads()
    settings = tiny_settings(folder, batch=4, data=data, supervision=SUPERVISION, **RUN)
    assert start_run(settings, folder / "one") == 0
    torch.set_num_threads(threads)
    both = settings.to_json()
    both["run"]["batch"] = 2
    (folder / "two.yaml").write_text(json.dumps(both))  # JSON is YAML
    _launch(request.param, "--config", str(folder / "two.yaml"), "--output", str(folder / "two"))
    return {"one": folder / "one", "two": folder / "two"}


def test_two_processes_equal_one(runs: dict[str, Path]) -> None:
    """Queues hold the same keys in the same order, also where `queries` binds and micro-steps
    are accumulated; weights agree within Adam's rounding."""
    one, two = (
        load_file(run / "checkpoint-3" / "adapter_model.safetensors") for run in runs.values()
    )
    finished = load_file(runs["two"] / "adapter" / "adapter_model.safetensors")
    assert all(torch.equal(tensor, two[name].to(tensor)) for name, tensor in finished.items())
    assert one.keys() == two.keys()
    assert any(tensor.any() for name, tensor in one.items() if name.endswith("ready_steps"))
    for name, tensor in one.items():
        if name.endswith(("count", "pointer", "labels", "ready_steps")):
            assert torch.equal(tensor, two[name]), name
        else:
            difference = (tensor.float() - two[name].float()).norm()
            assert difference <= 1e-3 * tensor.float().norm(), (name, float(difference))


def test_two_processes_log_what_one_logs(runs: dict[str, Path]) -> None:
    """Every term is of all rows, and no held-out example counts twice."""
    one, two = (_lines(run / "log.jsonl") for run in runs.values())
    assert [line.keys() for line in one] == [line.keys() for line in two]
    assert sum("held_out_loss" in line for line in one) == 1
    for a, b in zip(one, two, strict=True):
        for name in a.keys() - {"tokens_per_second"}:
            assert b[name] == pytest.approx(a[name], rel=1e-5, abs=1e-5), (a["step"], name)


def test_two_processes_measure_the_health_of_all_rows(runs: dict[str, Path]) -> None:
    one, two = (_lines(run / "health.jsonl") for run in runs.values())
    for a, b in zip(one, two, strict=True):
        for layer, other in zip(a["layers"], b["layers"], strict=True):
            for name, value in layer.items():
                assert other[name] == pytest.approx(value, abs=2e-4), (a["step"], name)


def test_a_sharded_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    steps = {"save_every": 2, "evaluate_every": 0}  # the third one is not in a checkpoint
    settings = tiny_settings(tmp_path, supervision=SUPERVISION, **RUN | steps)
    (tmp_path / "run.yaml").write_text(json.dumps(settings.to_json()))
    run = tmp_path / "run"
    _launch(SHARDS, "--config", str(tmp_path / "run.yaml"), "--output", str(run))
    first = load_file(run / "adapter" / "adapter_model.safetensors")
    log = _lines(run / "log.jsonl")
    shutil.rmtree(run / "adapter")
    shutil.rmtree(run / "checkpoint-3", ignore_errors=True)
    _launch(SHARDS, "--resume", str(run))
    again = load_file(run / "adapter" / "adapter_model.safetensors")
    assert [line["step"] for line in _lines(run / "log.jsonl")] == [line["step"] for line in log]
    for name, tensor in first.items():
        torch.testing.assert_close(again[name], tensor, rtol=1e-5, atol=1e-6, msg=name)


def test_the_first_fsdp_is_refused_in_one_line(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path, **RUN)
    (tmp_path / "run.yaml").write_text(json.dumps(settings.to_json()))
    arguments = ("--config", str(tmp_path / "run.yaml"), "--output", str(tmp_path / "run"))
    said = _launch(FIRST_FSDP, *arguments, refused=True)
    assert "error: experts are trained with FSDP 2 only; add --fsdp_version 2" in said
