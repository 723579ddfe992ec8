"""Runs taken up again: finished but for their adapter, damaged, moved, in use, diverged."""

from __future__ import annotations

import errno
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import make_tiny_model
from tiny_runs import tiny_settings

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.in_use import in_use
from sparsedoctor.core.moe.adapter_description import AdapterDescription
from sparsedoctor.train import run as running
from sparsedoctor.train.checkpoints import last_checkpoint
from sparsedoctor.train.cli import main
from sparsedoctor.train.run import resume_run, start_run


def _run(folder: Path, name: str = "run", **settings: Any) -> Path:
    torch.set_num_threads(1)
    measured = {"data": {"held_out_fraction": 0.2}, "evaluate_every": 2}
    assert start_run(tiny_settings(folder, **(measured | settings)), folder / name) == 0
    return folder / name


def _adapter(run: Path) -> tuple[dict[str, Any], bytes]:
    description = AdapterDescription.read(run / "adapter").training
    return description, (run / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize(
    "given",
    [
        {"steps": 4},
        {"steps": 4, "learning_rate": 0.5, "schedule": "constant_with_warmup"},  # 2 is the best
        {"steps": 30, "learning_rate": 0.5, "schedule": "constant_with_warmup", "patience": 2,
         "evaluate_every": 1, "save_every": 1},
    ],
    ids=["to its end", "with an earlier best one", "stopped early"],
)  # fmt: skip
def test_a_run_that_lacks_only_its_adapter_trains_no_further(
    tmp_path: Path, given: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run = _run(tmp_path, **given)
    before = _adapter(run)
    checkpoints = sorted(one.name for one in run.glob("checkpoint-*"))
    shutil.rmtree(run / "adapter")
    assert resume_run(run) == 0
    assert "every step is done" in capsys.readouterr().out
    assert _adapter(run) == before
    assert sorted(one.name for one in run.glob("checkpoint-*")) == checkpoints


def test_a_full_disk_after_the_last_step_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _adapter(_run(tmp_path, "whole"))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(running, "write_choices", full)
        with pytest.raises(SparseDoctorError, match="checkpoint-4 is whole: make room, then"):
            _run(tmp_path, "cut")
    assert resume_run(tmp_path / "cut") == 0
    assert _adapter(tmp_path / "cut") == before


@pytest.mark.parametrize(
    "file", ["optimizer.pt", "adapter_model.safetensors", "trainer_state.json"]
)
def test_a_damaged_checkpoint_is_told_and_the_one_before_taken(
    tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _run(tmp_path)
    before = _adapter(run)
    shutil.rmtree(run / "adapter")
    content = (run / "checkpoint-4" / file).read_bytes()
    (run / "checkpoint-4" / file).write_bytes(content[: len(content) // 2])
    assert resume_run(run) == 0
    assert f"checkpoint-4 is damaged ({file})" in capsys.readouterr().out
    assert _adapter(run) == before
    steps = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps if "loss" in line] == [1, 2, 3, 4]


@pytest.mark.parametrize("left", ["nothing", "damaged"])
def test_a_run_without_a_sound_checkpoint_begins_again(tmp_path: Path, left: str) -> None:
    run = _run(tmp_path)
    before, record = _adapter(run), (run / "run.json").read_bytes()
    shutil.rmtree(run / "adapter")
    for checkpoint in run.glob("checkpoint-*"):
        if left == "nothing":  # killed before the first one
            shutil.rmtree(checkpoint)
        else:
            (checkpoint / "trainer_state.json").unlink()
    assert resume_run(run) == 0
    assert _adapter(run) == before
    assert (run / "run.json").read_bytes() == record


def test_a_damaged_best_checkpoint_is_told_and_no_other_passes_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _run(tmp_path, learning_rate=0.5, schedule="constant_with_warmup")
    shutil.rmtree(run / "adapter")
    weights = run / "checkpoint-2" / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert resume_run(run) == 0
    assert "checkpoint-2, the best one, is damaged (adapter_model" in capsys.readouterr().out
    training, _ = _adapter(run)
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    losses = {line["step"]: line["held_out_loss"] for line in lines if "held_out_loss" in line}
    assert training["best_step"] == 4
    assert math.isclose(training["held_out_loss"], losses[4], abs_tol=1e-4)
    assert losses[2] < losses[4]


def test_another_base_than_the_run_began_with_is_refused(tmp_path: Path) -> None:
    run = _run(tmp_path)
    shutil.rmtree(run / "adapter")
    shutil.rmtree(tmp_path / "base")
    make_tiny_model(tmp_path / "base", "llama", hidden=32, ffn=48, heads=2, kv_heads=1, seed=5)
    with pytest.raises(SparseDoctorError, match="is not the base this run began with"):
        resume_run(run)


def test_a_run_that_says_nothing_of_sharing_goes_on_without(tmp_path: Path) -> None:
    run = _run(tmp_path, experts={"sharing": 0.0})
    before = _adapter(run)
    shutil.rmtree(run / "adapter")
    shutil.rmtree(run / "checkpoint-4")
    record = json.loads((run / "run.json").read_text())
    del record["settings"]["experts"]["sharing"]
    (run / "run.json").write_text(json.dumps(record))
    assert resume_run(run) == 0
    assert _adapter(run) == before
    assert AdapterDescription.read(run / "adapter").experts.sharing == 0


def test_a_file_system_without_locks_is_none_to_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("sparsedoctor.core.in_use.FileLock.acquire", none)
    with in_use(tmp_path, "training"):
        pass


def test_stopping_early_needs_something_held_out(tmp_path: Path) -> None:
    nothing = {"data": {"held_out_fraction": 0.0}, "evaluate_every": 2, "patience": 1}
    with pytest.raises(SparseDoctorError, match="patience needs held-out examples"):
        start_run(tiny_settings(tmp_path, **nothing), tmp_path / "run")


def test_a_run_in_use_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = _run(tmp_path)
    shutil.rmtree(run / "adapter")
    (run / "checkpoint-9").mkdir()  # as if it were being written
    log = (run / "log.jsonl").read_bytes()
    with in_use(run, "training"):
        assert main(["--resume", str(run)]) == 2
        assert "in use by another training" in capsys.readouterr().err
        (run / "run.json").rename(run / "away.json")  # a second beginning in the same folder
        with pytest.raises(SparseDoctorError, match="in use"):
            _run(tmp_path)
        (run / "away.json").rename(run / "run.json")
    assert (run / "log.jsonl").read_bytes() == log
    assert (run / "checkpoint-9").is_dir()
    assert main(["--resume", str(run)]) == 0


def test_a_run_resumes_from_any_directory_and_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = {"steps": 4, "learning_rate": 0.5, "schedule": "constant_with_warmup"}
    tiny_settings(tmp_path)
    monkeypatch.chdir(tmp_path)
    data = {"data": ["data.jsonl"], "held_out_fraction": 0.2}
    settings = tiny_settings(Path(), data=data, evaluate_every=2, **rates)
    assert settings.run.base == "base"
    assert start_run(settings, Path("run")) == 0
    before = _adapter(tmp_path / "run")
    assert before[0]["best_step"] < 4  # so the best one has to be found
    shutil.rmtree("run/adapter")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "run").rename(tmp_path / "elsewhere" / "moved")
    assert main(["--resume", "moved"]) == 0
    assert _adapter(tmp_path / "elsewhere" / "moved") == before
    (tmp_path / "data.jsonl").rename(tmp_path / "gone.jsonl")
    shutil.rmtree("moved/adapter")
    with pytest.raises(SparseDoctorError, match=f"{tmp_path / 'data.jsonl'} of this run are gone"):
        resume_run(Path("moved"))


@pytest.mark.parametrize(("log_every", "what"), [(1, "the loss"), (8, "the sum of the weights")])
def test_a_training_that_diverges_stops_and_writes_no_such_weights(
    tmp_path: Path, log_every: int, what: str
) -> None:
    settings = tiny_settings(
        tmp_path, steps=8, learning_rate=1e30, warmup=0, save_every=1, clip=1e30,
        log_every=log_every,
    )  # fmt: skip
    with pytest.raises(SparseDoctorError, match=f"{what} is nan at .* has diverged") as told:
        start_run(settings, tmp_path / "run")
    assert "learning_rate" in str(told.value)
    assert not (tmp_path / "run" / "adapter").exists()
    last = last_checkpoint(tmp_path / "run")
    assert last is not None
    weights = load_file(last / "adapter_model.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_data_that_cannot_be_read_or_are_all_left_out_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_settings(tmp_path)
    data, base = str(tmp_path / "data.jsonl"), str(tmp_path / "base")
    given = ["--base", base, "--dry-run", "--data"]
    assert main([*given, "/dev/null"]) == 2
    assert "/dev/null is no file; expected" in capsys.readouterr().err
    assert main([*given, data, "--exclude", data]) == 2
    assert "nothing is left" in capsys.readouterr().err
    assert main(["--resume", data]) == 2
    assert f"{data} is no run" in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), ("--attention-rank", "2"), ("--freeze-router",)])
def test_a_dry_run_counts_what_a_run_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    tiny_settings(tmp_path)
    given = ["--base", str(tmp_path / "base"), "--data", str(tmp_path / "data.jsonl")]
    given += ["--steps", "1", "--threads", "1", "--evaluate-every", "0", "--device", "cpu"]
    given += more
    assert main([*given, "--dry-run"]) == 0
    told = re.search(r"trained parameters: ([\d,]+ of [\d,]+)", capsys.readouterr().out)
    assert main([*given, "--output", str(tmp_path / "run")]) == 0
    found = re.search(r": ([\d,]+ of [\d,]+) parameters are trained", capsys.readouterr().out)
    assert told is not None
    assert found is not None
    assert told[1] == found[1]


def test_the_loss_said_is_that_of_every_step(tmp_path: Path) -> None:
    run = _run(tmp_path, steps=4)
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    said = AdapterDescription.read(run / "adapter").training["training_loss"]
    assert math.isclose(said, sum(losses) / 4, abs_tol=2e-4)


def test_as_many_checkpoints_stay_as_were_asked_for_beside_the_best(tmp_path: Path) -> None:
    run = _run(
        tmp_path, steps=6, learning_rate=0.5, schedule="constant_with_warmup", evaluate_every=1,
        save_every=1, keep=2,
    )  # fmt: skip
    best = AdapterDescription.read(run / "adapter").training["best_step"]
    assert best < 5
    kept = {int(one.name.rpartition("-")[2]) for one in run.glob("checkpoint-*")}
    assert kept == {best, 5, 6}
