"""Exam questions with lettered options, in Chinese and English, as conversations.

Reads the layouts that the Chinese and English sets are published in: options as an object
{"A": ...}, as a list, as lines of text "A ...", or as columns A, B, C, ...; one correct letter
or several.
"""

from __future__ import annotations

import re
from typing import Any

from sparsedoctor.train.data.example import Turn
from sparsedoctor.train.data.fields import Conversation, Fields, WrongRecord, optional, required

LETTERS = "ABCDEFGHIJ"
_OPTION_LINE = re.compile(r"^\s*([A-J])\s*[.．、:：)）]?\s*(.*)$")
_CHINESE = re.compile(r"[\u4e00-\u9fff]")


def read_exam_question(fields: Fields) -> Conversation:
    """The answer comes first and its explanation after it: a score by option log-probability
    and a reader in a hurry both look at the beginning."""
    question = required(fields, "question")
    options = read_options(fields)
    letters = _read_letters(fields, options)
    explanation = optional(fields, "explanation", "exp")
    chinese = bool(_CHINESE.search(question + "".join(options.values())))
    return Conversation(
        [
            Turn("user", _ask(question, options, len(letters) > 1, chinese)),
            Turn("assistant", _reply(letters, options, explanation, chinese)),
        ],
        topic=optional(fields, "topic"),
        subject=optional(fields, "exam_subject", "exam_class", "subject", "subject_name"),
        stem=question,
        options=tuple(options.values()),
    )


def read_options(fields: Fields) -> dict[str, str]:
    """Letter to text, in the order of the letters. Raises WrongRecord."""
    value = fields.get("options", fields.get("option"))
    if value is None:
        # Columns of a table; a shorter question leaves the last ones empty.
        value = {letter: fields[letter.lower()] for letter in LETTERS if fields.get(letter.lower())}
    elif isinstance(value, list):
        value = dict(zip(LETTERS, value, strict=False))
    elif isinstance(value, str):
        value = _option_lines(value)
    if not isinstance(value, dict):
        raise WrongRecord(f'expected options by letter in "options", found {type(value).__name__}')
    options = {
        str(letter).strip().upper(): str(text).strip()
        for letter, text in sorted(value.items())
        if text is not None and str(text).strip()
    }
    if len(options) < 2 or not set(options) <= set(LETTERS):
        raise WrongRecord(
            f'expected at least two options by letter in "options", found {sorted(options)}'
        )
    return options


def _option_lines(text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    letter = ""
    for line in text.splitlines():
        match = _OPTION_LINE.match(line)
        # The next option has the next letter; anything else continues the last one.
        if match and match[1] == LETTERS[len(options)]:
            letter = match[1]
            options[letter] = match[2].strip()
        elif letter and line.strip():
            options[letter] += "\n" + line.strip()
    return options


def _read_letters(fields: Fields, options: dict[str, str]) -> list[str]:
    value: Any = fields["answer"]
    if isinstance(value, list):
        value = "".join(map(str, value))
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(options):
        return [list(options)[value]]
    if not isinstance(value, str):
        raise WrongRecord(f'expected letters in "answer", found {type(value).__name__}')
    letters = re.sub(r"[\s,，、;；/]", "", value).upper()
    if not letters or not set(letters) <= set(options):
        raise WrongRecord(
            f'expected letters of the options ({", ".join(options)}) in "answer", found {value!r}'
        )
    return sorted(set(letters))


def _ask(question: str, options: dict[str, str], several: bool, chinese: bool) -> str:
    lines = "\n".join(f"{letter}. {text}" for letter, text in options.items())
    if chinese:
        kind = "多项" if several else "单项"
        return f"请选出这道{kind}选择题的正确答案。\n\n{question}\n{lines}"
    kind = "all correct options" if several else "the correct option"
    return f"Choose {kind}.\n\n{question}\n{lines}"


def _reply(
    letters: list[str], options: dict[str, str], explanation: str | None, chinese: bool
) -> str:
    chosen = "\n".join(f"{letter}. {options[letter]}" for letter in letters)
    if len(letters) == 1:
        reply = f"答案是：{chosen}" if chinese else f"The answer is {chosen}"
    else:
        named = "".join(letters) if chinese else ", ".join(letters)
        reply = f"答案是：{named}\n{chosen}" if chinese else f"The answers are {named}\n{chosen}"
    if explanation:
        reply += f"\n\n解析：{explanation}" if chinese else f"\n\nExplanation: {explanation}"
    return reply
