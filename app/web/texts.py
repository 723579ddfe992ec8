"""What the page itself says, in English and Chinese: labels, buttons, hints, help.

What both interfaces say around an answer is in `sparsedoctor.app.wording`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsedoctor.app.consultation.language import Language


@dataclass(frozen=True, slots=True)
class PageTexts:
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
    is_private: str
    not_saved: str
    ask_again: str
    broke: str
    # about the person
    about_you: str
    age: str
    age_hint: str
    sex: str
    not_said: str
    female: str
    male: str
    pregnant: str
    breastfeeding: str
    allergies: str
    allergies_hint: str
    medicines: str
    medicines_hint: str
    conditions: str
    conditions_hint: str
    region: str
    region_hint: str
    language: str
    as_written: str
    save: str
    holds: str
    not_taken: str
    # conversations
    conversations: str
    search: str
    search_hint: str
    saved: str
    nothing_found: str
    choose_first: str
    open: str
    pin: str
    delete: str
    once_more: str
    export: str
    rename: str
    title_hint: str
    sure: str
    delete_all: str
    tick_first: str
    deleted: str
    # summary
    summary: str
    form: str
    markdown: str
    html: str
    json: str
    remove: str
    make: str
    save_file: str
    # experts
    experts: str
    layers: str
    legend: str
    of_question: str
    of_answer: str
    appears: str
    # help
    help: str
    help_text: str


_EN = PageTexts(
    code="en",
    question="Your question",
    question_hint="What troubles you?",
    send="Send",
    stop="Stop",
    again="Answer again",
    new="New conversation",
    copy="Copy answer",
    private="private: nothing is saved (begins a new conversation)",
    is_private="private: nothing is saved",
    not_saved="not saved: the history cannot be written",
    ask_again="{} Ask again when you like; what you wrote is kept.",
    broke="Something in the program broke while it answered ({}).",
    about_you="About you (optional)",
    age="Age",
    age_hint="34, 7 months, 10 weeks",
    sex="Sex",
    not_said="not said",
    female="female",
    male="male",
    pregnant="pregnant",
    breastfeeding="breast-feeding",
    allergies="Allergies",
    allergies_hint="penicillin, nuts",
    medicines="Medicines",
    medicines_hint="with commas between",
    conditions="Conditions",
    conditions_hint="diabetes, asthma",
    region="Region for the emergency numbers",
    region_hint="two letters: GB, CN",
    language="Language",
    as_written="as I write",
    save="Save",
    holds="Saved. It holds from your next question on.",
    not_taken="About you was not taken: {}",
    conversations="Conversations",
    search="Search",
    search_hint="any words, 胸痛 or chest pai",
    saved="Saved",
    nothing_found="nothing found",
    choose_first="choose a conversation first",
    open="Open",
    pin="Pin",
    delete="Delete",
    once_more="“{}” will be gone for ever. Press Delete once more.",
    export="Export",
    rename="Rename",
    title_hint="new title",
    sure="I want to delete every conversation",
    delete_all="Delete all",
    tick_first="tick the box first; it cannot be undone",
    deleted="Deleted.",
    summary="Summary for a doctor",
    form="Form",
    markdown="Markdown",
    html="one page to print",
    json="JSON",
    remove="without telephone, mail and identity numbers",
    make="Make it",
    save_file="Save {}",
    experts="Experts of this answer",
    layers="Layer by layer",
    legend="faint: seldom, strong: often chosen",
    of_question="{} tokens of the question",
    of_answer="{} tokens of the answer",
    appears="appears while an answer is written",
    help="Help",
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
    code="zh",
    question="你的问题",
    question_hint="哪里不舒服？",
    send="发送",
    stop="停止",
    again="重新回答",
    new="新对话",
    copy="复制回答",
    private="私密：不保存任何内容（将开始新对话）",
    is_private="私密：不保存任何内容",
    not_saved="未保存：无法写入历史记录",
    ask_again="{} 可随时再问一次；你写的内容已保留。",
    broke="回答时程序出错（{}）。",
    about_you="关于你（可不填）",
    age="年龄",
    age_hint="34、7个月、10周",
    sex="性别",
    not_said="不说明",
    female="女",
    male="男",
    pregnant="怀孕",
    breastfeeding="哺乳",
    allergies="过敏",
    allergies_hint="青霉素、坚果",
    medicines="正在服用的药",
    medicines_hint="用逗号分开",
    conditions="已有疾病",
    conditions_hint="糖尿病、哮喘",
    region="地区（决定急救电话）",
    region_hint="两个字母：CN、GB",
    language="语言",
    as_written="随我的输入",
    save="保存",
    holds="已保存，从下一个问题起生效。",
    not_taken="“关于你”未被采用：{}",
    conversations="对话记录",
    search="搜索",
    search_hint="任意词语，如 胸痛",
    saved="已保存的对话",
    nothing_found="没有找到",
    choose_first="请先选择一个对话",
    open="打开",
    pin="置顶",
    delete="删除",
    once_more="“{}”将被永久删除。请再按一次“删除”。",
    export="导出",
    rename="改名",
    title_hint="新标题",
    sure="我要删除所有对话",
    delete_all="全部删除",
    tick_first="请先勾选上面的方框；删除后无法恢复",
    deleted="已删除。",
    summary="给医生的摘要",
    form="格式",
    markdown="Markdown",
    html="单页，供打印",
    json="JSON",
    remove="去掉电话、邮箱和身份证号码",
    make="生成",
    save_file="保存 {}",
    experts="本次回答所用的专家",
    layers="逐层",
    legend="浅色：少用；深色：常用",
    of_question="问题的 {} 个词元",
    of_answer="回答的 {} 个词元",
    appears="回答时显示",
    help="帮助",
    help_text="""\
**紧急情况请不要打字：请立即拨打当地急救电话。**号码在页面最上方。

**按键。**回车发送，Shift+回车换行，Esc 停止回答；已写出的内容保留。

**回答之前**先由规则判断。规则读的是你写的话，不是模型的话，也不依赖模型。
紧急或危机提示会一直留在页面上方，直到开始新对话。

**专家。**模型把每一段文字交给其中几个专家处理。条形表示各专家在本次回答中的权重，
下面的图逐层显示：这是 llama.cpp 对这段文字的实际路由，不是猜测。

**种子。**同样的问题加同样的种子，得到同样的回答：启动程序时加 `--seed N`。

**保存什么。**对话在进行中就保存在你的数据文件夹里，只有你能读。删除后，文字会从文件中清除。
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
