"""Chinese lines fill the width of the screen."""

from __future__ import annotations

from typing import Any

import pytest
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


async def test_no_line_of_a_question_holds_only_its_mark(open_chat: Any) -> None:
    async with open_chat(size=(60, 20), language="zh") as chat:
        card = await chat.ask("我头痛")
        questions = card.query_one(".questions", Static)
        assert "有没有" in str(questions.content)
        drawn = questions.render_lines(questions.region.reset_offset)
        lines = [strip.text.strip() for strip in drawn]
        assert all(len(line) > 1 for line in lines if line), lines
