"""What only the page says, in English and Chinese: buttons, hints, help.

Labels that the terminal shows too are in `app/labels.py`; what is said around an answer is in
`app/wording.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.labels import Labels, shared


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTexts(Labels):
    """One language's texts. `{}` stands for what is filled in."""

    code: Language
    # asking
    question: str
    question_hint: str
    send: str
    stop: str
    again: str
    new: str
    copy: str
    private: str
    not_saved: str
    broke: str
    # about the person
    about_you: str
    not_said: str
    region: str
    region_hint: str
    holds: str
    not_taken: str
    # conversations
    search: str
    saved: str
    choose_first: str
    once_more: str
    title_hint: str
    sure: str
    tick_first: str
    deleted: str
    # summary
    form: str
    make: str
    save_file: str
    # experts
    legend: str
    # help
    help_text: str


_EN = PageTexts(
    **shared("en"),
    code="en",
    question="Your question",
    question_hint="What troubles you?",
    send="Send",
    stop="Stop",
    again="Answer again",
    new="New conversation",
    copy="Copy answer",
    private="private: nothing is saved (begins a new conversation)",
    not_saved="not saved: the history cannot be written",
    broke="Something in the program broke while it answered ({}).",
    about_you="About you (optional)",
    not_said="not said",
    region="Region for the emergency numbers",
    region_hint="two letters: GB, CN",
    holds="Saved. It holds from your next question on.",
    not_taken="About you was not taken: {}",
    search="Search",
    saved="Saved",
    choose_first="choose a conversation first",
    once_more="“{}” will be gone for ever. Press Delete once more.",
    title_hint="new title",
    sure="I want to delete every conversation",
    tick_first="tick the box first; it cannot be undone",
    deleted="Deleted.",
    form="Form",
    make="Make it",
    save_file="Save {}",
    legend="faint: seldom, strong: often chosen",
    help_text="""\
**In an emergency do not type: call your local emergency number.** It stands at the top.

**Keys.** Enter sends, Shift+Enter begins a line, Esc stops the answer; what is written stays.

**Before the answer** the rules speak. They read your words, not the model's, and do not depend on
it. An emergency or crisis stays at the top until a new conversation begins.

**Experts.** The model sends every piece of text to some of its experts. The bars show how much
weight each had in this answer, the map shows it layer by layer: llama.cpp's own routing of this
very text, no guess.

**Seed.** The same question with the same seed gives the same answer: start the program with
`--seed N`.

**What is kept.** Conversations are saved in your data folder, for you alone, while they happen.
Deleted words are gone from the file. A private conversation is never written to the disk; it is
gone half a minute after its tab is closed. Export and summary are saved by your browser.
""",
)

_ZH = PageTexts(
    **shared("zh"),
    code="zh",
    question="你的问题",
    question_hint="哪里不舒服？",
    send="发送",
    stop="停止",
    again="重新回答",
    new="新对话",
    copy="复制回答",
    private="私密：不保存任何内容（将开始新对话）",
    not_saved="未保存：无法写入历史记录",
    broke="回答时程序出错（{}）。",
    about_you="关于你（可不填）",
    not_said="不说明",
    region="地区（决定急救电话）",
    region_hint="两个字母：CN、GB",
    holds="已保存，从下一个问题起生效。",
    not_taken="“关于你”未被采用：{}",
    search="搜索",
    saved="已保存的对话",
    choose_first="请先选择一个对话",
    once_more="“{}”将被永久删除。请再按一次“删除”。",
    title_hint="新标题",
    sure="我要删除所有对话",
    tick_first="请先勾选上面的方框；删除后无法恢复",
    deleted="已删除。",
    form="格式",
    make="生成",
    save_file="保存 {}",
    legend="浅色：少用；深色：常用",
    help_text="""\
**紧急情况请不要打字：请立即拨打当地急救电话**。号码在页面最上方。

**按键**：回车发送，Shift+回车换行，Esc 停止回答；已写出的内容保留。

**回答之前** 先由规则判断。规则读的是你写的话，不是模型的话，也不依赖模型。
紧急或危机提示会一直留在页面上方，直到开始新对话。

**专家**：模型把每一段文字交给其中几个专家处理。条形表示各专家在本次回答中的权重，
下面的图逐层显示：这是 llama.cpp 对这段文字的实际路由，不是猜测。

**种子**：同样的问题加同样的种子，得到同样的回答：启动程序时加 `--seed N`。

**保存什么**：对话在进行中就保存在你的数据文件夹里，只有你能读。删除后，文字会从文件中清除。
私密对话从不写入磁盘；关闭标签页半分钟后即消失。导出和摘要由浏览器保存。
""",
)


def texts(language: Language) -> PageTexts:
    """The page's texts in `language`."""
    return _ZH if language == "zh" else _EN


def preferred_language(accept: str) -> Language:
    """The language a browser asks for first (the `Accept-Language` header), English otherwise."""
    ranked = sorted(map(_weighted, accept.split(",")), key=lambda one: -one[1])
    for name, weight in ranked:
        if weight > 0 and name in ("zh", "en"):
            return "zh" if name == "zh" else "en"
    return "en"


def _weighted(part: str) -> tuple[str, float]:
    """("zh", 0.9) for "zh-CN;q=0.9"."""
    tag, _, weight = part.partition(";q=")
    try:
        return tag.strip().split("-")[0].lower(), float(weight or 1)
    except ValueError:
        return "", 0.0
