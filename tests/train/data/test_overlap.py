"""What an evaluation asks is found in the training data and left out, with a report."""

from __future__ import annotations

import json
from pathlib import Path

from sparsedoctor.train.data.example import Example
from sparsedoctor.train.data.formats import read_examples
from sparsedoctor.train.data.overlap import exclude_overlap

LONG = "a man of forty has had pain in his left knee since he ran a marathon on sunday"
CHINESE = "患者男性，四十五岁，空腹血糖稍高，最可能的诊断是什么？"


def _write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    return path


def _overlap(
    tmp_path: Path, train: list[object], evaluation: list[object]
) -> tuple[list[str], str]:
    examples = read_examples(_write(tmp_path / "train.jsonl", *train))
    overlap = exclude_overlap(examples, [_write(tmp_path / "eval.jsonl", *evaluation)])
    assert len(overlap.kept) + len(overlap.excluded) == len(train)
    return [excluded.reason for excluded in overlap.excluded], overlap.report()


def _qa(question: str, answer: str = "yes") -> dict[str, object]:
    return {"question": question, "answer": answer}


def _exam(question: str, *options: str) -> dict[str, object]:
    return {"question": question, "options": list(options), "answer": "A"}


def test_the_same_question_is_left_out_whatever_its_case_and_punctuation(tmp_path: Path) -> None:
    reasons, report = _overlap(
        tmp_path, [_qa("What is Gout ?"), _qa("What is flu?")], [_qa("what is gout", "other")]
    )
    assert reasons == ["the same question"]
    assert "1 of 2 examples overlap with evaluation" in report
    assert "train.jsonl, 1: What is Gout ? (the same question: eval.jsonl, line 1)" in report


def test_thirteen_shared_words_are_enough_and_twelve_are_not(tmp_path: Path) -> None:
    words = LONG.split()
    shared13 = "in short " + " ".join(words[2:15]) + " or so"
    shared12 = "in short " + " ".join(words[2:14]) + " or so"
    reasons, report = _overlap(tmp_path, [_qa(shared13), _qa(shared12)], [_qa(LONG)])
    assert reasons == ["13 words in a row"]
    assert "train.jsonl, 1:" in report


def test_a_chinese_character_counts_as_a_word(tmp_path: Path) -> None:
    reasons, _ = _overlap(
        tmp_path,
        [_qa("你好。" + CHINESE[3:20] + "等等"), _qa(CHINESE[:8] + "其他问题")],
        [_exam(CHINESE, "甲", "乙")],
    )
    assert reasons == ["13 words in a row"]


def test_latin_letters_inside_chinese_do_not_hide_a_run(tmp_path: Path) -> None:
    reasons, _ = _overlap(
        tmp_path,
        [_qa("问：行X线检查可见左下肺大片阴影")],
        [_qa("X线检查可见左下肺大片阴影，诊断？")],
    )
    assert reasons == ["13 words in a row"]


def test_short_exam_stems_differ_by_their_options_in_any_order(tmp_path: Path) -> None:
    reasons, _ = _overlap(
        tmp_path,
        [_exam("下列正确的是", "肝", "心"), _exam("下列正确的是", "肺", "胃")],
        [_exam("下列正确的是", "心", "肝")],
    )
    assert reasons == ["the same question"]


def test_our_own_words_around_a_question_are_no_overlap(tmp_path: Path) -> None:
    reasons, report = _overlap(
        tmp_path,
        [
            _exam("甲在哪里", "肝", "心"),
            {"dialogue": "Doctor: Hi.", "section_text": "Hi.", "section_header": "CC"},
        ],
        [
            _exam("乙在哪里", "肺", "胃"),
            {"dialogue": "Doctor: Pain?", "section_text": "None.", "section_header": "CC"},
        ],
    )
    assert reasons == []
    assert report == "none of 2 examples overlaps with the evaluation files"


def test_a_question_inside_another_evaluation_layout_is_found(tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    path.write_text(json.dumps([{"title": "t", "QA_pairs": [{"question": LONG, "answer": "a"}]}]))
    examples = read_examples(_write(tmp_path / "train.jsonl", _qa(f"Tell me: {LONG}?")))
    assert len(exclude_overlap(examples, [path]).excluded) == 1


def test_published_training_and_development_questions_are_told_apart(shared_data: Path) -> None:
    """The published files keep topics apart by their exact name; other letters slip through."""
    train = read_examples(shared_data / "train/medquad_train.jsonl.gz")
    dev = shared_data / "eval/medquad_dev.jsonl.gz"
    overlap = exclude_overlap(train, [dev])
    left = {_normal(example) for example in overlap.kept}
    assert overlap.excluded
    assert not left & {_normal(example) for example in read_examples(dev)}
    assert len(overlap.kept) > 0.98 * len(train)


def _normal(example: Example) -> str:
    return " ".join(example.question.lower().split())
