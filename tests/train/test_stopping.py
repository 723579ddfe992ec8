"""Early stopping, the best checkpoint, packed rows, and room on the disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_runs import tiny_settings

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.moe.adapter_description import AdapterDescription
from sparsedoctor.train.checkpoints import check_disk_space, last_checkpoint, write_atomically
from sparsedoctor.train.run import start_run


def _held_out(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line["held_out_loss"] for line in lines if "held_out_loss" in line]


def test_a_run_that_gets_worse_stops_and_keeps_its_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tiny_settings(
        tmp_path, steps=30, learning_rate=0.5, schedule="constant_with_warmup", patience=2,
        evaluate_every=1, save_every=1, data={"held_out_fraction": 0.2},
    )  # fmt: skip
    torch.set_num_threads(1)
    assert start_run(settings, tmp_path / "run") == 0
    losses = _held_out(tmp_path / "run")
    assert len(losses) < 30
    assert "stopped there, 2 measurements were no better" in capsys.readouterr().out
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert f"It stopped at step {len(losses)} of 30: 2 measurement(s) in a row" in page
    best = losses.index(min(losses)) + 1
    assert len(losses) == best + 2  # two measurements without a better one
    training = AdapterDescription.read(tmp_path / "run" / "adapter").training
    assert training["best_step"] == best
    assert training["held_out_loss"] == pytest.approx(min(losses), abs=1e-3)
    assert (tmp_path / "run" / f"checkpoint-{best}").is_dir()


def test_what_does_not_fit_is_told_and_a_held_out_part_of_which_nothing_fits_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = {"question": "Is it a cold?", "answer": "Perhaps.", "focus": "a"}
    long = {"question": "Is it a cold? " * 99, "answer": "Perhaps.", "focus": "b"}
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (short, long)))
    mixed = tiny_settings(tmp_path, steps=1, data={"held_out_fraction": 0})
    assert start_run(mixed, tmp_path / "run") == 0
    assert "1 examples, " in (said := capsys.readouterr().out)
    assert "0 examples held out; 1 left out, too long" in said
    (tmp_path / "long.jsonl").write_text(json.dumps(long) + "\n")
    held_out = tiny_settings(tmp_path, steps=1, data={"held_out": [str(tmp_path / "long.jsonl")]})
    with pytest.raises(SparseDoctorError, match="no held-out example fits in 96 tokens"):
        start_run(held_out, tmp_path / "other")


def test_packed_rows_train(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path, steps=2, data={"pack": True, "max_tokens": 128})
    assert start_run(settings, tmp_path / "run") == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]
    assert all(0 < line["loss"] < 30 for line in lines if "loss" in line)


def test_a_full_disk_is_said_beforehand(tmp_path: Path) -> None:
    check_disk_space(tmp_path, 1)
    with pytest.raises(SparseDoctorError, match="MiB free"):
        check_disk_space(tmp_path, 1 << 60)


def test_a_checkpoint_without_its_marker_is_none(tmp_path: Path) -> None:
    for step in (2, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        write_atomically(tmp_path / f"checkpoint-{step}" / "complete.json", "{}")
    (tmp_path / "checkpoint-12").mkdir()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert last_checkpoint(tmp_path / "checkpoint-2") is None
    assert [file.name for file in (tmp_path / "checkpoint-2").iterdir()] == ["complete.json"]
