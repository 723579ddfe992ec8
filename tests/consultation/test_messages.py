"""Whatever the program reports can be said in Chinese: errors, notices, labels."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY

from sparsedoctor.app.consultation.history.notices import HistoryNotice, Trouble
from sparsedoctor.app.messages import in_language, told
from sparsedoctor.core.engine.context import fit
from sparsedoctor.core.engine.process import in_words
from sparsedoctor.core.engine.protocol import EngineError, Message

HAN = re.compile("[\u4e00-\u9fff]")
RAISED = re.compile(r"\w*Error|DamagedSettings|PassphraseNeeded|WrongPassphrase|EngineDied|_Closed")
OF_PYTHON = {"ValueError", "TypeError", "OSError", "RuntimeError", "AssertionError",
             "OperationalError", "DatabaseError", "ConnectionAbortedError"}  # fmt: skip

# What no interface calls: training, exporting, measuring, and making the rules.
NOT_MET = (
    "core/moe/", "core/base_models.py", "core/files.py", "core/engine/quantiz",
    "core/engine/importance.py", "core/engine/weighing.py", "core/engine/rounding.py",
    "core/engine/scripted.py",
    "app/consultation/triage/",
)  # fmt: skip
# For programs that score or read tokens; no conversation does.
NOT_SAID = (
    "a server cannot ", "there is no prompt to score", "a token number lies outside",
    "follow_up.yaml",
)  # fmt: skip


def _template(node: ast.expr) -> str | None:
    """The text of a literal or f-string, every place filled with a word of its own."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = [
            str(part.value) if isinstance(part, ast.Constant) else f"X{number}Y"
            for number, part in enumerate(node.values)
        ]
        return "".join(parts)
    return None


def _reported() -> Iterator[tuple[str, str]]:
    """Where and what: the text of every error and notice that an interface can meet."""
    for source in sorted([*REPOSITORY.glob("app/**/*.py"), *REPOSITORY.glob("core/**/*.py")]):
        place = str(source.relative_to(REPOSITORY))
        if place.startswith(NOT_MET):
            continue
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            name = node.func.attr if isinstance(node.func, ast.Attribute) else name
            kept = name == "append" and "notices" in ast.unparse(node.func)  # told with the answer
            raised = RAISED.fullmatch(name) and name not in OF_PYTHON
            if not (kept or raised or name == "Notice"):
                continue
            text = _template(node.args[0])
            if text and not text.startswith(NOT_SAID):
                yield f"{place}:{node.lineno}", text


def test_every_error_and_notice_of_the_program_has_its_chinese() -> None:
    reported = list(_reported())
    assert len(reported) > 80, "the search found too little"
    for place, text in reported:
        said = in_language(text, "zh")
        assert HAN.search(said), f"{place}: {text}"
        for filled in re.findall(r"X\d+Y", text):
            assert filled in said, f"{place}: {filled} is lost in {said}"


def test_what_was_filled_in_is_said_in_chinese_too() -> None:
    text = "cannot write /home/x/a.md: No space left on device; name a folder you can write"
    assert in_language(text, "zh") == "无法写入 /home/x/a.md：磁盘已满；请换一个可以写入的文件夹"


@pytest.mark.parametrize("code", [0, 3, -6, -7, -9, -11, -15])
@pytest.mark.parametrize("short", [True, False])
def test_how_the_engine_ended_is_said_in_chinese(code: int, short: bool) -> None:
    how = in_words(code, out_of_memory=short)
    said = in_language(f"the engine ended: {how}; the next question starts it again", "zh")
    assert said.startswith("引擎中止：")
    assert " it " not in f" {said} "
    assert str(abs(code)) in said or short


def test_a_question_too_long_for_the_model_is_refused_in_chinese_with_every_number() -> None:
    with pytest.raises(EngineError) as refused:
        fit([Message("user", "long")], lambda _: 9_000, context=2_048, answer=512)
    said = told(refused.value, "zh")
    assert said.startswith("消息太长")
    assert all(number in said for number in ("9,000", "1,984", "2,048"))


def test_english_stays_as_it_was_written() -> None:
    text = "the age 200 cannot be; give years from 0 to 130"
    assert in_language(text, "en") == told(text, "en") == text


def test_what_nobody_foresaw_stands_behind_a_chinese_beginning() -> None:
    said = told(OSError("gremlins in /data/胸痛.db"), "zh")
    assert HAN.match(said)
    assert said.endswith("gremlins in /data/胸痛.db")


def test_the_name_that_somebody_gave_a_model_stays() -> None:
    assert in_language("Doctor X, 7B", "zh") == "Doctor X, 7B"


@pytest.mark.parametrize("trouble", list(Trouble))
def test_no_notice_about_the_history_has_an_english_detail_of_ours(trouble: Trouble) -> None:
    values = {"path": "/x/history.db", "detail": "another window is using it",
              "aside": "/x/aside", "count": "3"}  # fmt: skip
    said = HistoryNotice(trouble, values).text("zh")
    assert "window" not in said
    assert HAN.search(said)


MISTAKES = {
    "no such flag": (["chat", "--modle", "x"], "无法识别的参数：--modle x"),
    "no such command": (["chta"], "不能是 'chta'；可选："),
    "no number": (["chat", "--seed", "x"], "参数 --seed：x 不是 0 到 4294967295 之间的整数"),
    "no value": (["chat", "--model"], "参数 --model：后面需要写一个值"),
    "no file": (["chat", "--model", "/none.gguf"], "错误：没有模型 /none.gguf"),
    "no region": (["chat", "--region", "XX"], "没有地区 XX 的急救电话"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_on_the_command_line_is_told_in_the_language_of_the_locale(
    mistake: str, tmp_path: Path
) -> None:
    words, expected = MISTAKES[mistake]
    done = _command(words, tmp_path, LC_ALL="zh_CN.UTF-8")
    assert done.returncode == 2
    assert expected in done.stderr
    assert "error" not in done.stderr


def test_the_option_goes_before_the_locale(tmp_path: Path) -> None:
    words = ["chat", "--language", "zh", "--seed", "x"]
    assert "错误" in _command(words, tmp_path, LC_ALL="en_GB.UTF-8").stderr
    words = ["chat", "--language=en", "--seed", "x"]
    assert "error:" in _command(words, tmp_path, LC_ALL="zh_CN.UTF-8").stderr


def _command(words: list[str], home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sparsedoctor.app.tui.cli", *words],
        capture_output=True,
        text=True,
        env=os.environ | {"SPARSEDOCTOR_HOME": str(home)} | environment,
    )
