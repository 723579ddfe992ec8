"""What only the terminal says, in English and Chinese: keys, dialogs, commands, help."""

from __future__ import annotations

from dataclasses import dataclass

from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.labels import Labels, shared


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalTexts(Labels):
    """One language's texts. `{}` stands for what is filled in."""

    code: Language
    colon: str
    stop: str  # of a sentence
    label: str
    keys: dict[str, str]  # what the last line calls the action of a key
    commands: dict[str, tuple[str, str]]  # name and explanation in the list of all commands
    search_commands: str
    # states and short messages
    stopping: str
    no_model: str
    last_failed: str
    not_saved: str
    busy: str
    nothing_to_repeat: str
    how_to_leave: str
    nothing_to_copy: str
    copied: str
    link: str
    link_title: str
    cut: str
    strip_waiting: str
    legend: str
    # dialogs
    about_you: str
    optional: str
    medicines_hint_long: str
    region: str
    region_hint: str
    language_as_written: str
    clear: str
    cancel: str
    close: str
    no: str
    many: str
    messages: str
    nothing_saved: str
    new_title: str
    export_of: str
    sure: str
    sure_all: str
    nothing_said: str
    saved_as: str
    # help
    help_text: str
    offline: str
    server_gets: str
    server_model: str
    foreign: str
    licences: str
    none_stated: str


_EN = TerminalTexts(
    **shared("en"),
    code="en",
    colon=": ",
    stop=".",
    label="SparseDoctor: {}",
    keys={
        "help": "Help",
        "toggle_routing": "Experts",
        "intake": "You",
        "history": "History",
        "summary": "Summary",
        "new": "New",
        "quit": "Leave",
        "command_palette": "All",
    },
    commands={
        "new": ("New conversation", "Begin anew (Ctrl+N)"),
        "stop": ("Stop the answer", "Keeps what is written (Esc)"),
        "copy": ("Copy the last answer", "To the clipboard"),
        "again": ("Answer again", "The last question, anew"),
        "intake": ("About you", "Age, medicines, allergies (F3)"),
        "history": ("Conversations", "Search, open, rename, export, delete (F4)"),
        "summary": ("Summary for a doctor", "See and save it (F5)"),
        "private": ("Private conversation", "Begin one that is not saved, or a saved one again"),
        "experts": ("Experts", "Show or hide them (F2)"),
        "help": ("Help", "Keys, safety, privacy (F1)"),
        "theme": ("Theme", "Other colours; the choice is remembered"),
        "leave": ("Leave", "End the program (Ctrl+Q)"),
    },
    search_commands="Search the commands",
    stopping="stopping ...",
    no_model="the model could not be loaded",
    last_failed="the last answer failed",
    not_saved="not saved: see the notice",
    how_to_leave="Ctrl+Q leaves; Esc stops an answer. Ctrl+C copies marked text.",
    busy="An answer is being written; Esc stops it.",
    nothing_to_repeat="There is no finished answer to give again.",
    nothing_to_copy="There is no answer yet.",
    copied="The last answer is on the clipboard, if your terminal allows it.",
    link="{}\nNothing is opened from here: a model can invent links.",
    link_title="A link the model wrote",
    cut="The paste was cut to {} characters.",
    strip_waiting="experts: shown while an answer is written",
    legend="dark: seldom, bright: often chosen",
    about_you="About you",
    optional="Everything is optional. The emergency rules and the model take it into account.",
    medicines_hint_long="what you take, with commas between",
    region="Region",
    region_hint="two letters, such as GB or CN: for the emergency numbers",
    language_as_written="Language: as I write",
    clear="Clear all",
    cancel="Cancel",
    close="Close",
    no="No",
    many="{} saved",
    messages="{}, {} messages",
    nothing_saved="no conversation is saved yet",
    new_title="New title",
    export_of="Export “{}”",
    sure="Delete “{}”? It cannot be brought back.",
    sure_all="Delete every conversation? None can be brought back.",
    nothing_said="Nothing was said yet; there is nothing to sum up.",
    saved_as="Saved as {}; only you can read it.",
    help_text="""\
# Help

**In an emergency do not type: call your local emergency number.** It stands at the top.

| key | what it does |
|---|---|
| Enter | sends your question |
| Ctrl+J, Shift+Enter | begins a new line |
| Esc | stops the answer; what is written stays |
| Up, Down | earlier questions, from an empty field |
| Page Up, Page Down | read up and down |
| F2 | shows or hides the experts |
| F3 | about you: age, medicines, allergies, region, language |
| F4 | conversations: search, open, rename, pin, branch, export, delete |
| F5 | summary for a doctor |
| Ctrl+N | begins a new conversation |
| Ctrl+P | all commands, themes too |
| Ctrl+C | copies marked text |
| Ctrl+Q | leaves |

## What you see

**Before the answer** the rules speak. They read your words, not the model's, and do not depend
on it. An emergency or crisis stays at the top until a new conversation begins.

**Experts.** The model sends every piece of text to some of its experts. The bars show how much
weight each had in this answer, the map shows it layer by layer: llama.cpp's own routing of this
very text, no guess.

**Seed.** The same question with the same seed gives the same answer: `--seed N`.

**Language.** The answer follows your words. Labels follow what you told about yourself (F3), else
your computer; `--language zh` or `en` fixes them.

## What is kept

{where}

Conversations are saved in your data folder, for you alone, while they happen. F4 finds, renames
and deletes them; deleted words are gone from the file. A private conversation (Ctrl+P, "Private")
is never written to the disk. `sparsedoctor-tui history encrypt` puts a passphrase on them.

## The model

{model}
""",
    offline="The program opens no network connection.",
    server_gets="With every question the conversation before it and what you told about yourself "
    "are sent. What the server keeps is up to it, in a private conversation too. The emergency "
    "rules run here, without it.",
    server_model="A server does not tell its experts.",
    foreign="Another program wrote this file; it has no routing to show.",
    licences="{} experts, {} for each token, on {}. Licences: {}.",
    none_stated="none stated",
)

