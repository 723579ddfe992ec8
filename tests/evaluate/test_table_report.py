"""TABLE.md on finished runs whose answers are known: every figure worked out by hand."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from evaluate.knowing_model import cells, scored

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
ROWS = [("base", "untouched"), ("moe", "plain"), ("sparsedoctor", "ours")]


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import eval_table_report

    yield eval_table_report
    for name in [name for name in sys.modules if name.startswith("eval_table")]:
        del sys.modules[name]


def test_the_table_holds_accuracy_losses_and_paired_tests(tmp_path: Path, report: Any) -> None:
    scored(tmp_path / "base" / "seed-1", tmp_path / "data", every=7, nats=2.5)
    scored(tmp_path / "sparsedoctor" / "seed-1", tmp_path / "data", every=1, nats=2.0)
    training = {"parameters": 2_000_000, "seconds": 90.0, "peak_bytes": 3e9, "rate": 2e-3}
    (tmp_path / "sparsedoctor" / "seed-1" / "train.json").write_text(json.dumps(training))
    report.write_table(tmp_path, ROWS, ["cmmlu-med-apollo"], "sparsedoctor")
    text = (tmp_path / "TABLE.md").read_text()
    accuracy, loss, fair, above, by_benchmark, together, took = cells(text, "untouched")
    # 56 questions, a quarter of them A; the base knows the eight whose number 7 divides.
    right = sum(i % 8 % 4 == 0 or i % 7 == 0 for i in range(56))
    assert accuracy[:4] == ["untouched", "1", f"{100 * right / 56:.2f}", f"{100 * right / 56:.2f}"]
    assert accuracy[4].startswith(f"+{100 - 100 * right / 56:.2f} [")
    assert accuracy[5] == "< 0.0001" or float(accuracy[5]) < 0.001
    assert by_benchmark[1:4] == ["cmmlu-med-apollo", "56", str(56 - right)]
    assert by_benchmark[4] == "0"
    assert together[1:] == ["all", *by_benchmark[2:]]
    assert took[0] == "untouched"
    # What is not known is a liking for A: taken off, even guessing is all that is left of it.
    ours = cells(text, "ours")
    assert ours[2][2] == "100.00"
    assert float(fair[3].split()[0]) == pytest.approx(100 - float(fair[2]), abs=0.01)
    assert float(fair[5]) < float(loss[2])
    assert float(ours[1][2]) == pytest.approx(-math.log(0.7), abs=1e-4)
    # A is above the three others, which are level: its questions win three pairs of three, the
    # others that are not known lose one and tie two.
    known, liked = sum(i % 7 == 0 for i in range(56)), right - sum(i % 7 == 0 for i in range(56))
    wins = 100 * (known + liked + (56 - right) / 3) / 56
    assert above[2] == f"{wins:.2f}"
    assert ours[3][2] == "100.00"
    assert float(above[3].split()[0]) == pytest.approx(100 - wins, abs=0.01)
    assert ours[4][1:] == ["2.00 M", "0.002", "1.5", "3.0 GB"]
    # A text costs half a nat a token less, every text alike.
    assert (loss[5], ours[1][5]) == ("2.5000", "2.0000")
    assert loss[6] == "-0.5000 [-0.5000, -0.5000]"
    assert cells(text, "plain") == []  # no result yet


def test_a_row_near_guessing_is_called_so(tmp_path: Path, report: Any) -> None:
    scored(tmp_path / "base" / "seed-1", tmp_path / "data", every=10_000, nats=2.5)
    report.write_table(tmp_path, ROWS, ["cmmlu-med-apollo"], "sparsedoctor")
    text = (tmp_path / "TABLE.md").read_text()
    assert "no row is clearly above guessing" in text
    assert "fewer than three seeds" not in text  # nothing was drawn for the base
    scored(tmp_path / "sparsedoctor" / "seed-1", tmp_path / "data", every=1, nats=2.0)
    report.write_table(tmp_path, ROWS, ["cmmlu-med-apollo"], "sparsedoctor")
    text = (tmp_path / "TABLE.md").read_text()
    assert "no row is clearly above guessing" not in text
    assert "fewer than three seeds" in text


def test_a_question_of_three_seeds_is_one_question(tmp_path: Path, report: Any) -> None:
    scored(tmp_path / "base" / "untrained", tmp_path / "data", every=7, nats=2.5)
    for seed in (1, 2, 3):
        scored(tmp_path / "sparsedoctor" / f"seed-{seed}", tmp_path / "data", every=1, nats=2.0)
    report.write_table(tmp_path, ROWS, ["cmmlu-med-apollo"], "sparsedoctor")
    three = cells((tmp_path / "TABLE.md").read_text(), "untouched")
    one = three[0][4].split(" ")[0]
    assert three[0][4].endswith(f"; {one}, {one}, {one}")
    assert three[1][6] == "-0.5000 [-0.5000, -0.5000]; -0.5000, -0.5000, -0.5000"
    for seed in (2, 3):
        (tmp_path / "sparsedoctor" / f"seed-{seed}").rename(tmp_path / f"away-{seed}")
    report.write_table(tmp_path, ROWS, ["cmmlu-med-apollo"], "sparsedoctor")
    alone = cells((tmp_path / "TABLE.md").read_text(), "untouched")
    assert alone == [[cell.partition(";")[0] for cell in line] for line in three]


def test_an_untrained_row_may_be_what_others_are_tested_against(
    tmp_path: Path, report: Any
) -> None:
    scored(tmp_path / "base" / "untrained", tmp_path / "data", every=7, nats=2.5)
    scored(tmp_path / "sparsedoctor" / "seed-1", tmp_path / "data", every=1, nats=2.0)
    report.write_table(tmp_path, ROWS, ["cmmlu-med-apollo"], "sparsedoctor")
    accuracy, loss, *_ = cells((tmp_path / "TABLE.md").read_text(), "untouched")
    report.write_table(tmp_path, ROWS, ["cmmlu-med-apollo"], "base")
    turned, lost, *_ = cells((tmp_path / "TABLE.md").read_text(), "ours")
    for before, after in ((accuracy[4], turned[4]), (loss[3], lost[3]), (loss[6], lost[6])):
        assert float(after.split()[0]) == -float(before.split()[0]) != 0


def test_a_training_that_left_no_figures_is_unknown_and_another_seed_stands_for_it(
    tmp_path: Path, report: Any
) -> None:
    known = {"parameters": 1_500_000, "rate": 1e-3}
    for seed, took in (("seed-1", {}), ("seed-2", {"seconds": 120.0, "peak_bytes": 4e9})):
        assert report.cost(tmp_path)[2:] in (["", ""], ["unknown", "unknown"])
        (tmp_path / seed).mkdir()
        (tmp_path / seed / "train.json").write_text(json.dumps(known | took))
    assert report.cost(tmp_path) == ["1.50 M", "0.001", "2.0", "4.0 GB"]
    (tmp_path / "seed-2" / "train.json").unlink()
    assert report.cost(tmp_path) == ["1.50 M", "0.001", "unknown", "unknown"]


def test_a_row_that_answered_fewer_questions_is_left_out_and_named(
    tmp_path: Path, report: Any
) -> None:
    scored(tmp_path / "base" / "untrained", tmp_path / "data", every=7, nats=2.5, limit=14)
    scored(tmp_path / "sparsedoctor" / "seed-1", tmp_path / "data", every=1, nats=2.0)
    report.write_table(tmp_path, ROWS, ["cmmlu-med-apollo"], "sparsedoctor")
    text = (tmp_path / "TABLE.md").read_text()
    assert cells(text, "untouched") == []
    assert "base, untrained: answered fewer questions" in text
    assert cells(text, "ours")[0][2] == "100.00"
