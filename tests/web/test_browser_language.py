"""The page in Chinese: when the browser asks for it, when the form or the command says so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from web.conftest import open_browser
from web.serving import serving
from web.tab import Tab

from sparsedoctor.app.web.texts import PageTexts, preferred_language, texts

ENGLISH = re.compile("[A-Za-z]+")
LABELS = {
    "#send": "发送",
    "#stop": "停止",
    "#new": "新对话",
    "#again": "重新回答",
    "#copy": "复制回答",
    "#intake > button": "关于你（可不填）",
    "#history > button": "对话记录",
    "#summary > button": "给医生的摘要",
    "#help > button": "帮助",
}
PANELS = ("intake", "history", "summary", "help")


@pytest.fixture(scope="module")
def chinese_browser() -> Iterator[Any]:
    opened = open_browser("zh-CN,zh")
    yield opened
    opened.quit()


def is_chinese(tab: Tab) -> None:
    for selector, label in LABELS.items():
        tab.until(lambda s=selector, t=label: t in tab.text(s))


@pytest.mark.browser
def test_a_chinese_browser_gets_a_chinese_page(server: Any, chinese_browser: Any) -> None:
    server.reply.clear()
    tab = Tab(chinese_browser, server.url, ready="就绪")
    is_chinese(tab)
    assert tab.text("#emergency-line").startswith("紧急情况")
    assert tab.text("#label") == "小型演示模型（只懂英文，中文回答不可靠），不构成医疗建议"
    assert "哪里不舒服" in tab.one("#words textarea").get_attribute("placeholder")
    assert "请用自己的话描述" in tab.text("#chat")
    for panel in PANELS:
        tab.open(panel)
    tab.until(lambda: "紧急情况请不要打字" in tab.text("#help"))
    # No ENGLISH word is left but names and what a person types as it is.
    said = tab.text("#side").replace(tab.text("#conversations"), "")
    left = set(ENGLISH.findall(said)) - {"SparseDoctor", "Markdown", "JSON"}
    assert left <= {"English", "Enter", "Shift", "Esc", "llama", "cpp", "seed", "N", "CN", "GB"}
    tab.fill("#age textarea, #age input", "六")
    tab.click("#intake-save")
    tab.until(lambda: "未被采用：看不懂年龄 '六'" in tab.text("#intake-note"))
    tab.fill("#age textarea, #age input", "31")
    tab.choose("sex", "female")
    tab.click("#intake-save")
    tab.until(lambda: "已保存" in tab.text("#intake-note"))
    tab.answered("什么是感冒？")
    tab.until(lambda: "重新回答" in tab.text("#again"))
    tab.click("#summary-make")
    tab.until(lambda: "保存 sparsedoctor-summary.md" in tab.text("#summary-link"))


@pytest.mark.browser
def test_the_language_of_the_form_turns_the_page_and_keeps_what_is_in_it(tab: Tab) -> None:
    assert "Send" in tab.text("#send")
    tab.open("intake")
    tab.fill("#age textarea, #age input", "31")
    tab.choose("sex", "female")
    tab.choose("language", "zh")
    tab.click("#intake-save")
    is_chinese(tab)
    assert tab.value("#age textarea, #age input") == "31"
    assert tab.one("#sex input[value=female]").is_selected()
    tab.browser.refresh()
    tab.loaded("就绪")
    is_chinese(tab)
    tab.open("intake")
    tab.choose("language", "en")
    tab.click("#intake-save")
    tab.until(lambda: tab.text("#send") == "Send")


@pytest.mark.browser
def test_the_command_can_say_the_language(browser: Any, smollm2_gguf: Path) -> None:
    with serving("--model", str(smollm2_gguf), "--language", "zh") as (_, url):
        tab = Tab(browser, url, ready="就绪")
        is_chinese(tab)
        assert "急救电话" in tab.text("#emergency-line")


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("zh-TW", "zh"),
        ("en-GB,zh;q=0.9", "en"),
        ("de,zh;q=0.7,en;q=0.3", "zh"),
        ("de,fr;q=0.5", "en"),
        ("zh;q=0,en", "en"),
        ("nonsense;q=x,,;", "en"),
    ],
)
def test_the_browsers_own_order_decides(accepted: str, language: str) -> None:
    assert preferred_language(accepted) == language


@pytest.mark.parametrize("name", [field.name for field in fields(PageTexts)])
def test_every_text_is_there_in_both_languages(name: str) -> None:
    english, chinese = (getattr(texts(code), name) for code in ("en", "zh"))
    assert english.strip()
    assert chinese.strip()
    assert english.count("{}") == chinese.count("{}")
    same = {"markdown", "json"}
    assert (english == chinese) == (name in same)
