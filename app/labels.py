"""Labels that both interfaces show, in English and Chinese: one word for one thing.

An interface adds what only it says (`tui/texts.py`). What is said around an answer is in
`wording.py`; which language the labels have is decided in `interface_language.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sparsedoctor.app.consultation.language import Language


@dataclass(frozen=True, slots=True)
class Labels:
    """One language's labels. `{}` stands for what is filled in."""

    # about the person
    age: str
    age_hint: str
    sex: str
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
    language: str
    as_written: str
    save: str
    # conversations
    conversations: str
    search_hint: str
    nothing_found: str
    open: str
    pin: str
    branch: str
    export: str
    delete: str
    rename: str
    delete_all: str
    is_private: str
    ask_again: str
    # summary
    summary: str
    markdown: str
    html: str
    json: str
    remove: str
    # experts
    experts: str
    layers: str
    of_question: str
    of_answer: str
    appears: str
    no_routing_plain: str
    no_routing_server: str
    no_routing_engine: str
    help: str


_EN = Labels(
    age="Age",
    age_hint="34, 7 months, 10 weeks",
    sex="Sex",
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
    language="Language",
    as_written="as I write",
    save="Save",
    conversations="Conversations",
    search_hint="any words, 胸痛 or chest pai",
    nothing_found="nothing found",
    open="Open",
    pin="Pin",
    branch="Branch",
    export="Export",
    delete="Delete",
    rename="Rename",
    delete_all="Delete all",
    is_private="private: nothing is saved",
    ask_again="{}. Ask again when you like; what you wrote is kept.",
    summary="Summary for a doctor",
    markdown="Markdown",
    html="one page to print",
    json="JSON",
    remove="without telephone, mail and identity numbers",
    experts="Experts of this answer",
    layers="Layer by layer",
    of_question="{} tokens of the question",
    of_answer="{} tokens of the answer",
    appears="appears while an answer is written",
    no_routing_plain="routing not available (plain model)",
    no_routing_server="routing not available (a server does not tell it)",
    no_routing_engine="routing not available (the engine cannot trace it)",
    help="Help",
)

_ZH = Labels(
    age="年龄",
    age_hint="34、7个月、10周",
    sex="性别",
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
    language="语言",
    as_written="随我的输入",
    save="保存",
    conversations="对话记录",
    search_hint="任意词语，如 胸痛",
    nothing_found="没有找到",
    open="打开",
    pin="置顶",
    branch="另起分支",
    export="导出",
    delete="删除",
    rename="改名",
    delete_all="全部删除",
    is_private="私密：不保存任何内容",
    ask_again="{}。可随时再问一次；你写的内容已保留。",
    summary="给医生的摘要",
    markdown="Markdown",
    html="单页，供打印",
    json="JSON",
    remove="去掉电话、邮箱和身份证号码",
    experts="本次回答所用的专家",
    layers="逐层",
    of_question="问题的 {} 个词元",
    of_answer="回答的 {} 个词元",
    appears="回答时显示",
    no_routing_plain="没有路由信息（普通模型）",
    no_routing_server="没有路由信息（服务器不提供）",
    no_routing_engine="没有路由信息（引擎无法跟踪）",
    help="帮助",
)


def labels(language: Language) -> Labels:
    """The labels in `language`."""
    return _ZH if language == "zh" else _EN


def shared(language: Language) -> dict[str, Any]:
    """The same as keyword arguments, for an interface's own table that extends `Labels`."""
    found = labels(language)
    return {field.name: getattr(found, field.name) for field in fields(Labels)}
