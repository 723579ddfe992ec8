"""sparsedoctor-train as a person meets it: what it prints, leaves behind and refuses."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from connections import foreign, recorded_connections
from tiny_runs import tiny_settings, write_data

from sparsedoctor.core.moe.adapter_description import AdapterDescription
from sparsedoctor.train.checkpoints import last_checkpoint

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
COMMAND = (sys.executable, "-m", "sparsedoctor.train.cli")


def _flags(folder: Path, **run: object) -> list[str]:
    """A tiny run as command-line flags."""
    tiny_settings(folder)  # makes base and data
    values = {
        "data": folder / "data.jsonl", "base": folder / "base", "rank": 2, "shared_rank": 2,
        "queue_length": 12, "max_tokens": 96, "steps": 4, "batch": 2, "log_every": 1,
        "save_every": 2, "evaluate_every": 2, "health_every": 2, "threads": 1, "device": "cpu",
        "held_out_fraction": 0.1,
    } | run  # fmt: skip
    return [
        text
        for name, value in values.items()
        for text in ("--" + name.replace("_", "-"), str(value))
    ]


def _command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, env=ENVIRONMENT
    )


def test_a_run_from_data_to_report(tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = _command(*_flags(tmp_path), "--output", run)
    assert done.returncode == 0, done.stderr
    assert re.search(r"of [\d,]+ parameters are trained", done.stdout)
    assert re.search(r"memory: [\d,]+ MiB = weights", done.stdout)
    assert re.search(r"step 4/4  loss [\d.]+ .* tokens/s  .* left", done.stdout)
    assert re.search(r"memory: predicted [\d,]+ MiB, peak [\d,]+ MiB", done.stdout)
    description = AdapterDescription.read(run / "adapter")
    assert description.training["steps"] == 4
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if "loss" in line] == [1, 2, 3, 4]
    assert {"lm_loss", "contrast", "route", "balance", "tokens_per_second"} <= log[0].keys()
    assert [line["step"] for line in log if "held_out_loss" in line] == [2, 4]
    health = [json.loads(line) for line in (run / "health.jsonl").read_text().splitlines()]
    assert [line["step"] for line in health] == [2, 4]
    assert len(health[0]["layers"]) == 2
    record = json.loads((run / "run.json").read_text())
    assert record["settings"]["run"]["steps"] == 4
    assert record["versions"]["torch"]
    assert len(next(iter(record["data_sha256"].values()))) == 64
    assert (run / "report.html").is_file()
    assert list((run / "pictures").glob("*.png"))

    again = _command("report", run)
    assert again.returncode == 0
    second = _command(*_flags(tmp_path), "--output", run)
    assert second.returncode == 2
    assert "--resume" in second.stderr


@pytest.mark.parametrize("base", ["a folder", pytest.param("smollm2", marks=pytest.mark.slow)])
def test_training_connects_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    """From data to report."""
    log = recorded_connections(tmp_path, monkeypatch)
    short: dict[str, object] = {"steps": 1, "batch": 1, "evaluate_every": 1, "save_every": 1}
    flags = _flags(tmp_path, **short, **({"base": base} if base == "smollm2" else {}))
    run = subprocess.run(
        [*COMMAND, *flags, "--output", str(tmp_path / "run")],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert foreign(log) == []
    outwards = "import socket; s = socket.socket(); s.settimeout(0.1); s.connect(('192.0.2.1', 9))"
    subprocess.run([sys.executable, "-c", outwards], capture_output=True)  # the control
    assert len(foreign(log)) == 1


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, "the run ended early"
        time.sleep(0.02)


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_or_killed_resumes(tmp_path: Path, blow: signal.Signals) -> None:
    run = tmp_path / "run"
    flags = _flags(tmp_path, steps=400, evaluate_every=0, health_every=0, log_every=1)
    process = subprocess.Popen(
        [*COMMAND, *flags, "--output", str(run)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    _wait_for(run / "checkpoint-2" / "complete.json", process)
    process.send_signal(blow)
    printed = process.communicate()[0]
    checkpoint = last_checkpoint(run)
    assert checkpoint is not None
    step = int(checkpoint.name.rpartition("-")[2])
    if blow == signal.SIGINT:
        assert process.returncode == 130
        assert f"sparsedoctor-train --resume {run}" in printed
        assert f"stopped at step {step}" in printed
    else:
        last = json.loads((run / "log.jsonl").read_text().splitlines()[-1])["step"]
        assert last - step <= 3  # at most the steps since the last whole checkpoint
        (run / f"checkpoint-{step + 500}").mkdir()  # as if killed while writing it

    record = json.loads((run / "run.json").read_text())
    record["settings"]["run"]["steps"] = step + 2  # no need to wait for all of them
    (run / "run.json").write_text(json.dumps(record))
    resumed = _command("--resume", run)
    assert resumed.returncode == 0, resumed.stderr
    steps = [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, step + 3))  # nothing twice, nothing missing
    assert AdapterDescription.read(run / "adapter").training["steps"] == step + 2
    assert not (run / f"checkpoint-{step + 500}").exists()


def test_a_disk_that_fills_up_ends_the_run_in_one_line(tmp_path: Path) -> None:
    run = tmp_path / "run"
    flags = _flags(tmp_path, steps=4000, evaluate_every=0, health_every=0, log_every=1)
    process = subprocess.Popen(
        [*COMMAND, *flags, "--output", str(run)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    _wait_for(run / "checkpoint-2" / "complete.json", process)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1000, 1000))  # no file grows beyond
    said = process.communicate()[1].strip()
    assert process.returncode == 2
    assert len(said.splitlines()) == 1, said
    whole = last_checkpoint(run)
    assert whole is not None
    assert f"{whole.name} is whole: make room, then sparsedoctor-train --resume {run}" in said
    _finish(run, int(whole.name.rpartition("-")[2]) + 1)


@pytest.mark.parametrize(
    "moment", ["os.mkdir checkpoint-4", "open trainer_state.json", "os.rename complete.json"]
)
def test_killed_while_it_writes_a_checkpoint_the_one_before_loads(
    tmp_path: Path, moment: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(KILL_ITSELF)
    environment = ENVIRONMENT | {"PYTHONPATH": str(tmp_path), "MOMENT": moment}
    run = tmp_path / "run"
    flags = _flags(tmp_path, steps=6, evaluate_every=0, health_every=0)
    done = subprocess.run(
        [*COMMAND, *flags, "--output", str(run)], capture_output=True, env=environment
    )
    assert done.returncode == -signal.SIGKILL
    assert (run / "checkpoint-4").exists() == ("mkdir" not in moment)
    assert last_checkpoint(run) == run / "checkpoint-2"
    _finish(run, 6)


KILL_ITSELF = """
import os, signal, sys
event_wanted, name = os.environ["MOMENT"].split()
def kill(event, arguments):
    if event == event_wanted and isinstance(arguments[0], (str, os.PathLike)):
        path = os.fspath(arguments[0])
        if "checkpoint-4" in path and name in path:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
