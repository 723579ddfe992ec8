"""The table's script, from training files to TABLE.md, on a tiny model and tiny data."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from evaluate.exam_files import write_lines
from tiny_models import make_tiny_model

from sparsedoctor.core.errors import SparseDoctorError

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "eval_table.py"


def exam(number: int, prefix: str) -> dict[str, object]:
    options = {letter: f"choice {letter}{number}" for letter in "ABCD"}
    key = "ABCD"[number % 4]
    text = f"{prefix} question number {number}, which choice is right?"
    return {"id": f"{prefix}-{number}", "question": text, "options": options, "answer": key}


def write_data(root: Path) -> Path:
    """The folders that the English track reads; one row of each training file is asked in a
    test."""
    test = [exam(i, "test") | {"subject": f"s{i % 2}"} for i in range(8)]
    write_lines(root / "eval" / "mmlu_med_test.jsonl.gz", test)
    write_lines(root / "eval" / "medmcqa_dev.jsonl.gz", [exam(i, "dev") for i in range(8)])
    answers = [
        {"question": f"What is number {i}?", "answer": f"A thing of kind {i}.", "focus": f"f{i}"}
        for i in range(24)
    ]
    write_lines(root / "eval" / "medquad_dev.jsonl.gz", answers[:12])
    write_lines(root / "train" / "medquad_train.jsonl.gz", answers[11:])
    leaked = [{name: test[3][name] for name in ("question", "options", "answer")}]
    rows = [exam(i, "train") for i in range(12)]
    write_lines(root / "train" / "en_exam_train.jsonl.gz", rows + leaked)
    return root


def table_command(root: Path, output: Path) -> list[str]:
    """A small table on a tiny base; what is made for it is made once."""
    if not (root / "base").is_dir():
        make_tiny_model(root / "base", "qwen2")
        write_data(root / "data")
    command = [sys.executable, str(SCRIPT), "--track", "en", "--base", str(root / "base")]
    command += ["--data", str(root / "data"), "--output", str(output), "--steps", "4"]
    return [*command, "--batch", "2", "--max-tokens", "128", "--threads", "1"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rows_are_trained_scored_and_tabled_and_a_second_call_does_nothing(
    tmp_path: Path,
) -> None:
    pytest.importorskip("peft", reason="training needs sparsedoctor[train]")
    output = tmp_path / "out"
    rows = ("base", "dense-parameters", "sparsedoctor")
    command = [*table_command(tmp_path, output), "--seeds", "1", "--rates", "1e-3", "3e-3"]
    command += ["--rows", *rows, "--against", "sparsedoctor"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kept = (output / "data" / "en_exam_train.jsonl").read_text().splitlines()
    assert len(kept) == 12  # the row that is a test question is left out
    kept = (output / "data" / "medquad_train.jsonl").read_text().splitlines()
    assert len(kept) == 12  # and the one whose answer's loss is measured
    text = (output / "TABLE.md").read_text()
    accuracy, losses, *_ = text.split("\n\n| ")
    for table in ("\n| " + accuracy, "\n| " + losses):
        assert table.count("\n| ") == 1 + len(rows)
    assert "| untouched base | 1 |" in text
    assert "| SparseDoctor: contrast, route, queue | 1 |" in text
    assert text.count("SparseDoctor minus this (95 %)") == 7
    dense, ours = (
        json.loads((output / row / "seed-1" / "train.json").read_text())["parameters"]
        for row in rows[1:]
    )
    assert 0 <= ours - dense < 0.1 * dense  # the router is all that is more
    before = {path: path.stat().st_mtime_ns for path in output.rglob("train.json")}
    assert len(before) == 6  # two rates and one seed of two rows
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "training" not in again.stdout
    assert {path: path.stat().st_mtime_ns for path in output.rglob("train.json")} == before


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_table_grows_to_more_questions(tmp_path: Path) -> None:
    same = ["--loss-limit", "6", "--seeds", "1", "--rates", "1e-3"]
    command = [*table_command(tmp_path, tmp_path / "grown"), *same]
    kept = tmp_path / "grown" / "dense-active" / "seed-1"
    write_lines(kept / "train.json", [{}])
    without = [*command, "--rows", "dense-active", "--limit", "2"]
    done = subprocess.run(without, capture_output=True, text=True)
    assert done.returncode == 2
    assert "its adapter is not at" in done.stderr
    rows = ["--rows", "base"]
    for limit in ("2", "4"):
        done = subprocess.run([*command, *rows, "--limit", limit], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    told = done.stderr.replace("\r", "\n")
    assert "2/4" in told
    assert "0/4" not in told
    at_once = [*table_command(tmp_path, tmp_path / "at-once"), *same, *rows, "--limit", "4"]
    done = subprocess.run(at_once, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = ((tmp_path / name / "TABLE.md").read_text() for name in ("grown", "at-once"))
    assert first == second
    fewer = subprocess.run([*command, *rows, "--limit", "2"], capture_output=True, text=True)
    assert fewer.returncode == 2
    assert "other settings (limit)" in fewer.stderr


@pytest.mark.parametrize(
    ("before", "now", "grown"),
    [(200, 600, True), (200, None, True), (200, 300, False), (200, 100, False), (None, 200, False)],
)
def test_only_a_multiple_of_a_sample_holds_it(
    monkeypatch: pytest.MonkeyPatch, before: int | None, now: int | None, grown: bool
) -> None:
    pytest.importorskip("peft", reason="the rows are trained with sparsedoctor[train]")
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    assert importlib.import_module("eval_table").grows(before, now) is grown


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_jobs_make_the_table_that_one_makes(tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="training needs sparsedoctor[train]")
    more = ["--seeds", "1", "2", "--rates", "1e-3", "--rows", "base", "dense-active"]
    tables = []
    for jobs in ("1", "2"):
        command = [*table_command(tmp_path, tmp_path / jobs), *more, "--jobs", jobs]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        text = (tmp_path / jobs / "TABLE.md").read_text()
        tables.append(text.partition("What each row took")[0])
    assert tables[0] == tables[1]
    assert "| dense LoRA, as many active | 2 |" in tables[1]
    assert (tmp_path / "2" / "dense-active" / "seed-1" / "train.log").stat().st_size > 0


def test_a_table_of_other_settings_is_left_alone(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    begun = {"track": "en", "base": "another", "steps": 4}
    (output / "settings.json").write_text(json.dumps(begun))
    done = subprocess.run(table_command(tmp_path, output), capture_output=True, text=True)
    assert done.returncode == 2
    assert "other settings (base, " in done.stderr
    assert "Traceback" not in done.stderr
    assert list(output.iterdir()) == [output / "settings.json"]


def test_rows_may_be_added_to_a_table_but_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("peft", reason="the rows are trained with sparsedoctor[train]")
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    table = importlib.import_module("eval_table")
    track = importlib.import_module("eval_table_rows").TRACKS["en"]
    base = tmp_path / "base"
    make_tiny_model(base, "qwen2")
    data = write_data(tmp_path / "data")
    options = argparse.Namespace(
        data=data,
        output=tmp_path,
        steps=4,
        base=str(base),
        precision="auto",
        pack=False,
        held_out_fraction=0.02,
    )
    settings = tmp_path / "settings.json"
    table.same_table(options, track)
    whole = settings.read_text()
    fewer = json.loads(whole)
    assert fewer["flags"].pop("sparsedoctor") == []
    assert len(fewer.pop("base_sha256")) == 64  # a table that was begun when only the name was kept
    assert fewer.pop("precision") == "auto"
    assert fewer.pop("pack") is False
    assert fewer.pop("held_out_fraction") == 0.02
    assert fewer.pop("dense")["dense-higher"] == [32, 128]
    settings.write_text(json.dumps(fewer))
    table.same_table(options, track)
    assert json.loads(settings.read_text()) == json.loads(whole)
    fewer["flags"]["moe"] = ["--contrast-weight", "1"]
    settings.write_text(json.dumps(fewer))
    with pytest.raises(SparseDoctorError, match=r"other settings \(flags\)"):
        table.same_table(options, track)
    fewer = json.loads(whole)
    fewer["dense"]["dense-higher"] = [32, 64]
    settings.write_text(json.dumps(fewer))
    with pytest.raises(SparseDoctorError, match=r"other settings \(dense\)"):
        table.same_table(options, track)
    settings.write_text(whole)
    make_tiny_model(base, "llama")  # another base of the same name
    with pytest.raises(SparseDoctorError, match="base_sha256"):
        table.same_table(options, track)


def test_what_an_interrupted_training_took_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call that ends it knows its own part alone."""
    pytest.importorskip("peft", reason="the rows are trained with sparsedoctor[train]")
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    training = importlib.import_module("eval_table_training")
    rows = importlib.import_module("eval_table_rows").ROWS
    monkeypatch.setattr(training, "training_command", lambda *_, **__: [sys.executable, "-V"])
    monkeypatch.setattr(training, "trained", lambda _: {"held_out_loss": 2.0})
    options = argparse.Namespace(output=tmp_path, jobs=1)
    (tmp_path / "stopped" / "run" / "checkpoint-2").mkdir(parents=True)
    told = {}
    for name in ("stopped", "whole"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        training.train(rows[1], [], folder, options, seed=1, rate=1e-3, steps=4)
        told[name] = json.loads((folder / "train.json").read_text())
    assert told["stopped"].keys() == told["whole"].keys() - {
        "seconds", "processor_seconds", "peak_bytes",
    }  # fmt: skip
    assert told["whole"]["seconds"] >= 0


def test_questions_of_letters_alone_keep_their_right_option_and_favour_no_letter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    letters_only = importlib.import_module("eval_table_data").letters_only
    rows = [exam(i, "x") | {"answer": "B", "explanation": "B is right."} for i in range(400)]
    found = list(letters_only(dict(row) for row in rows))
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    for before, after in zip(rows, found, strict=True):
        assert "explanation" not in after
        assert list(after["options"]) == list("ABCD")
        assert sorted(after["options"].values()) == sorted(before["options"].values())  # type: ignore[attr-defined]
        assert after["options"][after["answer"]] == before["options"]["B"]  # type: ignore[index]
    counts = [sum(row["answer"] == letter for row in found) for letter in "ABCD"]
    assert min(counts) > 70


def test_training_files_have_the_form_of_their_track(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Questions with several right options have neither form; what is asked is left out."""
    pytest.importorskip("peft", reason="the rows are trained with sparsedoctor[train]")
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    data = importlib.import_module("eval_table_data")
    tracks = importlib.import_module("eval_table_rows").TRACKS
    asked = exam(3, "asked")
    chosen = [exam(i, "x") for i in range(4)]
    several = exam(0, "y") | {"answer": "AB"}
    write_lines(tmp_path / "train" / "cn_exam_train.jsonl.gz", [*chosen, several, asked])
    write_lines(tmp_path / "eval" / "medqa_zh_test.jsonl.gz", [asked])
    (tmp_path / "eval" / "cmmlu" / "test").mkdir(parents=True)
    (tmp_path / "eval" / "cmmlu" / "test" / "virology.csv").write_text(
        ",Question,A,B,C,D,Answer\n0,Which one?,a,b,c,d,A\n"
    )
    (tmp_path / "eval" / "cmexam_dev.csv").write_text(
        'Question,Options,Answer,Explanation\nAnother one?,"A a\nB b",A,\n'
    )
    found = {}
    for name in ("zh-exam", "zh-cloze"):
        (file,) = data.clean_training(tracks[name], tmp_path, tmp_path / name)
        found[name] = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["id"] for row in found["zh-exam"]] == [row["id"] for row in chosen]
    assert found["zh-cloze"] == [
        {"question": row["question"], "answer": f"答案是：choice {row['answer']}{i}"}
        for i, row in enumerate(chosen)
    ]
