"""The reading rules of two published scripts, for comparing with their tables; never the default.

Written from what the scripts do, not from their text:

cmb          options of one character are not shown (Question.without_short_options) but can still
             be answered; every capital A to G after "答案是" and the like, or else in the whole
             answer, is taken; a question with one right option takes the first of them; no letter
             is a wrong answer.
huatuogpt-2  letters after "答案是/为" in rising order, else the options whose text appears if they
             come in the order of their letters, else the first rising run of letters; no reading
             is scored as "B", which gives away about a fifth of the questions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

MODES = ("cmb", "huatuogpt-2")
_FALLBACK = "B"


@dataclass(frozen=True, slots=True)
class Reading:
    letters: str  # what is scored
    readable: bool  # whether the answer itself said so


def read_compatibly(text: str, options: Mapping[str, str], single: bool, mode: str) -> Reading:
    """Read `text` by the rules of `mode`; `single`: the key has one letter."""
    letters = _cmb(text) if mode == "cmb" else _huatuogpt2(text, options)
    if not letters:
        return Reading(_FALLBACK if mode == "huatuogpt-2" else "", readable=False)
    return Reading(letters[0] if single else letters, readable=True)


def _cmb(text: str) -> str:
    stated = re.search(
        r"(?:答案|正确选项)(?:应该是|应该为|是|为|：)(.*?)(?:。|\.|$)", text, re.DOTALL
    )
    return "".join(re.findall("[A-G]", stated[1] if stated else text))


def _huatuogpt2(text: str, options: Mapping[str, str]) -> str:
    stated = re.search(r"答案(?:是|为)(.*?)(?:。|$)", text, re.DOTALL)
    if stated:
        rising = ""
        for letter in re.findall("[A-E]", stated[1]):
            if not rising or letter > rising[-1]:
                rising += letter
        if rising:
            return rising
    places = sorted((text.find(body), letter) for letter, body in options.items() if body in text)
    by_text = "".join(letter for _, letter in places)
    if by_text and by_text == "".join(sorted(by_text)):
        return by_text
    for run in re.findall(r"(?<![A-Za-z])[A-E]+(?![A-Za-z])", text):
        if list(run) == sorted(set(run)):
            return str(run)
    return by_text
