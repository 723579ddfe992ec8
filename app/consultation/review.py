"""What a model must not say, found in its answer and taken out or marked, and said so.

Doses of prescription medicines, instructions to stop a medicine, and sources, links and telephone
numbers: an offline model cannot know any of them for this person. Numbers of the region's own
table stay.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sparsedoctor.app.consultation.assessment import Numbers
from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.consultation.triage.text import normalise

_UNIT = (
    r"(?:mg|mcg|µg|μg|ug|g|grams?|milligrams?|micrograms?|ml|iu|units?|tablets?|pills?|capsules?"
    r"|puffs?|drops?|毫克|微克|克|毫升|单位|片|粒|颗|支|喷|滴)"
)
_AMOUNT = (
    r"(?:\d+(?:[.,]\d+)?|half an?|one|two|three|four|[一二两三四五半])\s*(?:-|to|至|~|–)?\s*"
    r"(?:\d+(?:[.,]\d+)?)?\s*"
)
_DOSE = re.compile(rf"(?<![a-z0-9.]){_AMOUNT}{_UNIT}(?![a-z])(?:\s*/\s*(?:kg|day|d|天|日|公斤))?")
# Stems of prescription medicines' international names, and common names without such a stem.
_PRESCRIPTION = re.compile(
    r"\b\w*(?:cillin|mycin|micin|floxacin|cycline|cef\w+|oxazole|pril|sartan|olol|statin|dipine"
    r"|azepam|azolam|zolpidem|zopiclone|oxetine|triptyline|traline|lopram|faxine|peridol"
    r"|piprazole"
    r"|idone|apine|gliptin|gliflozin|glutide|glitazone|grel|xaban|gatran|parin|codone|morphone"
    r"|sone|solone|triptan|virenz|vudine|ciclovir|tinib|mab|thiazide|semide|lamide|setron)\b"
    r"|\b(?:warfarin|coumadin|insulin|metformin|gli[a-z]+ide|digoxin|lithium|amiodarone"
    r"|methotrexate"
    r"|morphine|codeine|tramadol|fentanyl|methadone|levothyroxine|prednis\w+|cortisone|colchicine"
    r"|allopurinol|lamotrigine|carbamazepine|valproate|phenytoin|gabapentin|pregabalin|xanax"
    r"|valium"
    r"|ativan|ambien|adderall|ritalin|viagra|sildenafil|tadalafil|isotretinoin|antibiotics?"
    r"|opioids?"
    r"|sedatives?|antidepressants?|sleeping (?:pills?|tablets?)|blood thinners?|steroids?"
    r"|nitroglycerin|spironolactone|salbutamol|albuterol|metronidazole|fluconazole|bupropion)\b"
    r"|西林|霉素|沙星|环素|头孢|磺胺|普利|沙坦|洛尔|他汀|地平|西泮|唑仑|唑吡坦|佐匹克隆|西汀"
    r"|舍曲林|普兰|拉法辛"
    r"|列汀|列净|格列|鲁肽|格雷|沙班|达比加群|肝素|华法林|胰岛素|二甲双胍|地高辛|锂盐|碳酸锂"
    r"|胺碘酮|甲氨蝶呤"
    r"|吗啡|可待因|曲马多|芬太尼|羟考酮|左甲状腺素|优甲乐|泼尼松|强的松|地塞米松|激素"
    r"|秋水仙碱|别嘌醇"
    r"|卡马西平|丙戊酸|苯妥英|加巴喷丁|普瑞巴林|氯氮平|奥氮平|利培酮|喹硫平|安眠药|抗生素"
    r"|消炎药|抗抑郁药|降压药"
    r"|降糖药|抗凝药|西地那非|甲硝唑|氟康唑|呋塞米|螺内酯|硝酸甘油|异维"
)
_STOP = re.compile(
    r"\b(?:stop|quit|discontinue|cease|come off|get off|skip|halve|double|reduce|increase)\s+"
    r"(?:taking|using|the use of|all|your|the|his|her|these|those|any)\b[^.!?\n]{0,60}?"
    r"\b(?:medic\w+|meds?|tablets?|pills?|drugs?|dose|insulin|prescri\w+|therapy|treatment"
    r"|PRESCRIBED)\b"
    r"|\byou (?:can|should|may|must|could) (?:now |safely |simply |just )?(?:stop|quit"
    r"|discontinue)\b"
    r"|\b(?:do not|don't|no longer) (?:need to )?(?:take|use) (?:your|the|this|these"
    r"|any more)\b[^.!?\n]{0,40}"
    r"|(?:停用|停掉|停止服用|停止使用|停服|不要再吃|不用再吃|别再吃|不必再吃|可以停药|应停药"
    r"|立即停药|自行停药|加倍服用|减半服用)"
)
_STOP_WARNED = re.compile(
    r"\b(?:do not|don't|never|should not|shouldn't|must not|without|before|avoid|not to|unless)\b"
    r"[^.!?\n]{0,40}\b(?:stop|quit|discontinu|ceas|com|skip|halv|doubl|reduc|increas)\w*"
    r"|(?:不要|切勿|请勿|不可|不能|不应|勿|别|避免|未经|擅自|前请|前应)[^。！？\n]{0,12}(?:停"
    r"|加倍|减半)"
    r"|ask (?:your|a|the) (?:doctor|pharmacist)"
)
_LINK = re.compile(
    r"!?\[([^\]\n]{0,200})\]\((?:[^)\s]{1,500})\)"
    r"|(?:https?://|ftp://|www\.)[^\s<>()\[\]，。；、）]+"
    r"|(?<![\w@.])(?:[a-z0-9-]{1,63}\.)+(?:com|org|net|gov|edu|info|int|co|uk|cn|de|io"
    r"|nhs)\b(?:/[^\s，。）)]*)?",
    re.IGNORECASE,
)
_MAIL = re.compile(r"(?<![\w.])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+")
_PHONE = re.compile(
    r"(?<![\w.,/%-])(?:\+\d{1,3}[\s-]?)?(?:\(\d{1,5}\)[\s-]?)?\d(?:[\s-]?\d){6,14}(?![\w%])"
)
# A number is one to call only right after such words: "call if the fever is above 103" names none.
_CALL = re.compile(
    r"\b(?:call|dial|phone|ring|text|contact|hotline|helpline|line|number)"
    r"(?:[ :]+(?:the|your|us|them|local|emergency|services?|number|line|hotline|helpline|ambulance"
    r"|police|poison|control|centre|center|at|on|is|now|immediately|or))*[ :]+"
    r"(\d[\d -]{0,12}\d)(?![\w%./]|\s?(?:min|hour|day|week|month|year|time|percent|degree))"
    r"|(?:拨打|致电|电话|热线|呼叫)(?:是|为|[：: ]|当地|急救|电话|热线|咨询|号码)*"
    r"(\d[\d -]{0,12}\d)(?![\d%.]|\s?(?:分|小时|天|度))",
    re.IGNORECASE,
)
_CITATION = re.compile(
    r"\s?[(（\[][^()（）\[\]\n]{0,120}?(?:et al\.?|等[,，]?|journal|lancet|nejm|bmj|jama|pmid"
    r"|doi)[^()（）\[\]\n]{0,120}[)）\]]"
    r"|\s?\((?:[A-Z][\w'-]+(?:,? (?:and|&) [A-Z][\w'-]+)?),? (?:19|20)\d\d[a-z]?\)"
    r"|\bPMID:?\s*\d+|\bdoi:?\s*10\.\d{3,9}/\S+|\s?\[\d{1,3}(?:\s?[,-]\s?\d{1,3})*\]"
    r"|\b[A-Z][\w'-]+ et al\.?(?:,? \(?(?:19|20)\d\d\)?)?",
    re.IGNORECASE,
)
_SOURCE_NAMED = re.compile(
    r"\b(?:according to|published in|a (?:19|20)\d\d (?:study|trial|review)|study (?:by|in"
    r"|from)|the journal|new england journal|the lancet)\b"
    r"|《[^》\n]{2,40}》|(?:据|根据)[^。\n]{0,30}(?:研究|杂志|指南|期刊)",
    re.IGNORECASE,
)
_REFERENCES = re.compile(
    r"\n\s*(?:#+\s*|\*\*)?(?:references|sources|bibliography|参考文献|参考资料"
    r"|资料来源)\**[ \t]*[:：]?\**[ \t]*\n.*\Z",
    re.IGNORECASE | re.DOTALL,
)

_SAID = {
    "dose": {
        "en": (
            "[dose removed: ask a doctor or pharmacist]",
            "A dose of a prescription medicine was removed.",
        ),
        "zh": ("［剂量已移除：请询问医生或药师］", "已移除处方药的剂量。"),
    },
    "stop": {
        "en": (
            "[removed: never stop or change a prescribed medicine without asking a doctor]",
            "An instruction to stop or change a medicine was removed.",
        ),
        "zh": (
            "［已移除：未经开药医生同意，不要停药或改变用量］",
            "已移除让人停药或改变用量的指示。",
        ),
    },
    "link": {
        "en": ("[link removed]", "A link or address was removed; the model cannot know links."),
        "zh": ("［链接已移除］", "已移除链接或网址；模型无法知道真实链接。"),
    },
    "phone": {
        "en": (
            "[number removed]",
            "A telephone number that is not in the checked table was removed.",
        ),
        "zh": ("［号码已移除］", "已移除不在核对表中的电话号码。"),
    },
    "citation": {
        "en": ("", "An invented or unchecked source was removed."),
        "zh": ("", "已移除无法核实的文献引用。"),
    },
    "source": {
        "en": ("", "The answer names a source that could not be checked; do not rely on it."),
        "zh": ("", "回答提到的来源无法核实，请勿据此判断。"),
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Review:
    text: str  # what may be shown
    remarks: tuple[str, ...]  # what was removed or is doubtful, in the person's language


def review(answer: str, language: Language, numbers: Numbers) -> Review:
    """Read a model's answer; `numbers` are those that may stay in it. Runs in linear time."""
    found: list[str] = []
    text = _REFERENCES.sub(lambda _: _note(found, "citation", language), answer)
    text = _LINK.sub(lambda match: _link(match, found, language), text)
    text = _MAIL.sub(lambda _: _note(found, "link", language), text)
    text = _CITATION.sub(lambda _: _note(found, "citation", language), text)
    text = _phones(text, found, language, numbers)
    text = "".join(_sentence(part, found, language) for part in _sentences(text))
    if _SOURCE_NAMED.search(text):
        _note(found, "source", language)
    remarks = tuple(_SAID[kind][language][1] for kind in dict.fromkeys(found))
    return Review(text.strip() if found else text, remarks)


