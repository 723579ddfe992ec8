"""What the program reports, in the person's language.

Errors and notices are raised in English, one line each, by parts that know no interface. Here that
line is found again in a table and said in Chinese:

    "port 80 cannot be used (Permission denied); choose another with --port N"
        ─▶ "port {port} cannot be used ({why}); choose another with --port N"
        ─▶ "端口 80 不可用（没有权限）；请用 --port N 换一个"

What was filled in may be a line of the table itself; what is not (a path, llama.cpp's own words)
stays as it is. `tests/consultation/test_messages.py` holds that nothing is missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from sparsedoctor.app.consultation.language import Language, language_of

_PLACE = re.compile(r"\{(\w+)\}")
_UNKNOWN = "程序报告了一个问题：{}"


@dataclass(frozen=True, slots=True)
class _Line:
    pattern: re.Pattern[str]
    chinese: str


def in_language(text: str, language: Language) -> str:
    """`text`, which the program wrote in English, in `language`; unchanged when it is in no
    table (the name somebody gave a model)."""
    if language == "en" or not text:
        return text
    exact, lines = _table()
    if text in exact:
        return exact[text]
    for line in lines:
        found = line.pattern.fullmatch(text)
        if found:
            return line.chinese.format_map(_filled(found.groupdict()))
    return text


def told(problem: object, language: Language) -> str:
    """What went wrong, for a person: `problem` is the exception or its text. English words that
    are in no table stand behind a Chinese beginning."""
    text = str(problem)
    said = in_language(text, language)
    if language == "en" or said != text or language_of(text) == "zh":
        return said
    return _UNKNOWN.format(text)


def _filled(values: Mapping[str, str]) -> dict[str, str]:
    return {name: in_language(value, "zh") for name, value in values.items()}


@cache
def _table() -> tuple[dict[str, str], tuple[_Line, ...]]:
    """Lines without places, and those with: the one with the most words of its own first."""
    import yaml  # only when something is to be said from the table

    text = files("sparsedoctor.app").joinpath("messages.zh.yaml").read_text("utf-8")
    exact: dict[str, str] = {}
    lines: list[tuple[int, _Line]] = []
    for entry in yaml.safe_load(text):
        english, chinese = entry["en"], entry["zh"]
        if not _PLACE.search(english):
            exact[english] = chinese
            continue
        pieces = _PLACE.split(english)  # words, name, words, name, ...
        pattern = "".join(
            f"(?P<{piece}>.+?)" if at % 2 else re.escape(piece) for at, piece in enumerate(pieces)
        )
        own = sum(map(len, pieces[::2]))
        lines.append((own, _Line(re.compile(pattern, re.DOTALL), chinese)))
    lines.sort(key=lambda one: -one[0])
    return exact, tuple(line for _, line in lines)
