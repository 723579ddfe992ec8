"""A run writes what it promises, goes on after an interruption, and never mixes two runs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from evaluate.exam_files import write_cmb, write_cmexam, write_cmmlu, write_json

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.evaluate.backends.backend import ModelRecord, Prompting
from sparsedoctor.train.evaluate.benchmarks import find_benchmark, load_questions
from sparsedoctor.train.evaluate.loaders.cmmlu import CMMLU_LISTS
from sparsedoctor.train.evaluate.prompts import choose_shots
from sparsedoctor.train.evaluate.running import run_benchmark
from sparsedoctor.train.evaluate.scoring import Request, Settings, requests_for
from sparsedoctor.train.evaluate.summaries import combine_seeds, summary


class ScriptedBackend(Prompting):
    """Likes the letter `favourite`; writes `text`; stops after `patience` answers."""

    def __init__(self, favourite: str = "B", text: str = "答案是B。", patience: int | None = None):
        self.record = ModelRecord(favourite, "scripted", "0" * 64, "chatml")
        self.favourite, self.text, self.patience = favourite, text, patience
        self.asked: list[str] = []

    def score(self, requests: Sequence[Request]) -> Iterator[tuple[int, list[list[float]]]]:
        for index in reversed(range(len(requests))):  # in an order of its own
            self._take(requests[index])
            yield index, [self._one(text) for text in requests[index].continuations]

    def generate(
        self, requests: Sequence[Request], max_tokens: int, seed: int
    ) -> Iterator[tuple[int, str]]:
        for index, request in enumerate(requests):
            self._take(request)
            yield index, self.text

    def close(self) -> None:
        pass

    def _one(self, text: str) -> list[float]:
        return [-0.1 if sign == self.favourite else -3.0 for sign in text.strip()]

    def _take(self, request: Request) -> None:
        if self.patience is not None and len(self.asked) >= self.patience:
            raise KeyboardInterrupt
        self.asked.append(request.question.id)


def run(
    backend: ScriptedBackend,
    name: str,
    data: Path,
    output: Path,
    settings: Settings | None = None,
    limit: int | None = None,
) -> dict[str, Any]:
    benchmark = find_benchmark(name)
    loaded = load_questions(benchmark, data, limit=limit)
    return run_benchmark(backend, benchmark, loaded, settings or Settings(), output, quiet=True)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]


def test_the_two_files_hold_what_was_promised(tmp_path: Path) -> None:
    root = write_cmb(tmp_path / "data")
    result = run(ScriptedBackend(), "cmb-exam", root, tmp_path / "out")
    assert result == json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["benchmark"] == "cmb-exam"
    assert result["n"] == 10
    assert result["accuracy"]["micro"] == 0.5  # the five with one right option, all B
    low, high = result["interval"]
    assert 0 < low < 0.5 < high < 1
    assert result["invalid_rate"] == 0.0
    assert set(result["hashes"]) == {"model", "data", "prompt", "answers"}
    rows = lines(tmp_path / "out")
    assert [row["id"] for row in rows] == [str(i) for i in range(1, 11)]  # as in the benchmark
    assert (rows[0]["gold"], rows[0]["chosen"]) == ("B", "B")
    assert rows[0]["scores"] == {"A": -3.0, "B": -0.1, "C": -3.0, "D": -3.0}
    assert len(rows[1]["scores"]) == 2**4 - 1


def test_cmb_averages_classes_in_each_exam_type_first(tmp_path: Path) -> None:
    result = run(ScriptedBackend(), "cmb", write_cmb(tmp_path / "data"), tmp_path / "out")
    assert result["accuracy"]["macro_categories"] == pytest.approx(0.5)
    assert result["macro_categories_of"] == 3
    assert set(result["categories"]) == {"医师考试", "药师考试", "护理考试"}
    assert result["kinds"]["several right options"]["correct"] == 0


def test_cmmlu_rows_rebuild_every_list(tmp_path: Path) -> None:
    root = write_cmmlu(tmp_path / "data", CMMLU_LISTS["cmmlu-med"], each=4)
    result = run(ScriptedBackend("A"), "cmmlu-med", root, tmp_path / "out")
    assert len(result["subjects"]) == 10
    # Nothing but a liking for A: taken off, even guessing is left.
    assert result["answer_loss"]["nats_per_question"] > 2
    calibrated = result["batch_calibrated"]
    assert calibrated["nats_per_question"] == pytest.approx(result["answer_loss"]["even_guessing"])
    assert result["pairwise_accuracy"]["mean"] == pytest.approx(0.25 * 1 + 0.75 * (1 / 3))
    assert calibrated["pairwise_accuracy"]["mean"] == 0.5
    assert calibrated["pairwise_accuracy"]["interval"] == [0.5, 0.5]
    assert "scored above another one in 50.00 % [" in summary(result)
    assert calibrated["interval"][0] <= calibrated["accuracy"] <= calibrated["interval"][1]
    assert "liking for letters taken off: micro" in summary(result)
    assert {name: row["n"] for name, row in result["lists"].items()} == {
        name: 4 * len(subjects) for name, subjects in CMMLU_LISTS.items()
    }
    for name, subjects in CMMLU_LISTS.items():
        right = sum(result["subjects"][subject]["correct"] for subject in subjects)
        assert result["lists"][name]["micro"] == pytest.approx(right / (4 * len(subjects)))
        told = f"list {name}: micro 25.00 %, macro 25.00 % of {4 * len(subjects)}"
        assert (told in summary(result)) is (name != "cmmlu-med")


def test_cmexam_has_rows_for_each_annotation(tmp_path: Path) -> None:
    result = run(
        ScriptedBackend("A"), "cmexam", write_cmexam(tmp_path / "cmexam.csv"), tmp_path / "out"
    )
    assert set(result["annotations"]) == {
        "disease_group", "clinical_department", "medical_discipline", "competency", "difficulty",
    }  # fmt: skip
    assert result["annotations"]["medical_discipline"]["药学"]["n"] == 1 + 0 + 0
    assert result["baselines"]["always_one_letter"]["all"]["A"] == pytest.approx(1 / 3)
    assert len(result["skipped"]) == 1


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    root, out = write_cmb(tmp_path / "data"), tmp_path / "out"
    first = ScriptedBackend(patience=4)
    with pytest.raises(KeyboardInterrupt):
        run(first, "cmb", root, out)
    assert len(lines(out)) == 4
    with (out / "answers.jsonl").open("a") as file:
        file.write('{"id": "7", "gold"')  # the power went
    second = ScriptedBackend()
    resumed = run(second, "cmb", root, out)
    assert len(second.asked) == 6
    assert not set(first.asked) & set(second.asked)
    whole = run(ScriptedBackend(), "cmb", root, tmp_path / "whole")
    assert lines(out) == lines(tmp_path / "whole")
    assert resumed["accuracy"] == whole["accuracy"]
    assert resumed["hashes"] == whole["hashes"]
    third = ScriptedBackend()
    run(third, "cmb", root, out)
    assert third.asked == []


def test_a_finished_sample_goes_on_to_a_larger_one(tmp_path: Path) -> None:
    root, out = write_cmb(tmp_path / "data"), tmp_path / "out"
    first = ScriptedBackend()
    run(first, "cmb", root, out, limit=5)
    with pytest.raises(KeyboardInterrupt):
        run(ScriptedBackend(patience=2), "cmb", root, out)
    assert len(lines(out)) == 7
    assert not (out / "result.json").exists()  # it was of five
    last = ScriptedBackend()
    grown = run(last, "cmb", root, out)
    assert len(last.asked) == 3
    assert not set(first.asked) & set(last.asked)
    whole = run(ScriptedBackend(), "cmb", root, tmp_path / "whole")
    assert lines(out) == lines(tmp_path / "whole")
    changing = {"seconds", "questions_per_second", "finished"}
    assert {key: grown[key] for key in grown.keys() - changing} == {
        key: whole[key] for key in whole.keys() - changing
    }


@pytest.mark.parametrize(
    ("patience", "limit", "then"),
    [(None, 4, 6), (None, 5, 4), (4, 5, None)],
    ids=["other questions", "fewer", "unfinished"],
)
def test_a_sample_goes_on_to_no_other_questions(
    tmp_path: Path, patience: int | None, limit: int, then: int | None
) -> None:
    root, out = write_cmb(tmp_path / "data"), tmp_path / "out"
    with contextlib.suppress(KeyboardInterrupt):
        run(ScriptedBackend(patience=patience), "cmb", root, out, limit=limit)
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(SparseDoctorError, match="only a finished sample goes on"):
        run(ScriptedBackend(), "cmb", root, out, limit=then)
    assert {path: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("change", ["model", "settings", "data"])
def test_a_folder_of_another_run_is_left_alone(tmp_path: Path, change: str) -> None:
    root, out = write_cmb(tmp_path / "data"), tmp_path / "out"
    run(ScriptedBackend(), "cmb", root, out)
    before = (out / "answers.jsonl").read_bytes()
    backend = ScriptedBackend("C" if change == "model" else "B")
    settings = Settings(seed=1) if change == "settings" else Settings()
    if change == "data":
        path = root / "CMB-test-choice-answer.json"
        write_json(path, [*json.loads(path.read_text()), {"id": 999, "answer": "A"}])
    with pytest.raises(SparseDoctorError, match="another run"):
        run(backend, "cmb", root, out, settings)
    assert (out / "answers.jsonl").read_bytes() == before


def test_generated_answers_are_read_at_every_level(tmp_path: Path) -> None:
    path = write_cmexam(tmp_path / "cmexam.csv")
    settings = Settings(scoring="generate", level="exact")
    result = run(ScriptedBackend(text="答案是A。"), "cmexam", path, tmp_path / "out", settings)
    assert result["invalid_rate"] == 1.0
    assert result["levels"]["exact"] == {"accuracy": 0.0, "invalid_rate": 1.0}
    assert result["levels"]["lenient"] == {"accuracy": pytest.approx(1 / 3), "invalid_rate": 0.0}
    row = lines(tmp_path / "out")[0]
    assert (row["chosen"], row["text"]) == (None, "答案是A。")
    assert row["readings"] == {"exact": "", "first-letter": "A", "lenient": "A"}
    assert "read lenient: 33.33 %" in summary(result)


def test_an_unreadable_answer_is_b_only_in_the_compatibility_mode(tmp_path: Path) -> None:
    root = write_cmb(tmp_path / "data")
    plain = Settings(scoring="generate")
    huatuo = Settings(scoring="generate", compatibility="huatuogpt-2")
    backend = ScriptedBackend(text="无法判断。")
    ours = run(backend, "cmb", root, tmp_path / "ours", plain)
    theirs = run(backend, "cmb", root, tmp_path / "theirs", huatuo)
    assert (ours["accuracy"]["micro"], ours["invalid_rate"]) == (0.0, 1.0)
    assert (theirs["accuracy"]["micro"], theirs["invalid_rate"]) == (0.5, 0.0)
    assert theirs["scored_by_fallback"] == 1.0
    assert "scored as B: 100.00 %" in summary(theirs)
    assert any('"B"' in caveat for caveat in theirs["caveats"])


def test_short_options_are_shown_but_in_cmb_compatibility(tmp_path: Path) -> None:
    root = write_cmb(tmp_path / "data")
    shown = run(ScriptedBackend(), "cmb", root, tmp_path / "ours")
    dropped = run(
        ScriptedBackend(), "cmb", root, tmp_path / "theirs", Settings(compatibility="cmb")
    )
    assert shown["hashes"]["prompt"] != dropped["hashes"]["prompt"]
    assert list(lines(tmp_path / "ours")[0]["scores"]) == ["A", "B", "C", "D"]
    assert list(lines(tmp_path / "theirs")[0]["scores"]) == ["A", "B", "C", "D"]
    seen: list[str] = []
    for compatibility in ("", "cmb"):
        question = load_questions(find_benchmark("cmb"), root).questions[0]
        settings = Settings(scoring="logprob-permuted", compatibility=compatibility)
        requests = requests_for(question, [question], "cmb", settings)
        seen += [str(sum("甲" in message.content for message in requests[0].messages))]
        assert len(requests) == 4
    assert seen == ["2", "0"]  # in the question and in its example


def test_the_loss_of_explanations_and_of_cases(tmp_path: Path) -> None:
    root = write_cmb(tmp_path / "data")
    settings = Settings(scoring="loss")
    result = run(ScriptedBackend(), "cmb-val", root, tmp_path / "out", settings)
    assert result["accuracy"] is None
    assert result["loss"]["nats_per_token"] == pytest.approx(3.0)
    assert result["loss"]["tokens"] == sum(len(f"第{i}题的解析") for i in range(1, 11))
    assert "nats/token" in summary(result)


def test_shots_are_the_same_for_a_subject_and_change_with_the_seed(tmp_path: Path) -> None:
    root = write_cmmlu(tmp_path, CMMLU_LISTS["cmmlu-med"])
    loaded = load_questions(find_benchmark("cmmlu-med"), root)
    same = [q for q in loaded.questions if q.subject == "anatomy"]
    chosen = [choose_shots(q, loaded.shots, 3, seed=0) for q in same]
    assert chosen[0] == chosen[1] == chosen[2]
    assert {shot.subject for shot in chosen[0]} == {"anatomy"}
    by_seed = {
        tuple(s.id for s in choose_shots(same[0], loaded.shots, 3, seed)) for seed in range(8)
    }
    assert len(by_seed) > 1
    five = choose_shots(same[0], loaded.shots, 5, seed=3)
    assert [shot.id for shot in five] == [f"cmmlu-anatomy-dev-{i}" for i in range(5)]  # official
    with pytest.raises(SparseDoctorError, match="--shots-from"):
        choose_shots(same[0], loaded.shots[:3], 5, seed=0)


def test_several_seeds_keep_each_value_with_mean_and_deviation(tmp_path: Path) -> None:
    root = write_cmmlu(tmp_path / "data", CMMLU_LISTS["cmmlu-med"])
    results = [
        run(
            ScriptedBackend("ABC"[seed]),
            "cmmlu-med", root, tmp_path / f"seed-{seed}", Settings(shots=2, seed=seed),
        )
        for seed in range(3)
    ]  # fmt: skip
    combined = combine_seeds(results)
    assert combined["seeds"] == {str(i): results[i]["accuracy"]["micro"] for i in range(3)}
    assert combined["over_seeds"]["mean"] == pytest.approx(1 / 3)
    assert "over 3 seeds" in summary(combined)


def test_written_answers_to_cases_are_compared_with_the_authors(tmp_path: Path) -> None:
    pairs = [
        {"question": "诊断？", "answer": "嵌顿性腹股沟疝"},
        {"question": "治疗？", "answer": "手术"},
    ]
    case = {"id": 0, "title": "腹外疝", "description": "病史", "QA_pairs": pairs}
    path = write_json(tmp_path / "clin.json", [case])
    backend = ScriptedBackend(text="嵌顿性腹股沟疝")
    result = run(backend, "cmb-clin", path, tmp_path / "out", Settings(scoring="generate"))
    assert result["rouge_l"] == pytest.approx((1.0 + 0.0) / 2)
    assert "ROUGE-L 50.00 %" in summary(result)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    root, out = write_cmb(tmp_path / "data"), tmp_path / "out"
    run(ScriptedBackend(), "cmb", root, out)
    rows = (out / "answers.jsonl").read_text().splitlines()
    rows[2] = rows[2][:20]
    (out / "answers.jsonl").write_text("\n".join(rows) + "\n")
    with pytest.raises(SparseDoctorError, match=r"answers\.jsonl, line 3"):
        run(ScriptedBackend(), "cmb", root, out)


def test_an_interrupted_comparison_with_nothing_asked_keeps_whole_blocks(tmp_path: Path) -> None:
    """A model may answer all that asks nothing after all that asks."""
    root = write_cmmlu(tmp_path / "data", CMMLU_LISTS["cmmlu-med"], each=10)
    settings = Settings(scoring="logprob-pmi", candidates="cloze")
    stopped = ScriptedBackend(patience=150)  # of 100 questions, twice

    def all_that_asks_first(requests: Sequence[Request]) -> Iterator[tuple[int, Any]]:
        found = list(ScriptedBackend.score(stopped, requests))
        yield from sorted(found, key=lambda one: requests[one[0]].unasked)

    stopped.score = all_that_asks_first  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run(stopped, "cmmlu-med", root, tmp_path / "out", settings)
    kept = len(lines(tmp_path / "out"))
    assert 0 < kept < 100
    again = ScriptedBackend()
    result = run(again, "cmmlu-med", root, tmp_path / "out", settings)
    assert len(again.asked) == 2 * (100 - kept)
    assert result["n"] == 100
    assert result["answer_loss"]["nats_per_question"] == pytest.approx(
        result["answer_loss"]["even_guessing"]
    )  # a scripted model answers alike, whatever is asked
