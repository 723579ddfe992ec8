"""From a question to the messages that are put to a model: the same for every model.

    user, assistant, user, assistant, ..., user, "答案是："      (the pairs: few-shot examples)

The wording of a benchmark's question is its authors' (CMB and CMMLU publish theirs, HuatuoGPT-II's
script has its own). `render` writes messages as the text a model reads, through the templates of
core.engine, which the engine itself uses.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sparsedoctor.core.engine.protocol import Message
from sparsedoctor.core.engine.templates import find_template
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.evaluate.loaders.cmmlu import SUBJECT_NAMES_ZH
from sparsedoctor.train.evaluate.questions import Question


@dataclass(frozen=True, slots=True)
class Wording:
    """How a question is put (`ask`) and how an answer to it begins (`lead`)."""

    ask: Callable[[Question], str]
    lead: str = ""
    gap: str = ""  # between the lead and what answers, and before an explanation
    explains: str = ""  # between the letter and its explanation
    between: str = ""  # several right options, whose texts answer; "": letters answer
    premise: str = ""  # asks for an answer and names no question

    def before_explanation(self, question: Question) -> str:
        """The answer, stated, as far as its explanation, which is then due."""
        return self.answer(question) + self.explains if question.options else ""

    def answer(self, question: Question) -> str:
        """The whole answer of an example, or of an earlier turn."""
        if not question.answer:
            return question.reference
        right = (question.options[letter] for letter in question.answer)
        stated = self.between.join(right) if self.between else question.answer
        return self.lead + self.gap + stated


def _listed(question: Question) -> str:
    return "\n".join(f"{letter}. {text}" for letter, text in question.options.items())


def _kind_zh(question: Question) -> str:
    named = question.labels.get("question_type")
    return named or ("多项选择题" if question.multiple else "单项选择题")


def _cmb(question: Question) -> str:
    exam, grade = question.labels.get("exam_type", ""), question.labels.get("exam_class", "")
    return (
        f"以下是中国{exam}中{grade}考试的一道{_kind_zh(question)}，"
        f"不需要做任何分析和解释，直接输出答案选项。\n{question.text}\n{_listed(question)}"
    )


def _cmmlu(question: Question) -> str:
    subject = SUBJECT_NAMES_ZH.get(question.subject, question.subject)
    return (
        f"以下是关于{subject}的单项选择题，请直接给出正确答案的选项。\n\n"
        f"题目：{question.text}\n{_listed(question)}"
    )


def _exam_zh(question: Question) -> str:
    return (
        f"以下是一道医学考试的{_kind_zh(question)}，请直接给出正确答案的选项。\n\n"
        f"题目：{question.text}\n{_listed(question)}"
    )


def _exam_en(question: Question) -> str:
    wanted = "the letters of all right options" if question.multiple else "the letter of the option"
    return (
        f"Answer this medical exam question with {wanted} and nothing else.\n\n"
        f"{question.text}\n{_listed(question)}"
    )


def _huatuogpt2(question: Question) -> str:
    kind = question.labels.get("question_type", "")
    return f"请回答下面选择题。\n{f'[{kind}]' if kind else ''}{question.text}\n{_listed(question)}"


def _open(question: Question) -> str:
    return question.text


_ZH = {"lead": "答案是：", "explains": "\n\n解析："}
WORDINGS: dict[str, Wording] = {
    "cmb": Wording(_cmb, **_ZH),
    "cmmlu": Wording(_cmmlu, **_ZH),
    "exam-zh": Wording(_exam_zh, **_ZH),
    "exam-en": Wording(_exam_en, "The answer is", " ", "\n\nExplanation:"),
    "huatuogpt-2": Wording(_huatuogpt2, **_ZH),
    "open": Wording(_open),
    # The options are not shown: what a model has to say is a text, not a letter.
    "cloze-zh": Wording(_open, "答案是：", between="、", premise="请直接给出正确答案。"),
    "cloze-en": Wording(
        _open, "The answer is", " ", between=", ", premise="Give the right answer and nothing else."
    ),
}


def cloze_for(language: str) -> str:
    """The name of the wording that asks without options."""
    return f"cloze-{language}"


def wording_for(benchmark: str, language: str, compatibility: str = "") -> str:
    """The name of the wording for a benchmark; compatibility modes bring their own."""
    if benchmark in ("cmb-clin", "medquad"):
        return "open"
    if compatibility == "huatuogpt-2":
        return compatibility
    family = benchmark.split("-")[0]
    if family in ("cmb", "cmmlu"):
        return family
    return "exam-zh" if language == "zh" else "exam-en"


def choose_shots(
    question: Question, pool: Sequence[Question], count: int, seed: int
) -> list[Question]:
    """`count` examples of the question's subject (of any, where the pool has none of it).

    The same for every question of a subject, so that their prompts share a beginning; drawn with
    `seed`, kept in the order of the pool. Raises SparseDoctorError when the pool is too small.
    """
    if count == 0:
        return []
    candidates = [i for i, shot in enumerate(pool) if shot.subject == question.subject]
    candidates = candidates if len(candidates) >= count else list(range(len(pool)))
    if len(candidates) < count:
        raise SparseDoctorError(
            f"{count} few-shot examples were asked for and {len(candidates)} are at hand; name a "
            "file of the same layout that is no test file with --shots-from, or use --shots 0"
        )
    drawn = random.Random(f"{seed}:{question.subject}").sample(candidates, count)
    return [pool[i] for i in sorted(drawn)]


def messages_for(
    question: Question,
    shots: Sequence[Question],
    wording: str,
    *,
    begun: str = "",
    unasked: bool = False,
) -> list[Message]:
    """The messages that put `question`, after its examples and its earlier turns.

    `unasked`: the wording's premise stands in place of the question.

    `begun` is how the answer begins, if it does: after "答案是：" a letter is due, whose
    log-probability is asked for. Without it the model writes freely.
    """
    words = WORDINGS[wording]
    messages = []
    for shot in shots:
        messages += [Message("user", words.ask(shot)), Message("assistant", words.answer(shot))]
    for asked, answered in question.history:
        messages += [Message("user", asked), Message("assistant", answered)]
    messages.append(Message("user", words.premise if unasked else words.ask(question)))
    if begun:
        messages.append(Message("assistant", begun))
    return messages


def render(messages: Sequence[Message], template: str) -> str:
    """The text that a model reads, control tokens written out."""
    return "".join(segment.text for segment in find_template(template).write(messages))


def prompt_hash(prompts: Iterable[str]) -> str:
    """sha256 over prompts in their order, each closed by a zero byte."""
    digest = hashlib.sha256()
    for prompt in prompts:
        digest.update(prompt.encode() + b"\0")
    return digest.hexdigest()
