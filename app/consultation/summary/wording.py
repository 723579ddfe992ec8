"""The fixed words of a summary, in English and Chinese."""

from __future__ import annotations

from dataclasses import dataclass

from sparsedoctor.app.consultation.summary.fields import SummaryLanguage

DISCLAIMER = {
    "en": "SparseDoctor is a language model and not a doctor. What it says can be wrong and is no "
    "diagnosis. In an emergency call your local emergency number.",
    "zh": "SparseDoctor 是语言模型，不是医生；所说内容可能有误，不构成诊断。"
    "紧急情况请立即拨打当地急救电话。",
}


@dataclass(frozen=True, slots=True)
class SummaryWording:
    title: str
    subjective: str
    own_words: str
    about: str
    objective: str
    nothing_measured: str
    no_unit: str
    assessment: str
    suggestion_note: str
    no_answer: str
    changed: str
    plan: str
    earlier: str
    call: str
    crisis_lines: str
    rules: str
    no_rules: str
    questions: str
    made_with: str
    shortened: str
    not_told: str
    rules_answered: str
    by_rules: str  # where no model has answered
    yes: str
    no: str
    colon: str
    comma: str
    intake: dict[str, str]
    sex: dict[str, str]
    measured: dict[str, str]
    urgency: dict[str, str]
    made: dict[str, str]
    earlier_if: dict[str, str]  # any, child, pregnant
    ask: dict[str, str]  # first, medicines, pregnant, conditions, return


_EN = SummaryWording(
    title="Summary for a doctor's visit",
    subjective="S: what the person said",
    own_words="In their own words",
    about="What they told about themselves",
    objective="O: what they measured themselves",
    nothing_measured="No measurement was named.",
    no_unit="unit not stated",
    assessment="A: suggestion of the model",
    suggestion_note="Written by a language model from the words above. Not a diagnosis, not "
    "checked by anybody.",
    no_answer="The model gave no answer.",
    changed="Changed or noted by the rules",
    plan="P: what was advised",
    earlier="Get help earlier, or at once, if",
    call="Emergency number",
    crisis_lines="Crisis line",
    rules="Safety rules that fired",
    no_rules="None. That does not mean that nothing is wrong.",
    questions="Questions for the doctor",
    made_with="Made with",
    shortened="[shortened for one page; all of it is in the Markdown and JSON export]",
    not_told="not told",
    rules_answered="Written by fixed rules, without a model.",
    by_rules="none: the rules answered",
    yes="yes",
    no="no",
    colon=": ",
    comma=", ",
    intake={
        "age": "Age",
        "sex": "Sex",
        "pregnant": "Pregnant",
        "breastfeeding": "Breast-feeding",
        "allergies": "Allergies",
        "medicines": "Medicines",
        "conditions": "Conditions",
        "region": "Region",
    },
    sex={"female": "female", "male": "male"},
    measured={
        "temperature": "Temperature",
        "blood_pressure": "Blood pressure",
        "oxygen": "Oxygen saturation",
        "glucose": "Blood sugar",
        "pulse": "Pulse",
        "breaths": "Breathing rate",
        "weight": "Weight",
    },
    urgency={
        "emergency": "Emergency: get help now",
        "today": "See a doctor today",
        "days": "See a doctor within days",
        "self_care": "Self-care is usually enough",
        "unclear": "Not enough was said to judge how urgent this is",
    },
    made={
        "created": "Created",
        "model": "Model",
        "model_sha256": "Model SHA-256",
        "model_server": "Model server",
        "prompt_sha256": "Prompt SHA-256",
        "settings": "Settings",
        "versions": "Versions",
    },
    earlier_if={
        "any": "breathing becomes hard, the chest hurts, a headache is sudden and the worst ever, "
        "somebody faints, has a fit, is confused or cannot be woken, a side of the body goes weak, "
        "blood does not stop, is vomited or makes the stool black",
        "worse": "it quickly gets worse, something new and severe comes, or it does not get better "
        "in the time expected",
        "child": "a child is limp, hard to wake, breathes fast, does not drink, has no wet nappy "
        "for 8 hours, vomits green, or has a rash that does not fade under a glass; a baby under "
        "3 months has 38 °C or more",
        "pregnant": "there is bleeding, bad belly pain or headache, trouble seeing, or the baby "
        "moves less",
        "crisis": "thoughts of harming oneself or others come back or get stronger",
    },
    ask={
        "first": "What can be the cause, and what must be ruled out?",
        "medicines": "Can it come from my medicines ({}), and do they go with a new one?",
        "allergies": "Does my allergy ({}) matter for the treatment?",
        "pregnant": "What does this mean for the pregnancy, and what must I not take?",
        "breastfeeding": "What may I take while breast-feeding?",
        "conditions": "Does my illness ({}) change what has to be done?",
        "return": "Which signs should bring me back at once, and when should it be better?",
    },
)