"""


def _finish(run: Path, steps: int) -> None:
    """Resume a run to its end, at `steps`. In this process: starting torch takes seconds."""
    from sparsedoctor.train.cli import main

    record = json.loads((run / "run.json").read_text())
    record["settings"]["run"]["steps"] = steps
    (run / "run.json").write_text(json.dumps(record))
    assert main(["--resume", str(run)]) == 0
    assert AdapterDescription.read(run / "adapter").training["steps"] == steps


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"top_k": 1}, "top_k is 1"),
        ({"top_k": 5}, "top_k is 5"),
        ({"steps": 0}, "steps is 0"),
        ({"save_every": 3}, "save_every (3) must be a multiple of evaluate_every"),
        ({"device": "cuda"}, "no CUDA"),
        ({"base": "nowhere"}, "there is no base model nowhere"),
        ({"data": "nowhere.jsonl"}, "nowhere.jsonl"),
        ({"max_tokens": 8}, "no example fits"),
        ({"batch": 2**30}, "it would fit with --batch"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    import torch

    if change.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    done = _refused(tmp_path, [*_flags(tmp_path, **change), "--output", str(tmp_path / "run")])
    assert said in done
    assert not (tmp_path / "run" / "run.json").exists()


def _refused(folder: Path, arguments: list[str]) -> str:
    """The one line of an exit code of 2. In this process: starting torch takes seconds."""
    from contextlib import redirect_stderr
    from io import StringIO

    from sparsedoctor.train.cli import main

    caught = StringIO()
    with redirect_stderr(caught):
        assert main(arguments) == 2
    lines = caught.getvalue().strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_four_bits_are_refused_without_bitsandbytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *given: None if name == "bitsandbytes" else find_spec(name, *given),
    )
    arguments = [*_flags(tmp_path), "--four-bit", "--output", str(tmp_path / "run")]
    assert 'pip install "sparsedoctor[four-bit]"' in _refused(tmp_path, arguments)


def test_reading_a_large_file_is_shown_and_can_be_interrupted(tmp_path: Path) -> None:
    line = json.dumps({"question": "What is asthma?", "answer": "A disease.", "focus": "Asthma"})
    data = tmp_path / "large.jsonl"
    data.write_text(f"{line}\n" * 1_000_000)
    screen, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 80))
    process = subprocess.Popen(
        [*COMMAND, "--data", str(data), "--dry-run"], stderr=end, env=ENVIRONMENT
    )
    os.close(end)
    seen = b""
    while b"examples" not in seen:
        seen += os.read(screen, 1000)
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # a closed terminal reads so
        while piece := os.read(screen, 1000):
            seen += piece
    assert process.wait() == 130
    text = seen.decode().replace("\r", "\n")
    assert "reading large.jsonl" in text
    assert "Traceback" not in text
    assert text.split()[-1].endswith("interrupted")


def test_malformed_data_are_named_by_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"question": "a?", "answer": "b"}\n{"question": "a?",\n')
    said = _refused(tmp_path, ["--data", str(path), "--output", str(tmp_path / "run")])
    assert f"{path}, line 2" in said
    path.write_text("")
    said = _refused(tmp_path, ["--data", str(path), "--output", str(tmp_path / "run")])
    assert str(path) in said


def test_changed_data_are_not_resumed_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert _command(*_flags(tmp_path, evaluate_every=0), "--output", run).returncode == 0
    assert "is finished" in _refused(tmp_path, ["--resume", str(run)])
    (run / "adapter").rename(run / "other")
    write_data(tmp_path / "data.jsonl", examples=25)
    assert "has changed since the run began" in _refused(tmp_path, ["--resume", str(run)])


def test_a_dry_run_shows_counts_and_the_loss_mask_and_trains_nothing(tmp_path: Path) -> None:
    done = _command(*_flags(tmp_path), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "tokens of an example" in done.stdout
    assert "⟦" in done.stdout
    assert "trained parameters" in done.stdout
    assert "memory:" in done.stdout


def test_help_needs_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; from sparsedoctor.train.cli import run_parser; run_parser().format_help(); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'peft')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    shown = _command("--help")
    assert shown.returncode == 0
    assert "--learning-rate" in shown.stdout
    assert "--resume RUN" in shown.stdout
