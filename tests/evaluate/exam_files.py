"""Small benchmark files in the layouts in which their authors publish them, with made-up items."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

CMB_CLASSES = {
    "医师考试": ("规培结业", "执业医师"),
    "药师考试": ("执业西药师",),
    "护理考试": ("护士执业资格", "主管护师"),
}


def write_json(path: Path, rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_csv(path: Path, rows: Iterable[Iterable[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def cmb_rows(*, answers: bool, explanations: bool = False) -> list[dict[str, Any]]:
    """Two questions a class, the second with several right options."""
    rows = []
    for exam, classes in CMB_CLASSES.items():
        for name in classes:
            for turn in range(2):
                number = len(rows) + 1
                row = {
                    "id": number,
                    "exam_type": exam,
                    "exam_class": name,
                    "exam_subject": f"{name}科目",
                    "question": f"第{number}题：下列哪项正确",
                    "question_type": ("单项选择题", "多项选择题")[turn],
                    "option": {
                        "A": "甲",
                        "B": "乙项内容",
                        "C": "丙项内容",
                        "D": "丁项内容",
                        "E": "",
                    },
                }
                if answers:
                    row["answer"] = ("B", "BCD")[turn]
                if explanations:
                    row["explanation"] = f"第{number}题的解析"
                rows.append(row)
    return rows


def write_cmb(root: Path, *, key: bool = True, val: bool = True) -> Path:
    """CMB as unpacked from its authors' archive: questions here, their key there."""
    questions = cmb_rows(answers=False)
    write_json(root / "CMB-Exam/CMB-test/CMB-test-choice-question-merge.json", questions)
    if key:
        kept = ("id", "exam_type", "exam_class", "exam_subject", "question_type", "answer")
        rows = [{name: row[name] for name in kept} for row in cmb_rows(answers=True)]
        write_json(root / "CMB-test-choice-answer.json", rows)
    if val:
        rows = cmb_rows(answers=True, explanations=True)
        for row in rows:
            del row["id"]
            row["question"] = "例：" + row["question"]
        write_json(root / "CMB-Exam/CMB-val/CMB-val-merge.json", rows)
    return root


def write_cmexam(path: Path, *, annotated: bool = True, prefix: str = "") -> Path:
    header = ["Question", "Options", "Answer", "Explanation"]
    rows = [
        ["骨折后首选的检查是", "A X线\nB CT\nC 磁共振\nD 超声\nE 核素", "A", "首选X线。"],
        ["下列属于抗生素的有", "A 青霉素\nB 头孢\nC 阿司匹林\nD 红霉素\nE 维生素C", "ABD", ""],
        ["没有答案的题", "A 一\nB 二", "", ""],
        ["选项带续行的题", "A 第一行\n续行\nB 第二\nC 第三\nD 第四", "C", "选C。"],
    ]
    rows = [[prefix + question, *rest] for question, *rest in rows]
    if annotated:
        header += ["Disease Group", "Clinical Department", "Medical Discipline"]
        header += ["Area of Competency", "Difficulty level"]
        rows = [
            [*row, "损伤", "外科", "临床医学" if i % 2 else "药学", "疾病诊断", str(i)]
            for i, row in enumerate(rows)
        ]
    return write_csv(path, [header, *rows])


def write_cmmlu(root: Path, subjects: Iterable[str], each: int = 3) -> Path:
    header = ["", "Question", "A", "B", "C", "D", "Answer"]
    for subject in subjects:
        for split, count in (("dev", 5), ("test", each)):
            rows = [
                [
                    i,
                    f"{subject}的{split}第{i}题",
                    *(f"选项{letter}{i}" for letter in "ABCD"),
                    "ABCD"[i % 4],
                ]
                for i in range(count)
            ]
            write_csv(root / split / f"{subject}.csv", [header, *rows])
    return root
