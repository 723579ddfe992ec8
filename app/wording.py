"""What the interfaces themselves say, in English and Chinese.

What the rules and the model say comes from the consultation; here are only the words around it.
The language is that of the person's last words.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsedoctor.app.consultation.assessment import Assessment, Numbers, Urgency
from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.labels import labels
from sparsedoctor.app.messages import in_language, told
from sparsedoctor.app.model_choice import Model
from sparsedoctor.app.model_files import ModelFile
from sparsedoctor.app.turn_view import TurnView
from sparsedoctor.core.engine.protocol import ModelInfo


@dataclass(frozen=True, slots=True)
class Wording:
    """One language's texts. `{}` stands for what is filled in."""

    urgency: dict[Urgency, str]
    crisis: str
    crisis_lines: str
    emergency_numbers: str
    poison_lines: str
    why: str
    your_words: str
    follow_up: str
    cancelled: str
    too_long: str
    changed: str
    replaced: str
    placeholder: str
    loading: str
    ready: str
    writing: str
    welcome: str
    stays: str
    server_here: str
    server_away: str
    server_open: str
    in_short: tuple[str, str, str]  # the three above, for small screens
    tokens: str
    speed: str
    seed: str
    comma: str


_EN = Wording(
    urgency={
        Urgency.EMERGENCY: "EMERGENCY: get help now",
        Urgency.TODAY: "See a doctor today",
        Urgency.DAYS: "See a doctor within days",
        Urgency.SELF_CARE: "Self-care is usually enough",
        Urgency.UNCLEAR: "Not enough said to judge how urgent this is",
    },
    crisis="You are not alone. Please talk to somebody now.",
    crisis_lines="Crisis line: {}",
    emergency_numbers="Emergency number: {}",
    poison_lines="Poison line: {}",
    why="Why: {}",
    your_words="you wrote: “{}”",
    follow_up="Before I answer, please tell me:",
    cancelled="stopped by you; what was written stays",
    too_long="the answer reached its longest length and ends here",
    changed="Changed after checking: {}",
    replaced="The answer was changed after checking. It is now:",
    placeholder="What troubles you? Enter sends, Ctrl+J begins a new line",
    loading="loading the model ...",
    ready="ready",
    writing="writing (Esc stops)",
    welcome="Describe what troubles you, in your own words: what, where, since when, how bad. "
    "Rules that do not depend on the model look for emergencies first; then the model answers.",
    stays="Nothing leaves this computer.",
    server_here="Answers come from the model server at {}: your words stay on this computer.",
    server_away="Your words LEAVE this computer: they are sent to the model server at {}.",
    server_open="NOT ENCRYPTED (http): others on the way can read them.",
    in_short=("stays on this computer: {}", "LEAVES this computer: {}", "NOT ENCRYPTED"),
    tokens="{} tokens",
    speed="{:.0f} tokens/s",
    seed="seed {}",
    comma=", ",
)

_ZH = Wording(
    urgency={
        Urgency.EMERGENCY: "紧急：请立即求助",
        Urgency.TODAY: "请今天就医",
        Urgency.DAYS: "请在几天内就医",
        Urgency.SELF_CARE: "通常自我护理即可",
        Urgency.UNCLEAR: "信息还不够，无法判断紧急程度",
    },
    crisis="你并不孤单。请现在就和人谈一谈。",
    crisis_lines="心理援助热线：{}",
    emergency_numbers="急救电话：{}",
    poison_lines="中毒咨询电话：{}",
    why="原因：{}",
    your_words="你写道：“{}”",
    follow_up="回答之前，请先告诉我：",
    cancelled="已由你停止；已写出的内容保留",
    too_long="回答已达到最大长度，到此为止",
    changed="检查后有改动：{}",
    replaced="检查后回答有改动，现为：",
    placeholder="哪里不舒服？回车发送，Ctrl+J 换行",
    loading="正在载入模型……",
    ready="就绪",
    writing="正在回答（Esc 停止）",
    welcome="请用自己的话描述：哪里不舒服、什么部位、多久了、有多严重。"
    "不依赖模型的规则会先检查是否紧急，然后模型再回答。",
    stays="所有内容都不会离开这台电脑。",
    server_here="回答来自模型服务器 {}：你的话不会离开这台电脑。",
    server_away="你的话会离开这台电脑：将发送到模型服务器 {}。",
    server_open="未加密（http）：途中的其他人可以读到这些内容。",
    in_short=("不离开这台电脑：{}", "会离开这台电脑：{}", "未加密"),
    tokens="{} 词元",
    speed="{:.0f} 词元/秒",
    seed="种子 {}",
    comma="，",
)