def names_prescription(text: str) -> bool:
    """Whether `text` names a prescription medicine."""
    return bool(_PRESCRIPTION.search(normalise(text)))


def _note(found: list[str], kind: str, language: Language) -> str:
    found.append(kind)
    return _SAID[kind][language][0]


def _link(match: re.Match[str], found: list[str], language: Language) -> str:
    mark = _note(found, "link", language)
    return f"{match[1]} {mark}" if match[1] else mark


def _phones(text: str, found: list[str], language: Language, numbers: Numbers) -> str:
    lines = numbers.emergency + numbers.crisis + numbers.poison + numbers.police
    known = {re.sub(r"\D", "", number) for number in lines}

    def short(match: re.Match[str]) -> str:
        number = match[1] or match[2]
        if re.sub(r"\D", "", number) in known:
            return match[0]
        return match[0].replace(number, _note(found, "phone", language))

    def long(match: re.Match[str]) -> str:
        digits = re.sub(r"\D", "", match[0])
        return match[0] if digits in known else _note(found, "phone", language)

    return _CALL.sub(short, _PHONE.sub(long, text))


def _sentences(text: str) -> list[str]:
    """Pieces that end with a sentence or line; joined they are the text again."""
    pieces = re.split(r"(?<=[。！？\n])|(?<=[.!?])(?=\s)", text)
    return [piece for piece in pieces if piece]


def _sentence(sentence: str, found: list[str], language: Language) -> str:
    plain = normalise(sentence)
    lead = sentence[: len(sentence) - len(sentence.lstrip())]
    tail = "\n" if sentence.endswith("\n") else ""
    if _STOP.search(plain) and not _STOP_WARNED.search(plain):
        return f"{lead}{_note(found, 'stop', language)}{tail}"
    if _PRESCRIPTION.search(plain) and _DOSE.search(plain):
        mark = _note(found, "dose", language)
        pieces, last = [], 0
        for match in _DOSE.finditer(plain):  # one character for one: places hold in both
            pieces += [sentence[last : match.start()], mark]
            last = match.end()
        return "".join([*pieces, sentence[last:]])
    return sentence
