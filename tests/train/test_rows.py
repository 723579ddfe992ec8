"""The rows of MedQuAD: their table by hand, and the script from data to ROWS.md on a tiny base."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from evaluate.exam_files import write_lines
from tiny_models import make_tiny_model

pytest.importorskip("peft", reason="training needs sparsedoctor[train]")
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def rows_table(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import train_rows_table

    yield train_rows_table
    for name in ("train_rows_table", "eval_table_rows"):
        sys.modules.pop(name, None)


def left(folder: Path, title: str, losses: list[list[float]], **more: Any) -> None:
    folder.mkdir(parents=True)
    (folder / "measured.json").write_text(json.dumps({"title": title, "losses": losses, **more}))


def test_losses_are_per_token_and_differences_pair_questions_of_the_same_seed(
    rows_table: Any, tmp_path: Path
) -> None:
    left(tmp_path / "base" / "untrained", "untouched", [[8.0, 2], [4.0, 2]])
    for seed, gain in ((1, 1.0), (2, 3.0)):
        left(tmp_path / "moe" / f"seed-{seed}", "plain", [[6.0, 2], [4.0, 2]], rate=1e-3)
        ours = [[6.0 - gain, 2], [4.0 - gain, 2]]
        left(tmp_path / "sparsedoctor" / f"seed-{seed}", "ours", ours, rate=1e-3)
    left(tmp_path / "moe" / "seed-3", "plain", [[100.0, 2], [100.0, 2]], rate=1e-3)
    text = rows_table.table(tmp_path)
    assert "| untouched |  | 0 | 1 | 3.0000 | 20.086 |" in text
    assert "| ours | 0.001 | 0 | 2 | 1.5000 | 4.482 |" in text  # (8 + 4) / 2 seeds / 4 tokens
    # Seed 3 has no partner. Every question gains 2 of 2 tokens, however they are drawn.
    assert "| sparsedoctor - moe | best | -1.0000 | -1.0000 to -1.0000 |" in text
    assert "| -0.5000, -1.5000 |" in text  # of each seed
    assert "dense" not in text


def test_answers_of_a_topic_are_drawn_together(rows_table: Any, tmp_path: Path) -> None:
    # Two topics, one gains 1 a token and one loses 1, in ten answers each: drawn by topic the mean
    # is often one of both, drawn by answer it never is.
    gains = [1.0] * 10 + [-1.0] * 10
    left(tmp_path / "moe" / "seed-1", "plain", [[4.0, 1]] * 20)
    left(tmp_path / "sparsedoctor" / "seed-1", "ours", [[4.0 - gain, 1] for gain in gains])
    topics = ["topic a"] * 10 + ["topic b"] * 10
    assert "| +0.0000 | -1.0000 to +1.0000 |" in rows_table.table(tmp_path, topics)
    assert "1.0000 to +1.0000" not in rows_table.table(tmp_path)


def test_rows_without_a_seed_in_common_are_not_compared(rows_table: Any, tmp_path: Path) -> None:
    left(tmp_path / "moe" / "seed-1", "plain", [[6.0, 2]])
    left(tmp_path / "sparsedoctor" / "seed-2", "ours", [[5.0, 2]])
    assert "sparsedoctor - moe" not in rows_table.table(tmp_path)


def test_the_rate_with_the_lowest_held_out_loss_counts_and_equal_rates_are_told(
    rows_table: Any, tmp_path: Path
) -> None:
    trained = (("moe", 1e-3, 1.5, 9.0), ("moe", 2e-3, 1.4, 10.0), ("sparsedoctor", 1e-3, 1.3, 8.0))
    for name, rate, held_out, loss in trained:
        folder = tmp_path / name / "seed-1" / f"rate-{rate:g}"
        more = {"rate": rate, "held_out_loss": held_out, "curve": [[2, held_out]]}
        left(folder, name, [[loss, 2]], **more)
    assert rows_table.best_rate(tmp_path / "moe") == 2e-3  # not what the answers would choose
    text = rows_table.table(tmp_path)
    assert "| moe | 0.002 | 0 | 1 | 5.0000 |" in text
    assert "| sparsedoctor - moe | best | -1.0000 |" in text
    assert "| sparsedoctor - moe | 0.001 | -0.5000 |" in text
    assert "| moe | 0.001 | seed-1 | 2: 1.5000 | 4.5000 |" in text


def test_a_seed_trained_at_one_rate_alone_does_not_choose_it(
    rows_table: Any, tmp_path: Path
) -> None:
    for seed, rate, held_out in ((1, 1e-3, 1.50), (2, 1e-3, 1.40), (1, 2e-3, 1.45)):
        folder = tmp_path / "moe" / f"seed-{seed}" / f"rate-{rate:g}"
        left(folder, "moe", [[9.0, 2]], rate=rate, held_out_loss=held_out)
    assert rows_table.best_rate(tmp_path / "moe") == 2e-3


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rows_are_tuned_trained_and_tabled_and_go_on_from_their_measurements(
    tmp_path: Path,
) -> None:
    make_tiny_model(tmp_path / "tiny", "llama")
    answers = [
        {
            "question": f"What is number {i}?",
            "answer": f"A thing of kind {i}, as large as {i * i}.",
            "focus": f"f{i}",
            "qtype": ("causes", "symptoms")[i % 2],
        }
        for i in range(60)
    ]
    write_lines(tmp_path / "data" / "eval" / "medquad_dev.jsonl.gz", answers[:12])
    write_lines(tmp_path / "data" / "train" / "medquad_train.jsonl.gz", answers[10:])
    output = tmp_path / "out"
    command = [sys.executable, str(BENCHMARKS / "train_rows.py"), "--output", str(output)]
    command += ["--base", str(tmp_path / "tiny"), "--data", str(tmp_path / "data"), "--steps", "4"]
    command += ["--batch", "2", "--max-tokens", "96", "--questions", "12"]
    command += ["--rates", "1e-3", "4e-3"]
    first = subprocess.run([*command, "--rows", "base"], capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    command += ["--jobs", "2", "--threads", "1"]
    command += ["--rows", "base", "dense-parameters", "sparsedoctor"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len((output / "data" / "medquad_train.jsonl").read_text().splitlines()) == 48
    seed = output / "sparsedoctor" / "seed-17"
    assert {path.name for path in seed.iterdir()} == {"rate-0.001", "rate-0.004"}
    ours = json.loads((seed / "rate-0.001" / "measured.json").read_text())
    assert len(ours["losses"]) == 12
    assert (ours["specialisation"]["answers"], ours["specialisation"]["subjects"]) == (12, 2)
    assert ours["curve"][-1][0] == 4
    text = (output / "ROWS.md").read_text()
    assert "| sparsedoctor - dense-parameters |" in text
    # Nothing but the measurements is needed to go on.
    for path in sorted(output.rglob("*"), reverse=True):
        if path.is_file() and path.name not in ("measured.json", "settings.json"):
            path.unlink()
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "training" not in again.stdout
    assert (output / "ROWS.md").read_text() == text