_NO_ADVICE = "不构成医疗建议"


def wording(language: str) -> Wording:
    """The texts of `language` ("en" or "zh")."""
    return _ZH if language == "zh" else _EN


def urgency_title(assessment: Assessment) -> str:
    """The headline of the banner."""
    words = wording(assessment.language)
    if assessment.crisis and assessment.urgency is not Urgency.EMERGENCY:
        return words.crisis
    return words.urgency[assessment.urgency]


def numbers_to_call(assessment: Assessment) -> tuple[str, ...]:
    """The lines with telephone numbers that a banner shows: crisis lines only in a crisis."""
    words, numbers = wording(assessment.language), assessment.numbers
    lines = [words.emergency_numbers.format(_any_of(numbers.emergency, assessment.language))]
    if assessment.crisis:
        lines = _crisis_numbers(words, numbers, assessment.language) + lines
    return tuple(lines)


def model_label(model: Model, language: Language, info: ModelInfo | None = None) -> str:
    """What the model is called, always visible and always with a warning. `info`: what the loaded
    model says of itself; of a server's model the name."""
    label = in_language(model.label, language)
    if language == "zh" and _NO_ADVICE not in label:
        label = f"{label}，{_NO_ADVICE}"
    return f"{info.name}, {label}" if info is not None and info.server else label


def failed(problem: object, language: Language) -> str:
    """Below an answer that could not be finished: why, and that one may ask again."""
    return labels(language).ask_again.format(told(problem, language).rstrip(".。"))


def remarks_of(view: TurnView, language: Language, *, notices: bool = True) -> list[str]:
    """What is said below an answer: when to get help earlier, notices (unless they were told
    before), what was changed in it, why it ended."""
    words = wording(language)
    lines = [view.earlier] if view.earlier else []
    if notices:
        lines += [in_language(notice, language) for notice in view.notices]
    lines += [words.changed.format(remark) for remark in view.remarks]
    if view.cancelled:
        lines.append(words.cancelled)
    elif view.finished is not None and view.finished.reason == "length":
        lines.append(words.too_long)
    return lines


def where_words_go(model: Model, language: str, *, short: bool = False) -> str:
    """Whether what is typed leaves this computer, and where to. With a server it must be on the
    screen before the first question and stay there; `short` where there is little room."""
    words = wording(language)
    if isinstance(model, ModelFile):
        return words.stays
    address = model.address
    whole = (words.server_here, words.server_away, words.server_open)
    here, away, unencrypted = words.in_short if short else whole
    if address.local:
        return here.format(address.place)
    return away.format(address.place) + ("" if address.secure else f" {unencrypted}")


def leaves_computer(model: Model) -> bool:
    """Whether what is typed is sent to another computer."""
    return not isinstance(model, ModelFile) and not model.address.local


def facts_of(view: TurnView, language: str) -> list[str]:
    """What is told of an answer beside it: length, speed and seed, as far as known."""
    words, facts = wording(language), []
    if view.finished is not None and view.finished.statistics.answer_tokens:  # of the model
        statistics = view.finished.statistics
        facts.append(words.tokens.format(statistics.answer_tokens))
        facts.append(words.speed.format(statistics.tokens_per_second))
    if view.seed is not None:
        facts.append(words.seed.format(view.seed))
    return facts


def is_alarm(assessment: Assessment) -> bool:
    """Whether this must stay on the screen: an emergency or a crisis."""
    return assessment.crisis or assessment.urgency is Urgency.EMERGENCY


def is_silent(assessment: Assessment) -> bool:
    """Whether there is nothing to show: a general question in which no rule fired."""
    return assessment.general and not assessment.findings and not assessment.crisis


def language_of_interface(assessment: Assessment | None) -> Language:
    return "zh" if assessment and assessment.language == "zh" else "en"


def _crisis_numbers(words: Wording, numbers: Numbers, language: str) -> list[str]:
    lines = []
    if numbers.crisis:
        lines.append(words.crisis_lines.format(_any_of(numbers.crisis, language)))
    if numbers.poison:
        lines.append(words.poison_lines.format(_any_of(numbers.poison, language)))
    return lines


def _any_of(numbers: tuple[str, ...], language: str) -> str:
    return ("、" if language == "zh" else " / ").join(numbers)
