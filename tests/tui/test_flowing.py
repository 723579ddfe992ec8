"""Chinese lines fill the width of the screen."""

from __future__ import annotations

from typing import Any

import pytest
from markdown_it import MarkdownIt
from textual.widgets import Static

from sparsedoctor.app.tui.flowing import flowing


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("• 有没有：呕吐、发热？", "・有没有：呕吐、发热？"),
        (
            "• 请拨打 120。\n  原因：胸痛。 (你写道：“痛”)",
            "・请拨打120。\n  原因：胸痛。(你写道：“痛”)",
        ),
        ("SparseDoctor 是语言模型", "SparseDoctor是语言模型"),
        ("  Why: a clot. (you wrote: “chest pain”)", "  Why: a clot. (you wrote: “chest pain”)"),
        ("- 请拨打 120。\n1. 休息\n## 说明", "- 请拨打120。\n1. 休息\n## 说明"),
        ("• Is there any of this: fever?", "• Is there any of this: fever?"),
        ("120 词元，3 词元/秒", "120词元，3词元/秒"),
    ],
)
def test_spaces_beside_chinese_go_and_others_stay(text: str, drawn: str) -> None:
    assert flowing(text) == drawn


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("1) 休息\n2) 喝水 8 杯", "1) 休息\n2) 喝水8杯"),
        ("- 先这样：\n  1) 休息", "- 先这样：\n  1) 休息"),
        ("> 1) 休息", "> 1) 休息"),
        ("> - 10) 休息 3 天", "> - 10) 休息3天"),
        ("温度 (39°) 偏高", "温度(39°)偏高"),  # no mark: it does not begin the line
    ],
)
def test_the_mark_of_a_list_stays_a_mark(text: str, drawn: str) -> None:
    assert flowing(text) == drawn
    html = MarkdownIt().render(text)
    assert MarkdownIt().render(drawn).count("<li>") == html.count("<li>")


@pytest.mark.parametrize(
    ("text", "element"),
    [
        ("注意 **“三天”**", "strong"),
        ("注意 __三天__ 内", "strong"),
        ("注意 *“三天”* 内", "em"),
        ("注意 _“三天”_ 内", "em"),
        ("请写 `a` 内", "code"),
        ("## 说明 ##", "h2"),
    ],
)
def test_emphasis_and_code_that_a_space_opens_or_closes_stay(text: str, element: str) -> None:
    assert flowing(text) == text
    drawn = MarkdownIt().render(flowing(text))
    assert f"<{element}>" in drawn
    assert not set("*_`#") & set(drawn)


async def test_no_line_of_a_question_holds_only_its_mark(open_chat: Any) -> None:
    async with open_chat(size=(60, 20), language="zh") as chat:
        card = await chat.ask("我头痛")
        questions = card.query_one(".questions", Static)
        assert "有没有" in str(questions.content)
        drawn = questions.render_lines(questions.region.reset_offset)
        lines = [strip.text.strip() for strip in drawn]
        assert all(len(line) > 1 for line in lines if line), lines
