"""Each benchmark is read in its authors' own layout, and a missing file says where to get it."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluate.exam_files import (
    cmb_rows,
    write_cmb,
    write_cmexam,
    write_cmmlu,
    write_csv,
    write_json,
    write_lines,
)

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.evaluate.benchmarks import BENCHMARKS, find_benchmark, load_questions
from sparsedoctor.train.evaluate.loaders.cmexam import parse_options
from sparsedoctor.train.evaluate.loaders.cmmlu import CMMLU_LISTS, MMLU_MED
from sparsedoctor.train.evaluate.questions import QuestionSet


def load(name: str, data: Path, **more: int) -> QuestionSet:
    return load_questions(find_benchmark(name), data, **more)


def test_cmb_test_questions_are_joined_with_their_separate_key(tmp_path: Path) -> None:
    loaded = load("cmb-exam", write_cmb(tmp_path))
    assert len(loaded.questions) == 10
    first, second = loaded.questions[:2]
    assert (first.id, first.answer, first.multiple) == ("1", "B", False)
    assert (second.answer, second.multiple) == ("BCD", True)
    assert (first.category, first.subject) == ("医师考试", "规培结业")
    assert first.letters == ("A", "B", "C", "D")  # E has no text
    assert len(loaded.files) == 2
    assert len(loaded.shots) == 10
    assert loaded.shots[0].explanation
    assert "11,200" in loaded.caveats[0]


def test_cmb_val_and_a_file_with_answers_inside(tmp_path: Path) -> None:
    root = write_cmb(tmp_path)
    assert load("cmb-val", root).questions[0].explanation == "第1题的解析"
    single = write_json(tmp_path / "own.json", cmb_rows(answers=True))
    assert len(load("cmb", single).questions) == 10
    train = write_json(root / "CMB-Exam/CMB-train/CMB-train-merge.json", cmb_rows(answers=True))
    assert train.is_file()
    assert len(load("cmb-train", root).questions) == 10


def test_cmb_questions_without_a_key_tell_where_the_key_is(tmp_path: Path) -> None:
    with pytest.raises(SparseDoctorError, match=r"key.*github\.com/FreedomIntelligence/CMB"):
        load("cmb-exam", write_cmb(tmp_path, key=False))


def test_a_key_that_names_no_option_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    rows = cmb_rows(answers=True)
    rows[0]["answer"] = "E"  # its text is empty
    loaded = load("cmb", write_json(tmp_path / "own.json", rows))
    assert len(loaded.questions) == 9
    assert "entry 1" in loaded.skipped[0]


def test_an_id_that_comes_twice_is_refused(tmp_path: Path) -> None:
    rows = cmb_rows(answers=True)
    rows[1]["id"] = 1
    with pytest.raises(SparseDoctorError, match="comes twice"):
        load("cmb", write_json(tmp_path / "own.json", rows))


@pytest.mark.parametrize("field", ["answer", "solution"])
def test_cmb_clin_cases_become_turns(tmp_path: Path, field: str) -> None:
    pairs = [{"question": f"问{i}", field: f"答{i}"} for i in range(3)]
    case = {"id": 0, "title": "腹外疝", "description": "病史", "QA_pairs": pairs}
    path = write_json(tmp_path / "CMB-Clin/CMB-Clin-qa.json", [case])
    questions = load("cmb-clin", path.parent.parent).questions
    assert [question.id for question in questions] == [f"cmb-clin-0-{i}" for i in (1, 2, 3)]
    assert questions[0].text.endswith("病史\n问0")
    assert questions[2].history == ((questions[0].text, "答0"), ("问1", "答1"))
    assert questions[2].reference == "答2"


def test_cmexam_with_its_five_annotations(tmp_path: Path) -> None:
    write_cmexam(tmp_path / "data" / "test_with_annotations.csv")
    write_cmexam(tmp_path / "data" / "val.csv", annotated=False, prefix="例：")
    loaded = load("cmexam", tmp_path)
    assert [question.answer for question in loaded.questions] == ["A", "ABD", "C"]
    assert "row 3" in loaded.skipped[0]
    assert dict(loaded.questions[0].labels) == {
        "disease_group": "损伤",
        "clinical_department": "外科",
        "medical_discipline": "药学",
        "competency": "疾病诊断",
        "difficulty": "0",
    }
    assert loaded.questions[2].options["A"] == "第一行 续行"
    assert len(loaded.shots) == 3


def test_options_of_cmexam_are_told_from_lines_that_only_look_like_them() -> None:
    text = "A 地高辛\nB 奎尼丁\nA 与 B 合用\nC 两者皆无效"
    assert parse_options(text) == {"A": "地高辛", "B": "奎尼丁 A 与 B 合用", "C": "两者皆无效"}


def test_cmmlu_lists_hold_the_published_subjects(tmp_path: Path) -> None:
    assert {name: len(subjects) for name, subjects in CMMLU_LISTS.items()} == {
        "cmmlu-med-apollo": 7,
        "cmmlu-med-o1": 7,
        "cmmlu-med-meditron": 5,
        "cmmlu-med-9": 9,
        "cmmlu-med": 10,
    }
    assert set(CMMLU_LISTS["cmmlu-med-o1"]) ^ set(CMMLU_LISTS["cmmlu-med-apollo"]) == {
        "agronomy",
        "anatomy",
    }
    loaded = load("cmmlu-med-9", write_cmmlu(tmp_path, CMMLU_LISTS["cmmlu-med"]))
    assert len(loaded.questions) == 9 * 3
    assert len(loaded.shots) == 9 * 5
    assert loaded.questions[0].id == "cmmlu-anatomy-test-0"


def test_medqa_in_its_authors_layout(tmp_path: Path) -> None:
    row = {
        "question": "Which drug?",
        "answer": "Ibuprofen",
        "options": {"A": "Aspirin", "B": "Ibuprofen", "C": "Codeine", "D": "None", "E": "All"},
        "meta_info": "step1",
        "answer_idx": "B",
    }
    path = tmp_path / "data_clean/questions/US/test.jsonl"
    write_lines(path, [row])
    example = row | {"question": "Which other drug?"}
    write_lines(path.with_name("dev.jsonl"), [example, example])
    loaded = load("medqa-us", tmp_path)
    (question,) = loaded.questions
    assert (question.answer, question.subject, len(question.options)) == ("B", "step1", 5)
    assert len(loaded.shots) == 2
    without_index = {key: value for key, value in row.items() if key != "answer_idx"}
    write_lines(path, [without_index])
    assert load("medqa-us", tmp_path).questions[0].answer == "B"


@pytest.mark.parametrize("first", [0, 1])
def test_medmcqa_counts_from_one_at_its_authors_and_from_zero_on_the_hub(
    tmp_path: Path, first: int
) -> None:
    rows = [
        {
            "id": f"id-{i}",
            "question": f"Question {i}?",
            **{f"op{letter}": f"text {letter}" for letter in "abcd"},
            "cop": i + first,
            "subject_name": "Anatomy",
            "exp": "because",
            "choice_type": "single",
        }
        for i in range(4)
    ]
    loaded = load("medmcqa", write_lines(tmp_path / "dev.json", rows).parent)
    assert [question.answer for question in loaded.questions] == ["A", "B", "C", "D"]
    assert loaded.questions[0].id == "id-0"


def test_mmlu_files_have_no_header(tmp_path: Path) -> None:
    for subject in MMLU_MED:
        write_csv(tmp_path / "test" / f"{subject}_test.csv", [["Why?", "a", "b", "c", "d", "C"]])
        write_csv(tmp_path / "dev" / f"{subject}_dev.csv", [["How?", "a", "b", "c", "d", "D"]] * 5)
    loaded = load("mmlu-med", tmp_path)
    assert len(loaded.questions) == 6
    assert (loaded.questions[0].answer, loaded.shots[0].answer) == ("C", "D")


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_a_missing_file_says_where_it_is_published_and_where_to_put_it(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(SparseDoctorError) as raised:
        load(name, tmp_path)
    text = str(raised.value)
    assert "http" in text
    assert str(tmp_path) in text
    assert "\n" not in text


def test_a_file_that_is_not_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(SparseDoctorError, match=r"there is no \S+none\.csv; its authors publish"):
        load("cmexam", tmp_path / "none.csv")
    with pytest.raises(SparseDoctorError, match=r"there is no \S+none\.jsonl\.gz; MMLU's authors"):
        load("mmlu-med", tmp_path / "none.jsonl.gz")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cmexam", "Frage,Antwort\n1,2\n"),
        ("cmb", "{ no json"),
        ("cmb", '[{"question": "no options"}]'),
        ("medqa-us", '{"question": "x"}\n'),
        ("medqa-us", "[1, 2]"),
        ("medqa-us", '{"question": "q", "options": [{"key": null, "value": "x"}], "answer": "y"}'),
        ("cmexam", '{"question": "a, b", "options": {"A": "' + "x, " * 500 + '"}}'),
        ("cmexam", "Question,Options,Answer\nq\n"),
        ("cmb", '[{"question": "a case", "QA_pairs": []}]'),
        ("cmb-clin", '[{"description": "a case", "QA_pairs": ["text"]}]'),
        ("cmb-clin", '[{"description": "a case", "QA_pairs": [{"question": "Why?"}]}]'),
        (
            "medmcqa",
            '{"question": "q", "opa": "a", "opb": "b", "opc": "c", "opd": "d", "cop": "x"}',
        ),
        ("medquad", '{"question": "q", "options": {"A": "x", "B": "y"}, "answer": "A"}'),
    ],
)
def test_a_file_of_another_layout_is_refused_in_one_line(
    name: str, content: str, tmp_path: Path
) -> None:
    path = tmp_path / "broken"
    path.write_text(content)
    with pytest.raises(SparseDoctorError) as raised:
        load(name, path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < len(str(path)) + 300


def test_a_damaged_gzip_file_is_refused_in_one_line(tmp_path: Path) -> None:
    row = {"question": "q", "options": {"A": "x", "B": "y"}, "answer": "A"}
    rows = [row | {"id": str(number)} for number in range(500)]
    data = write_lines(tmp_path / "whole.jsonl.gz", rows).read_bytes()
    (tmp_path / "cut.jsonl.gz").write_bytes(data[: len(data) // 2])
    (tmp_path / "bent.jsonl.gz").write_bytes(data[:400] + bytes(99) + data[499:])
    for name in ("cut", "bent"):
        with pytest.raises(SparseDoctorError, match=f"cannot read .*{name}") as raised:
            load("medqa-us", tmp_path / f"{name}.jsonl.gz")
        assert "\n" not in str(raised.value)


def test_an_example_that_is_asked_itself_is_left_out(tmp_path: Path) -> None:
    data = write_cmexam(tmp_path / "test.csv")
    other = write_cmexam(tmp_path / "val.csv", annotated=False)
    text = other.read_text(encoding="utf-8").replace("骨折后", "扭伤后")
    other.write_text(text, encoding="utf-8")
    loaded = load_questions(find_benchmark("cmexam"), data, shots_from=other)
    assert [shot.text for shot in loaded.shots] == ["扭伤后首选的检查是"]
    assert "2 examples are asked themselves and are left out" in loaded.caveats


def test_a_limit_takes_the_same_questions_each_time_from_every_subject(tmp_path: Path) -> None:
    root = write_cmmlu(tmp_path, CMMLU_LISTS["cmmlu-med"], each=6)
    loaded = load("cmmlu-med", root, limit=20)
    assert len(loaded.questions) == 20
    assert len({question.subject for question in loaded.questions}) == 10
    assert loaded.questions == load("cmmlu-med", root, limit=20).questions
    assert "a sample of 20 of 60 questions" in loaded.caveats


@pytest.mark.parametrize(
    ("name", "file", "count"),
    [
        ("cmexam", "cmexam_dev.csv", 1_000),
        ("cmb", "cmb/cmb_format_252.json", 252),
        ("cmb-clin", "cmb/CMB-Clin-qa.json", 208),
        ("cmmlu-med-apollo", "cmmlu", 1_333),
        ("cmmlu-med-o1", "cmmlu", 1_354),
        ("cmmlu-med-meditron", "cmmlu", 1_210),
        ("cmmlu-med-9", "cmmlu", 1_815),
        ("medqa-zh", "medqa_zh_test.jsonl.gz", 3_346),
        ("mmlu-med", "mmlu_med_test.jsonl.gz", 1_089),
        ("medmcqa", "medmcqa_dev.jsonl.gz", 4_183),
        ("medquad", "medquad_dev.jsonl.gz", 825),
    ],
)
def test_the_published_files_are_read_whole(
    name: str, file: str, count: int, shared_data: Path
) -> None:
    loaded = load(name, shared_data / "eval" / file)
    assert len(loaded.questions) == count
    assert not loaded.skipped
    known = [question.answer or question.reference for question in loaded.questions]
    assert all(known)