_ZH = TerminalTexts(
    **shared("zh"),
    code="zh",
    colon="：",
    stop="。",
    label="SparseDoctor：{}",
    keys={
        "help": "帮助",
        "toggle_routing": "专家",
        "intake": "关于你",
        "history": "记录",
        "summary": "摘要",
        "new": "新对话",
        "quit": "离开",
        "command_palette": "全部",
    },
    commands={
        "new": ("新对话", "重新开始（Ctrl+N）"),
        "stop": ("停止回答", "已写出的内容保留（Esc）"),
        "copy": ("复制最后的回答", "到剪贴板"),
        "again": ("重新回答", "再答一次最后的问题"),
        "intake": ("关于你", "年龄、用药、过敏（F3）"),
        "history": ("对话记录", "搜索、打开、改名、导出、删除（F4）"),
        "summary": ("给医生的摘要", "查看并保存（F5）"),
        "private": ("私密对话", "开始一个不保存的对话，或恢复保存"),
        "experts": ("专家", "显示或隐藏（F2）"),
        "help": ("帮助", "按键、安全、隐私（F1）"),
        "theme": ("配色", "更换颜色，下次仍有效"),
        "leave": ("离开", "结束程序（Ctrl+Q）"),
    },
    search_commands="搜索命令",
    stopping="正在停止……",
    no_model="无法载入模型",
    last_failed="上一次回答失败",
    not_saved="未保存：见提示",
    how_to_leave="Ctrl+Q 离开；Esc 停止回答。Ctrl+C 复制选中的文字。",
    busy="正在回答；按 Esc 停止。",
    nothing_to_repeat="还没有可以重新回答的问题。",
    nothing_to_copy="还没有回答。",
    copied="最后的回答已复制到剪贴板（如果终端允许）。",
    link="{}\n这里不会打开任何链接：模型可能编造链接。",
    link_title="模型写的链接",
    cut="粘贴的内容已截短为 {} 个字符。",
    strip_waiting="专家：回答时显示",
    legend="暗：少用；亮：常用",
    about_you="关于你",
    optional="全部可不填。紧急规则和模型会考虑这些信息。",
    medicines_hint_long="你正在用的药，用逗号分开",
    region="地区",
    region_hint="两个字母，如 CN 或 GB：决定急救电话",
    language_as_written="语言：随我的输入",
    clear="全部清除",
    cancel="取消",
    close="关闭",
    no="不",
    many="已保存 {} 个对话",
    messages="{}，{} 条消息",
    nothing_saved="还没有保存的对话",
    new_title="新标题",
    export_of="导出“{}”",
    sure="删除“{}”？删除后无法恢复。",
    sure_all="删除所有对话？删除后无法恢复。",
    nothing_said="还没有说过什么，没有可总结的内容。",
    saved_as="已保存为 {}；只有你能读。",
    help_text="""\
# 帮助

**紧急情况请不要打字：请立即拨打当地急救电话**。号码在屏幕最上方。

| 按键 | 作用 |
|---|---|
| 回车 | 发送问题 |
| Ctrl+J、Shift+回车 | 换行 |
| Esc | 停止回答；已写出的内容保留 |
| 上、下 | 输入框为空时：以前的问题 |
| Page Up、Page Down | 上下翻阅 |
| F2 | 显示或隐藏专家 |
| F3 | 关于你：年龄、用药、过敏、地区、语言 |
| F4 | 对话记录：搜索、打开、改名、置顶、另起分支、导出、删除 |
| F5 | 给医生的摘要 |
| Ctrl+N | 开始新对话 |
| Ctrl+P | 全部命令，包括配色 |
| Ctrl+C | 复制选中的文字 |
| Ctrl+Q | 离开 |

## 你看到的内容

**回答之前** 先由规则判断。规则读的是你写的话，不是模型的话，也不依赖模型。
紧急或危机提示会一直留在屏幕上方，直到开始新对话。

**专家**：模型把每一段文字交给其中几个专家处理。条形表示各专家在本次回答中的权重，
下面的图逐层显示：这是 llama.cpp 对这段文字的实际路由，不是猜测。

**种子**：同样的问题加同样的种子，得到同样的回答：`--seed N`。

**语言**：回答随你的话。界面文字随你填写的语言（F3），没有填写则随电脑的设置；
`--language zh` 或 `en` 可以固定。

## 保存什么

{where}

对话在进行中就保存在你的数据文件夹里，只有你能读。F4 可以查找、改名和删除；
删除后，文字会从文件中清除。私密对话（Ctrl+P，“私密”）从不写入磁盘。
`sparsedoctor-tui history encrypt` 可为对话记录加上密码。

## 模型

{model}
""",
    offline="程序不会打开任何网络连接。",
    server_gets="每次提问都会发送之前的对话和你填写的个人情况。服务器保留什么由服务器决定，"
    "私密对话也一样。紧急规则在这台电脑上运行，不依赖服务器。",
    server_model="服务器不提供专家信息。",
    foreign="这个文件由其他程序写成，没有可显示的路由。",
    licences="{} 个专家，每个词元用 {} 个，基于 {}。许可：{}。",
    none_stated="未说明",
)


def texts(language: Language) -> TerminalTexts:
    """The terminal's texts in `language`."""
    return _ZH if language == "zh" else _EN
