"""The table's script, from training files to TABLE.md, on a tiny model and tiny data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from evaluate.exam_files import write_lines
from tiny_models import make_tiny_model

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "eval_table.py"


def exam(number: int, prefix: str) -> dict[str, object]:
    options = {letter: f"choice {letter}{number}" for letter in "ABCD"}
    key = "ABCD"[number % 4]
    text = f"{prefix} question number {number}, which choice is right?"
    return {"id": f"{prefix}-{number}", "question": text, "options": options, "answer": key}


def write_data(root: Path) -> Path:
    """The folders that the English track reads; one training row is a test question."""
    test = [exam(i, "test") | {"subject": f"s{i % 2}"} for i in range(8)]
    write_lines(root / "eval" / "mmlu_med_test.jsonl.gz", test)
    write_lines(root / "eval" / "medmcqa_dev.jsonl.gz", [exam(i, "dev") for i in range(8)])
    answers = [
        {"question": f"What is number {i}?", "answer": f"A thing of kind {i}.", "focus": f"f{i}"}
        for i in range(12)
    ]
    write_lines(root / "eval" / "medquad_dev.jsonl.gz", answers)
    write_lines(root / "train" / "medquad_train.jsonl.gz", answers)
    leaked = [{name: test[3][name] for name in ("question", "options", "answer")}]
    rows = [exam(i, "train") for i in range(12)]
    write_lines(root / "train" / "en_exam_train.jsonl.gz", rows + leaked)
    return root


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rows_are_trained_scored_and_tabled_and_a_second_call_does_nothing(
    tmp_path: Path,
) -> None:
    pytest.importorskip("peft", reason="training needs sparsedoctor[train]")
    base = make_tiny_model(tmp_path / "base", "qwen2")
    data, output = write_data(tmp_path / "data"), tmp_path / "out"
    rows = ("base", "dense-parameters", "sparsedoctor")
    command = [sys.executable, str(SCRIPT), "--track", "en", "--base", str(base)]
    command += ["--data", str(data), "--output", str(output), "--steps", "4", "--batch", "2"]
    command += ["--max-tokens", "128", "--seeds", "1", "--threads", "1"]
    command += ["--rates", "1e-3", "3e-3", "--rows", *rows]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kept = (output / "data" / "en_exam_train.jsonl").read_text().splitlines()
    assert len(kept) == 12  # the row that is a test question is left out
    text = (output / "TABLE.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == 1 + len(rows)
    assert "| untouched base | 1 |" in text
    assert "| SparseDoctor: contrast, route, queue | 1 |" in text
    dense, ours = (
        json.loads((output / row / "seed-1" / "train.json").read_text())["parameters"]
        for row in rows[1:]
    )
    assert 0 <= ours - dense < 0.1 * dense  # the router is all that is more
    before = {path: path.stat().st_mtime_ns for path in output.rglob("train.json")}
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "training" not in again.stdout
    assert {path: path.stat().st_mtime_ns for path in output.rglob("train.json")} == before
