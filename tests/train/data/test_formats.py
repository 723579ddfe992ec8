"""Every published format becomes conversations; what is wrong with a file is told by its line."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.data.example import Example
from sparsedoctor.train.data.formats import FORMATS, read_examples


def _write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    return path


def _one(path: Path, **fields: object) -> Example:
    [example] = read_examples(_write(path / "data.jsonl", fields))
    return example


def _texts(example: Example) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in example.turns]


def test_medquad_keeps_its_focus_as_topic_and_its_kind_of_question_as_subject(
    tmp_path: Path,
) -> None:
    example = _one(
        tmp_path,
        source="X",
        url="u",
        focus="Gout",
        qtype="causes",
        question="Why ?",
        answer="Urate.",
    )
    assert _texts(example) == [("user", "Why ?"), ("assistant", "Urate.")]
    assert (example.topic, example.subject, example.line) == ("Gout", "causes", 1)


def test_a_dialogue_table_becomes_note_writing_with_lines_counted_over_quoted_breaks(
    tmp_path: Path,
) -> None:
    path = tmp_path / "mts.csv"
    path.write_text(
        "ID,section_header,section_text,dialogue\n"
        '0,CC,Cough.,"Doctor: Hello\nPatient: A cough, doctor."\n'
        '1,ROS,No pain.,"Doctor: Pain?\nPatient: No."\n'
    )
    first, second = read_examples(path)
    assert first.answers == ("Cough.",)
    assert "Doctor: Hello\nPatient: A cough, doctor." in first.question
    assert "CC" in first.question
    assert (first.line, second.line, second.subject) == (2, 4, "ROS")


def test_instructions_join_their_input_and_keep_their_history(tmp_path: Path) -> None:
    example = _one(
        tmp_path,
        instruction="然后呢？",
        input="发烧",
        output="多喝水。",
        cate1="内科",
        cate2="呼吸",
        history=[["我头痛。", "多久了？"], ["三天。", "还有别的吗？"]],
    )
    assert _texts(example) == [
        ("user", "我头痛。"),
        ("assistant", "多久了？"),
        ("user", "三天。"),
        ("assistant", "还有别的吗？"),
        ("user", "然后呢？\n发烧"),
        ("assistant", "多喝水。"),
    ]
    assert (example.topic, example.subject) == ("呼吸", "内科")


@pytest.mark.parametrize(
    "options",
    [
        {"A": "肝", "B": "心", "C": "肺"},
        ["肝", "心", "肺"],
        "A 肝\nB 心\nC 肺",
        "A. 肝\nB. 心\nC. 肺",
    ],
)
def test_exam_options_are_read_in_every_published_layout(tmp_path: Path, options: object) -> None:
    example = _one(tmp_path, question="哪个？", options=options, answer="B", explanation="因为。")
    assert example.question.endswith("哪个？\nA. 肝\nB. 心\nC. 肺")
    assert example.answers == ("答案是：B. 心\n\n解析：因为。",)


def test_an_exam_question_may_have_several_letters(tmp_path: Path) -> None:
    example = _one(tmp_path, question="Which?", options={"A": "x", "B": "y", "C": "z"}, answer="CA")
    assert "all correct options" in example.question
    assert example.answers == ("The answers are A, C\nA. x\nC. z",)


def test_exam_columns_of_a_table_are_options(tmp_path: Path) -> None:
    path = tmp_path / "anatomy.csv"
    path.write_text(
        ",Question,A,B,C,D,Answer\n0,女性生殖腺是,卵巢,前庭,球,乳腺,A\n", encoding="utf-8-sig"
    )
    [example] = read_examples(path)
    assert example.answers == ("答案是：A. 卵巢",)
    assert example.question.endswith("D. 乳腺")


def test_chat_messages_end_with_the_last_answer(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "unanswered"},
    ]
    assert _texts(_one(tmp_path, messages=messages)) == [
        ("system", "Be kind."),
        ("user", "Hi"),
        ("assistant", "Hello"),
    ]
    named = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    assert _texts(_one(tmp_path, conversations=named)) == [("user", "Hi"), ("assistant", "Hello")]


def test_a_file_may_mix_formats_and_hold_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl.gz"
    lines = [
        json.dumps({"question": "a", "answer": "b"}),
        "",
        json.dumps({"instruct": " c ", "output": " d "}),
    ]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    assert [(e.question, e.answers, e.line) for e in read_examples(path)] == [
        ("a", ("b",), 1),
        ("c", ("d",), 3),
    ]


def test_a_json_list_is_read_and_the_format_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text(json.dumps([{"question": "q", "answer": "A", "options": {"A": "x", "B": "y"}}]))
    assert read_examples(path)[0].answers == ("The answer is A. x",)
    assert read_examples(path, "question-answer")[0].answers == ("A",)
    with pytest.raises(SparseDoctorError, match=r"entry 1: expected .*focus.* \(format medquad\)"):
        read_examples(path, "medquad")
    with pytest.raises(SparseDoctorError, match="no data format 'alpaka'; known: chat"):
        read_examples(path, "alpaka")


def test_lines_that_are_called_json_are_read_as_lines(tmp_path: Path) -> None:
    path = _write(tmp_path / "huatuo.json", *({"instruction": q, "output": "a"} for q in "xyz"))
    assert [(e.question, e.line) for e in read_examples(path)] == [("x", 1), ("y", 2), ("z", 3)]


GOOD = '{"question": "a", "answer": "b"}\n'


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("x.jsonl", b"", r"x\.jsonl is empty; expected one example a line"),
        ("x.jsonl", b"\n \n", r"is empty"),
        ("x.json", b"[]", r"is empty"),
        ("x.csv", b"question,answer\n", r"is empty"),
        ("x.jsonl", GOOD.encode() + b'{"question": "a"', r"line 2: expected one JSON object"),
        ("x.jsonl", GOOD.encode() + b'["a"]\n', r"line 2: expected a JSON object with named"),
        ("x.jsonl", GOOD.encode() + b'{"a": 1}\n', r"line 2: expected the fields of a known"),
        ("x.jsonl", b'{"question": "a", "answer": 3}', r'line 1: expected text in "answer", f'),
        ("x.jsonl", b'{"question": " ", "answer": "b"}', r'expected text in "question", found no'),
        ("x.jsonl", GOOD.encode() + b'{"question": "\xff"}', r"line 2: expected UTF-8 text"),
        ("x.jsonl", b'{"messages": []}', r"line 1: expected a list of messages"),
        ("x.jsonl", b'{"messages": [{"role": "nurse", "content": "a"}]}', r"found 'nurse'"),
        ("x.jsonl", b'{"messages": [{"role": "user", "content": "a"}]}', r"assistant's message"),
        (
            "x.jsonl",
            b'{"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]}',
            r"line 1: expected a system message only in front, found one as 2",
        ),
        ("x.jsonl", b'{"question":"a","options":{"A":"b","B":"c"},"answer":"D"}', r"found 'D'"),
        ("x.jsonl", b'{"question":"a","options":{"A":"b"},"answer":"A"}', r"at least two options"),
        ("x.jsonl", b'{"instruction":"a","output":"b","history":[["c"]]}', r"pair 1"),
        ("x.json", b'[{"a": 1},\n{"b"]', r"line 2: expected a JSON list of objects"),
        ("x.json", b'"a"', r"expected a JSON list"),
        ("x.json", GOOD.encode() + b'{"a": 1}', r"line 2: expected the fields of a known"),
        ("x.csv", b"question,answer\na,b\nc\n", r"line 3: expected 2 columns"),
        ("x.csv", b'question,answer\na,"b', r"line 2: expected comma-separated values"),
        ("x.jsonl.gz", GOOD.encode(), r"x\.jsonl\.gz cannot be read"),
        ("x.jsonl.gz", gzip.compress(GOOD.encode() * 99)[:-9], r"x\.jsonl\.gz cannot be read"),
        ("x.xlsx", b"PK", r"unknown kind; expected \.jsonl"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SparseDoctorError, match=expected) as caught:
        read_examples(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SparseDoctorError, match=r"there is no training file .*nowhere\.jsonl"):
        read_examples(tmp_path / "nowhere.jsonl")


def test_a_folder_stands_for_its_training_files(tmp_path: Path) -> None:
    with pytest.raises(SparseDoctorError, match="holds no training files"):
        read_examples(tmp_path)
    _write(tmp_path / "b.jsonl", {"question": "second", "answer": "x"})
    _write(tmp_path / "a.jsonl", {"question": "first", "answer": "x"})
    assert [example.question for example in read_examples(tmp_path)] == ["first", "second"]
    _write(tmp_path / "train-0.jsonl", {"question": "third", "answer": "x"})
    assert [example.question for example in read_examples(tmp_path)] == ["third"]


def test_every_format_says_what_it_expects() -> None:
    assert list(FORMATS) == [known.name for known in FORMATS.values()]
    assert all(known.expects for known in FORMATS.values())


@pytest.mark.parametrize(
    ("file", "rows", "turns"),
    [
        ("train/medquad_train.jsonl.gz", 14665, {2: 14665}),
        ("train/mts_dialog/MTS-Dialog-TrainingSet.csv", 1201, {2: 1201}),
        ("train/mts_dialog", 1201, {2: 1201}),
        ("train/en_exam_train.jsonl.gz", 2554, {3: 2554}),
        ("train/cn_exam_train.jsonl.gz", 8821, {2: 8821}),
        ("train/huatuo_instructions.jsonl.gz", 8658, {2: 8658}),
        ("eval/cmexam_dev.csv", 1000, {2: 1000}),
        ("eval/cmb/cmb_format_252.json", 252, {2: 252}),
    ],
)
def test_the_published_files_are_read_whole(
    shared_data: Path, file: str, rows: int, turns: dict[int, int]
) -> None:
    examples = read_examples(shared_data / file)
    assert len(examples) == rows
    assert Counter(len(example.turns) for example in examples) == turns
    assert all(text.strip() for example in examples for text in example.answers)


def test_published_multi_turn_conversations_keep_their_history(shared_data: Path) -> None:
    examples = read_examples(shared_data / "train/cmtmedqa_multiturn.jsonl.gz")
    assert len(examples) == 1144
    assert sum(len(example.answers) > 1 for example in examples) == 977
    for example in examples:
        roles = [turn.role for turn in example.turns]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
