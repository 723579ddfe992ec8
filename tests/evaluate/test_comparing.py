"""Runs beside each other: what stands behind their choices is tested pair by pair."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from evaluate.knowing_model import cells, scored

from sparsedoctor.train.evaluate.comparing import compare
from sparsedoctor.train.evaluate.statistics import paired_loss


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A run that knows one question in seven, and one that knows all and writes better texts."""
    scored(tmp_path / "some", tmp_path / "data", every=7, nats=2.5)
    scored(tmp_path / "all", tmp_path / "data", every=1, nats=2.0)
    return tmp_path


def test_scores_of_options_are_tested_and_not_choices_alone(runs: Path) -> None:
    text = compare([runs / name / "cmmlu-med-apollo" for name in ("some", "all")], None)
    found = {row[1].split("/")[0]: row[2:] for row in cells(text, "right answer, nats")}
    assert float(found["all"][0]) == pytest.approx(-math.log(0.7), abs=1e-4)
    apart = float(found["all"][1].split()[0])
    assert apart == pytest.approx(float(found["all"][0]) - float(found["some"][0]), abs=2e-4)
    assert float(found["all"][2].removeprefix("< ")) < 0.001
    assert len(found["some"]) == 1  # the first run is what the others are tested against
    ranked = {row[1].split("/")[0]: row[2:] for row in cells(text, "right answer above another")}
    assert ranked["all"][0] == "100.00 %"
    assert float(ranked["all"][1].split()[0]) > 0
    # A liking for A is all that "some" has where it does not know: taken off, less is lost.
    (fair,) = (
        row
        for row in cells(text, "right answer, nats, liking for letters taken off")
        if row[1].startswith("some")
    )
    assert float(fair[2]) < float(found["some"][0])


def test_questions_asked_with_other_options_are_not_paired(runs: Path) -> None:
    answers = runs / "all" / "cmmlu-med-apollo" / "answers.jsonl"
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    for row in rows:
        row["scores"]["E"] = -30.0
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = compare([runs / name / "cmmlu-med-apollo" for name in ("some", "all")], None)
    for row in cells(text, "right answer, nats"):
        assert row[3:] == (["no common questions"] if row[1].startswith("all") else [])


def test_losses_of_texts_are_tested_in_bits_a_byte(runs: Path) -> None:
    text = compare([runs / name / "loss" for name in ("some", "all")], None)
    (first,), (other,) = cells(text, "some/loss"), cells(text, "all/loss")
    assert len(first) == 4
    rows = {}
    for name in ("some", "all"):
        lines = (runs / name / "loss" / "answers.jsonl").read_text().splitlines()
        rows[name] = {row["id"]: row["scores"] for row in map(json.loads, lines)}
    names = list(rows["some"])
    nats = [rows["all"][name]["nats"] - rows["some"][name]["nats"] for name in names]
    expected = paired_loss(
        [one / math.log(2) for one in nats], [rows["some"][name]["bytes"] for name in names]
    )
    assert other[4].startswith(f"{expected.difference:+.4f} [")
    assert other[4].endswith(f"of {len(names)} texts")
    assert expected.difference < 0


def test_a_text_that_differs_between_the_runs_is_not_paired(runs: Path) -> None:
    answers = runs / "all" / "loss" / "answers.jsonl"
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    rows[0]["scores"]["bytes"] += 1
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = compare([runs / name / "loss" for name in ("some", "all")], None)
    assert f"of {len(rows) - 1} texts" in text


def test_an_exam_and_texts_of_it_are_two_blocks(runs: Path) -> None:
    """Both are of CMExam: neither swallows the other."""
    exam = runs / "exam"
    scored(exam, runs / "data", every=2, nats=1.0)
    loss = runs / "some" / "loss"
    result = json.loads((exam / "cmmlu-med-apollo" / "result.json").read_text())
    result["benchmark"] = json.loads((loss / "result.json").read_text())["benchmark"]
    (exam / "cmmlu-med-apollo" / "result.json").write_text(json.dumps(result))
    text = compare([exam / "cmmlu-med-apollo", loss], None)
    assert text.count("### ") == 2
    assert cells(text, "loss")
    assert cells(text, "cmmlu-med-apollo")


def test_runs_have_names_that_tell_them_apart(tmp_path: Path) -> None:
    for row in ("ours", "theirs"):
        scored(tmp_path / row / "seed-17", tmp_path / "data", every=3, nats=1.0)
    runs = [tmp_path / row / "seed-17" / "loss" for row in ("ours", "theirs")]
    text = compare(runs, None)
    assert cells(text, "ours/seed-17/loss")
    assert cells(text, "theirs/seed-17/loss")
    assert compare([runs[0], runs[0]], None).count("loss | known") == 2  # one folder, given twice
