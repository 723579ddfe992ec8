"""Which language the labels have, and that all of them have it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from scripted_model import BUNDLE, SPARSE
from textual.widgets import Input, Select, Static
from tui.terminal import CTRL_Q, Terminal

from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.interface_language import interface_language
from sparsedoctor.app.tui.texts import texts
from sparsedoctor.app.web.texts import texts as page_texts
from sparsedoctor.core.engine.process import in_words
from sparsedoctor.core.engine.protocol import EngineDied, EngineError
from sparsedoctor.core.engine.scripted import Reply, ScriptedEngine

EMPTY = Intake()


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_TW"}, "zh"),
        ({"LANG": "en_GB.UTF-8"}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({}, "en"),
        ({"LC_ALL": "zh_CN.UTF-8", "LANG": "en_US.UTF-8"}, "zh"),
        ({"LC_ALL": "", "LC_MESSAGES": "en_US", "LANG": "zh_CN"}, "en"),
    ],
)
def test_auto_follows_the_locale(environment: dict[str, str], language: str) -> None:
    assert interface_language("auto", EMPTY, environment) == language


def test_what_the_person_told_goes_before_the_locale_and_the_option_before_both() -> None:
    chinese = Intake(language="zh")
    assert interface_language("auto", chinese, {"LANG": "en_GB"}) == "zh"
    assert interface_language("en", chinese, {"LANG": "zh_CN"}) == "en"
    assert interface_language("zh", EMPTY, {"LANG": "en_GB"}) == "zh"


def _footer(chat: Any) -> str:
    return " ".join(str(key.description) for key in chat.screen.query("FooterKey"))


HAN = re.compile("[\u4e00-\u9fff]")
ENGLISH_WORDS = re.compile("[a-z]{3,} [a-z]{2,}")


async def test_labels_are_chinese_when_the_person_says_so_and_english_again_after(
    open_chat: Any,
) -> None:
    async with open_chat(language="auto") as chat:
        await chat.until(lambda: "History" in _footer(chat))
        for chosen, footer, heading in (("zh", "记录", "专家"), ("en", "History", "Experts")):
            await chat.pilot.press("f3")
            await chat.until(lambda: len(chat.app.screen_stack) == 2)
            chat.app.screen.query_one("#intake-language", Select).value = chosen
            await chat.pilot.press("ctrl+s")
            await chat.until(lambda footer=footer: footer in _footer(chat))
            assert heading in chat.text("#routing-heading")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("f1", ("回车", "立即拨打", "所有内容都不会离开这台电脑")),
        ("f3", ("年龄", "过敏", "保存", "取消")),
        ("f4", ("对话记录", "打开", "全部删除")),
        ("f5", ("给医生的摘要", "关闭", "去掉电话")),
    ],
)
async def test_dialogs_are_chinese(open_chat: Any, key: str, words: tuple[str, ...]) -> None:
    async with open_chat(language="zh") as chat:
        await chat.ask("什么是感冒？")
        await chat.pilot.press(key)
        await chat.until(lambda: len(chat.app.screen_stack) == 2)
        await chat.pilot.pause()
        shown = "\n".join(_texts_of(chat.app.screen))
        for word in words:
            assert word in shown


async def test_all_commands_are_listed_in_chinese(open_chat: Any) -> None:
    async with open_chat(language="zh") as chat:
        listed = [command.title for command in chat.app.get_system_commands(chat.screen)]
        assert len(listed) == 12
        assert all(HAN.search(title) for title in listed)


async def test_the_keys_fit_into_80_columns_and_name_the_way_out(open_chat: Any) -> None:
    for language in ("en", "zh"):
        async with open_chat(size=(80, 24), language=language) as chat:
            await chat.until(lambda: len(chat.screen.query("FooterKey")) == 8)
            await chat.pilot.pause()
            keys = list(chat.screen.query("FooterKey"))
            assert all(key.region.right <= 80 for key in keys)
            ends = sorted((key.region.x, key.region.right) for key in keys)
            assert all(one[1] <= next_[0] for one, next_ in pairwise(ends))
            assert any(key.key == "ctrl+q" for key in keys)


def test_the_languages_fill_in_the_same_things() -> None:
    english, chinese = texts("en"), texts("zh")
    for field in fields(english):
        one, other = getattr(english, field.name), getattr(chinese, field.name)
        assert type(one) is type(other), field.name
        if isinstance(one, dict):
            assert one.keys() == other.keys(), field.name
        else:
            assert one.count("{") == other.count("{"), field.name


@pytest.mark.parametrize("said", [texts, page_texts], ids=["terminal", "page"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_help_has_no_sign_left_of_its_markdown(said: Any, language: str) -> None:
    # "**专家。**模型" would show its stars: after a full stop nothing closes before a letter.
    drawn = MarkdownIt().render(said(language).help_text)
    assert "<strong>" in drawn
    assert "**" not in drawn


async def test_the_model_its_experts_and_what_goes_wrong_are_named_in_chinese(
    open_chat: Any,
) -> None:
    failure = EngineDied(f"the engine ended: {in_words(-9)}; the next question starts it again")
    slow = "Other programs slow this computer down: 3.0 tokens a second instead of 60."
    engine = ScriptedEngine([Reply(("好。",), notices=(slow,)), Reply((), failure=failure)])
    unnamed = replace(SPARSE, bundle=replace(BUNDLE, expert_names=()))
    async with open_chat(engine, model=unnamed, language="zh") as chat:
        await chat.until(lambda: chat.text("#state") == "就绪")
        label = "小型演示模型（只懂英文，中文回答不可靠），不构成医疗建议"
        assert chat.text("#label") == f"SparseDoctor：{label}"
        card = await chat.ask("什么是感冒？")
        assert "专家 0" in str(chat.screen.query_one("#routing-bars", Static).content)
        assert "其他程序让这台电脑变慢" in str(card.query_one(".remarks", Static).content)
        failed = await chat.ask("什么是咳嗽？")
        said = str(failed.query_one(".remarks", Static).content)
        assert "引擎中止：它被外部结束" in said
        assert "重新启动它。可随时再问一次" in said
        assert not ENGLISH_WORDS.search(said)


async def test_a_model_that_cannot_be_loaded_is_told_in_chinese(open_chat: Any) -> None:
    failure = EngineError("/x/a.gguf is damaged: its header ends too early (cut short?); get or "
                          "export the file again")  # fmt: skip
    async with open_chat(ScriptedEngine(load_failure=failure), language="zh") as chat:
        await chat.until(lambda: chat.text("#state") == "无法载入模型")
        shown = [str(notice.message) for notice in chat.app._notifications]
        assert shown == ["/x/a.gguf 已损坏：文件头不完整（可能被截断）；请重新获取或导出"]


async def test_a_mistake_in_the_form_is_told_in_chinese(open_chat: Any) -> None:
    async with open_chat(language="zh") as chat:
        await chat.pilot.press("f3")
        await chat.until(lambda: len(chat.app.screen_stack) == 2)
        form = chat.app.screen
        for age, said in (("六", "看不懂年龄"), ("200", "年龄不可能是 200")):
            form.query_one("#intake-age", Input).value = age
            await chat.pilot.press("ctrl+s")
            problem = form.query_one("#intake-problem", Static)
            await chat.until(lambda said=said, problem=problem: said in str(problem.content))


async def test_the_age_of_a_baby_comes_back_in_the_language_it_was_told_in(open_chat: Any) -> None:
    async with open_chat(language="zh") as chat:
        chat.screen.session.tell(Intake.from_json({"age": "7个月", "medicines": "甲、乙"}))
        await chat.pilot.press("f3")
        await chat.until(lambda: len(chat.app.screen_stack) == 2)
        form = chat.app.screen
        assert form.query_one("#intake-age", Input).value == "7个月"
        assert form.query_one("#intake-medicines", Input).value == "甲、乙"
        await chat.pilot.press("ctrl+s")
        await chat.until(lambda: len(chat.app.screen_stack) == 1)
        assert chat.screen.session.intake.medicines == ("甲", "乙")


def test_ask_says_its_remarks_in_the_chosen_language(smollm2_gguf: Path) -> None:
    command = [sys.executable, "-m", "sparsedoctor.app.tui.cli", "ask", "What is asthma?"]
    options = ["--model", str(smollm2_gguf), "--max-tokens", "4", "--language", "zh"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "没有路由信息" in done.stderr
    assert "种子" in done.stderr


def test_a_chinese_locale_gives_a_chinese_terminal(
    terminals: list[Terminal], smollm2_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    terminal = Terminal("chat", "--model", str(smollm2_gguf), columns=80, rows=24)
    terminals.append(terminal)
    terminal.until("不构成医疗建议")
    terminal.until("就绪")
    terminal.type("\x1bOR")  # F3
    terminal.until("正在服用的药")
    terminal.type("\x1b")
    terminal.type(CTRL_Q)
    assert terminal.ended() == 0


def _texts_of(screen: Any) -> Iterator[str]:
    for widget in screen.walk_children():
        for name in ("content", "label", "placeholder", "source"):
            value = getattr(widget, name, None)
            if value:
                yield str(value)


async def test_ctrl_c_during_an_answer_says_how_to_stop_and_leave_and_ends_nothing(
    open_chat: Any,
) -> None:
    engine = ScriptedEngine([Reply(("字",) * 40, delay=0.05)])
    async with open_chat(engine, language="zh") as chat:
        await chat.send("什么是感冒？")
        await chat.pilot.press("ctrl+c")
        await chat.until(lambda: bool(chat.app._notifications))
        said = [str(notice.message) for notice in chat.app._notifications]
        assert said == ["Ctrl+Q 离开；Esc 停止回答。Ctrl+C 复制选中的文字。"]
        await chat.until(lambda: not chat.screen.busy)
        assert chat.cards[0].view.text == "字" * 40
