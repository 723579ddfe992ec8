"""Read the option letters out of what a model wrote, at three levels of strictness.

exact         the answer is the letter (or letters) and nothing else but punctuation
first-letter  the first option letter that stands by itself
lenient       a statement of the answer ("答案是B", "the answer is B"), else the only letters named,
              else the only option whose text appears

An answer that only repeats the list of options is read as its first letter by `first-letter`, and
as nothing by `lenient`. "" means unreadable, which is counted as such and never replaced by a
guess. Thinking aloud (`<think>...</think>`) is left out; thinking that was cut off is unreadable
at every level.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from sparsedoctor.train.evaluate.questions import letter_set

LEVELS = ("exact", "first-letter", "lenient")
_JOIN = r"(?:\s*(?:[,、，;；/&+|]|\band\b|和|与|及|以及)\s*(?:and\s+)?|\s*)"
_MARKS = re.compile(
    r"\*\*|__|`|\\boxed|\\text|\\[()\[\]]|[${}#]|</?answer>|</?final>", re.IGNORECASE
)
_FRAME = " \t\n\r.,:;!?。，：；！？、()[]（）【】「」『』\"'“”‘’<>《》-—*=、"
# "vitamin B", "hepatitis B", "type A" name no option.
_NAMES = r"(?<!itamin )(?<!epatitis )(?<!ype )(?<!roup )(?<!nfluenza )(?<!维生素)"
# Words between "answer" and the letter: "答案应该是选项", "the correct answer is option".
_ZH_STATED = (
    r"(?:答案|正确选项|正确答案|正确的选项|正确的是|最佳选项|应选|故选|所以选|因此选|应该选|我选|选择|本题选|选)"
    r"(?:选项)?(?:应该|应当|应)?(?:是|为|选择|选)?\s*[:,，]?\s*[(\[\"'“]*\s*(?:选项)?\s*[(\[\"'“]*"
)
_EN_STATED = (
    r"\b(?:answers?|choices?|options?)\b(?:\s+(?:here|to this question))?"
    r"\s*(?:\"\s*)?(?:(?:is|are|would be|must be|should be|will be)\b|:|=|-)\s*"
    r"(?:(?:most likely|likely|clearly|therefore|indeed|the|correct|option|options|choice|letter|"
    r"answer|both|is|:)\s*)*"
    r"[(\[\"'“]*"
)


def read_answer(text: str, options: Mapping[str, str], multiple: bool, level: str) -> str:
    """The letters read at `level`, in alphabetical order; "" when unreadable.

    For a question with one right option a reading of several letters at the exact level stays
    several (a wrong answer); the other levels take the first, as published scripts do.
    """
    answer = _spoken(text)
    if answer is None:
        return ""
    letters = "".join(options)
    readings = [_exact(answer, letters)]
    if level != "exact":
        readings.append(_first(answer, letters, multiple))
    if level == "lenient":
        # The statement goes first: "A is wrong, the answer is B".
        readings = [readings[0], _stated(answer, letters, multiple), _named(answer, letters)]
        readings += [_by_text(answer, options, multiple), _first(answer, letters, multiple)]
        if _echoes(answer, letters):
            readings = readings[:2]  # every option repeated says nothing
    return next((reading for reading in readings if reading), "")


def _spoken(text: str) -> str | None:
    """The answer proper in plain signs, or None when the model never stopped thinking."""
    text = unicodedata.normalize("NFKC", text)
    if "</think>" in text:
        text = text.rsplit("</think>", 1)[1]
    elif "<think>" in text:
        return None
    return _MARKS.sub(" ", text).strip()


def _exact(answer: str, letters: str) -> str:
    bare = answer.strip(_FRAME)
    if re.fullmatch(f"[{letters}](?:{_JOIN}[{letters}])*", bare):
        return letter_set(re.sub(r"and|[^A-Z]", "", bare))
    if re.fullmatch(f"[{letters.lower()}]", bare):
        return bare.upper()
    return ""


def _alone(letters: str) -> str:
    """One letter that is no part of a word, of "vitamin B" or "B12", and no article "A"."""
    article = "|A(?!\\s+[a-z0-9])" if "A" in letters and len(letters) > 1 else ""
    rest = letters.replace("A", "") if article else letters
    return f"(?:[{rest}]{article})(?![a-z0-9]|['’]s)"


def _run(letters: str) -> str:
    """Letters that stand by themselves, together with those joined to them."""
    return f"(?<![A-Za-z0-9]){_NAMES}{_alone(letters)}(?:{_JOIN}{_alone(letters)})*(?![A-Za-z0-9])"


def _first(answer: str, letters: str, multiple: bool) -> str:
    """The first letter standing by itself (with those joined to it, if several may be right)."""
    match = re.search(_run(letters), answer) or _leading(answer, letters)
    return _taken(match[0], letters, multiple) if match else ""


def _leading(answer: str, letters: str) -> re.Match[str] | None:
    """A letter that opens the answer and is set off from the words: "B. text", "B) text"."""
    return re.match(f"[(\\[]?[{letters}](?=\\s*[.:)\\],、\\n]|\\s*$)", answer)


def _stated(answer: str, letters: str, multiple: bool) -> str:
    """The last statement of an answer: models that think aloud correct themselves."""
    found = ""
    for lead in (_ZH_STATED, _EN_STATED):
        pattern = f"{lead}(?P<run>[{letters}](?![a-z]|['’]s)(?:{_JOIN}[{letters}](?![a-z]))*)"
        for match in re.finditer(pattern, answer, 0 if lead is _ZH_STATED else re.IGNORECASE):
            if match["run"] != match["run"].upper() or _negated(answer[: match.start()]):
                continue
            found = match["run"]
    if not found:
        tail = re.search(
            f"(?<![A-Za-z])([{letters}])\\s*(?:选项|项)?\\s*"
            r"(?:是正确的?|正确|is (?:the )?(?:correct|right|best)\b)",
            answer,
        )
        found = tail[1] if tail and not _negated(answer[: tail.start()]) else ""
    return _taken(found, letters, multiple)


def _negated(before: str) -> bool:
    return bool(re.search(r"(?:不|非|没|\bnot|n't|\bno)\s*(?:the\s+)?(?:correct\s+)?$", before))


def _named(answer: str, letters: str) -> str:
    """The one letter that is named at all, however often."""
    found = set(re.findall(f"(?<![A-Za-z0-9]){_NAMES}({_alone(letters)})(?![A-Za-z])", answer))
    return found.pop() if len(found) == 1 else ""


def _by_text(answer: str, options: Mapping[str, str], multiple: bool) -> str:
    """Options whose text appears; a text inside a longer one that appears does not count."""
    rest = _flat(answer)
    found = ""
    for letter, text in sorted(options.items(), key=lambda item: -len(item[1])):
        flat = _flat(text)
        if flat and flat in rest:
            found += letter
            rest = rest.replace(flat, "\0")
    return letter_set(found) if len(found) == 1 or multiple else ""


def _flat(text: str) -> str:
    return re.sub(r"[\s\W_]+", "", unicodedata.normalize("NFKC", text)).casefold()


def _echoes(answer: str, letters: str) -> bool:
    """The answer repeats the list of options, each on a line of its own."""
    starts = set(re.findall(f"^\\s*([{letters}])\\s*[.、:)]", answer, re.MULTILINE))
    return len(starts) == len(letters) > 1


def _taken(run: str, letters: str, multiple: bool) -> str:
    found = [sign for sign in re.sub(r"\band\b", "", run) if sign in letters]
    if not found:
        return ""
    return letter_set("".join(found)) if multiple else found[0]