_ZH = SummaryWording(
    title="就诊摘要",
    subjective="S：患者自述",
    own_words="原话",
    about="自己填写的情况",
    objective="O：患者自测",
    nothing_measured="没有提到测量结果。",
    no_unit="未说明单位",
    assessment="A：模型的建议",
    suggestion_note="由语言模型根据上述内容写成，不是诊断，未经任何人核对。",
    no_answer="模型没有给出回答。",
    changed="规则所作的修改或提示",
    plan="P：给出的建议",
    earlier="出现以下情况请提前或立即求助",
    call="急救电话",
    crisis_lines="心理援助热线",
    rules="触发的安全规则",
    no_rules="无。这不代表没有问题。",
    questions="想问医生的问题",
    made_with="生成信息",
    shortened="[为打印在一页上已缩短；完整内容见 Markdown 和 JSON 导出]",
    not_told="未填写",
    rules_answered="由固定规则写成，没有使用模型。",
    by_rules="无（由规则作答）",
    yes="是",
    no="否",
    colon="：",
    comma="、",
    intake={
        "age": "年龄",
        "sex": "性别",
        "pregnant": "怀孕",
        "breastfeeding": "哺乳",
        "allergies": "过敏",
        "medicines": "正在用的药",
        "conditions": "已有疾病",
        "region": "地区",
    },
    sex={"female": "女", "male": "男"},
    measured={
        "temperature": "体温",
        "blood_pressure": "血压",
        "oxygen": "血氧饱和度",
        "glucose": "血糖",
        "pulse": "脉搏",
        "breaths": "呼吸频率",
        "weight": "体重",
    },
    urgency={
        "emergency": "紧急：请立即求助",
        "today": "请今天就医",
        "days": "请在几天内就医",
        "self_care": "通常可以自我护理",
        "unclear": "信息不足，无法判断紧急程度",
    },
    made={
        "created": "生成时间",
        "model": "模型",
        "model_sha256": "模型 SHA-256",
        "model_server": "模型服务器",
        "prompt_sha256": "提示词 SHA-256",
        "settings": "设置",
        "versions": "版本",
    },
    earlier_if={
        "any": "呼吸困难、胸痛、突发从未有过的剧烈头痛、晕倒、抽搐、意识模糊或叫不醒、"
        "一侧肢体无力、出血不止、呕血或黑便",
        "worse": "迅速加重、出现新的严重症状，或在预期时间内没有好转",
        "child": "孩子软弱无力、难以叫醒、呼吸急促、不肯喝水、8 小时没有小便、"
        "呕吐物发绿，或皮疹用玻璃杯压不褪色；3 个月以下婴儿体温达到 38 °C",
        "pregnant": "阴道出血、剧烈腹痛或头痛、视物不清，或胎动减少",
        "crisis": "伤害自己或他人的念头再次出现或变得更强烈",
    },
    ask={
        "first": "可能是什么原因？需要排除哪些疾病？",
        "medicines": "会不会与我正在用的药（{}）有关？能和新的药一起用吗？",
        "allergies": "我的过敏（{}）对治疗有影响吗？",
        "pregnant": "这对怀孕有什么影响？哪些药不能用？",
        "breastfeeding": "哺乳期间可以用什么药？",
        "conditions": "我已有的疾病（{}）会改变处理方法吗？",
        "return": "出现哪些情况要马上回来？大概多久应该好转？",
    },
)


def wording(language: SummaryLanguage) -> SummaryWording:
    return _ZH if language == "zh" else _EN
