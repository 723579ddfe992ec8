"""The system prompt, one file per language under prompt_texts/, with a hash that exports carry."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.consultation.language import Language


@dataclass(frozen=True, slots=True)
class Prompt:
    language: Language
    text: str
    sha256: str  # of the file, hexadecimal


@cache
def system_prompt(language: Language) -> Prompt:
    """The prompt file of `language`, as it lies in the package."""
    data = (
        files("sparsedoctor.app.consultation")
        .joinpath("prompt_texts", f"{language}.md")
        .read_bytes()
    )
    return Prompt(language, data.decode("utf-8").strip(), hashlib.sha256(data).hexdigest())


def instructions(language: Language, intake: Intake) -> str:
    """The system text of a conversation: the prompt file and what the person told beforehand."""
    known = _known(language, intake)
    text = system_prompt(language).text
    return f"{text}\n{known}" if known else text


def _known(language: Language, intake: Intake) -> str:
    chinese = language == "zh"
    parts = []
    if intake.age is not None:
        parts.append(f"{'年龄' if chinese else 'age'} {intake.age:g}")
    if intake.sex:
        parts.append({"female": "女性", "male": "男性"}[intake.sex] if chinese else intake.sex)
    if intake.pregnant:
        parts.append("怀孕" if chinese else "pregnant")
    if intake.breastfeeding:
        parts.append("哺乳期" if chinese else "breast-feeding")
    for values, zh, en in (
        (intake.allergies, "过敏", "allergies"),
        (intake.medicines, "在用药物", "medicines"),
        (intake.conditions, "既往疾病", "conditions"),
    ):
        if values:
            parts.append(f"{zh if chinese else en}: {', '.join(values)}")
    if not parts:
        return ""
    return ("此人的情况：" if chinese else "About the person: ") + "; ".join(parts)
