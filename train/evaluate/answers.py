"""Read the option letters out of what a model wrote, at three levels of strictness.

exact         the answer is the letter (or letters) and nothing else but punctuation
first-letter  the first option letter that stands by itself
lenient       a statement of the answer ("答案是B", "the answer is B", a box), else what is said of
              each option ("A正确，B错误"), else the only letter named, else the only option whose
              text appears, else the first letter

An answer that only repeats the list of options is read as its first letter by `first-letter`, and
as nothing by `lenient`. "" means unreadable, which is counted as such and never replaced by a
guess. Thinking aloud (`<think>...</think>`) is left out; thinking that was cut off is unreadable
at every level.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from sparsedoctor.train.evaluate.named_letters import without_names
from sparsedoctor.train.evaluate.questions import letter_set

LEVELS = ("exact", "first-letter", "lenient")
_JOIN = r"[)\]]?(?:\s*(?:[,、，;；/&+|]|\band\b|和|与|及|以及)\s*(?:and\s+)?|\s*)[(\[]?"
_JOIN_NAMED = _JOIN + r"(?:选项|[Oo]ptions?\s+)?[(\[]?"
_THOUGHT = r"think(?:ing)?|thoughts?|reasoning|analysis"
_MARKS = re.compile(
    r"\*\*|__|`|\\boxed|\\(?:text|math)[a-z]*|\\[()\[\]]|[${}#]|</?(?:answer|final|b|strong)>",
    re.IGNORECASE,
)
_FRAME = " \t\n\r.,:;!?。，：；！？、()[]（）【】「」『』\"'“”‘’<>《》-—*=、"
# What follows the letter A, where any other word shows that it is the article.
_AFTER_LETTER = r"(?:and|or|nor|is|are|was|seems)\b"
# Words between "answer" and the letter: "答案应该是选项", "the correct answer is option".
_ZH_STATED = (
    r"(?:答案|正确选项|正确的选项|正确的是|最佳选项|选择|选|選擇|選)"
    r"(?:选项)?(?:应该|应当|应)?(?:是|为|為|选择|选)?\s*[:,，]?\s*[(\[\"'“]*\s*(?:选项)?\s*[(\[\"'“]*"
)
_EN_STATED = (
    r"\b(?:answers?|choices?|options?)\b(?:\s+(?:here|to this question))?"
    r"\s*(?:\"\s*)?(?:(?:is|are|would be|must be|should be|will be)\b|:|=|-)\s*"
    r"(?:(?:most likely|likely|clearly|therefore|indeed|the|correct|option|options|choice|letter|"
    r"answer|both|is|:)\s*)*"
    r"[(\[\"'“]*"
)
_EN_POINTED = (
    r"(?:\b[Ii]t(?:'s| is| must be| should be| would be)|\bI(?:'d| would)? (?:choose|pick|select)|"
    r"\bgo with)\s+(?:(?:option|choice|answer|both)\s+)?[(\[\"'“]*"
)
_RIGHT_ZH, _WRONG_ZH = (
    r"(?:是|均|都|说法)?(?:正确|对)",
    r"(?:是|均|都|说法)?(?:错误|错|不正确|不对)",
)
_RIGHT_EN = r"(?:\s+(?:is|are)|\s*:)\s+(?:correct|right|true)\b"
_WRONG_EN = r"(?:\s+(?:is|are)|\s*:)\s+(?:incorrect|wrong|false|not (?:correct|right|true))\b"


def read_answer(text: str, options: Mapping[str, str], multiple: bool, level: str) -> str:
    """The letters read at `level`, in alphabetical order; "" when unreadable.

    For a question with one right option a reading of several letters at the exact level stays
    several (a wrong answer); the other levels take the first, as published scripts do.
    """
    answer = _spoken(text)
    if answer is None:
        return ""
    letters = "".join(options)
    plain = _MARKS.sub(" ", answer).strip()
    if exact := _exact(plain, letters, multiple):
        return exact
    if level == "exact":
        return ""
    bare = without_names(plain, options)
    first = _first(bare, letters, multiple)
    if level == "first-letter":
        return first
    # The statement goes first: "A is wrong, the answer is B".
    stated = _boxed(answer, letters, multiple) or _stated(bare, letters, multiple)
    if stated or _echoes(plain, options):
        return stated  # every option repeated says nothing
    judged = _judged(bare, letters) if multiple else ""
    return judged or _named(bare, letters) or _by_text(plain, options, multiple) or first


def _spoken(text: str) -> str | None:
    """The answer proper in plain signs, or None when the model never stopped thinking."""
    text = unicodedata.normalize("NFKC", text)
    parts = re.split(rf"</(?:{_THOUGHT})>", text, flags=re.IGNORECASE)
    if len(parts) == 1 and re.search(rf"<(?:{_THOUGHT})>", text, re.IGNORECASE):
        return None
    return parts[-1].strip()


def _exact(answer: str, letters: str, multiple: bool) -> str:
    bare = answer.strip(_FRAME)
    if re.fullmatch(f"[{letters}](?:{_JOIN}[{letters}])*", bare):
        return letter_set("".join(sign for sign in bare if sign in letters))
    small = letters.lower()
    if re.fullmatch(f"[{small}](?:\\s*(?:[,、，]|and)\\s*[{small}])*", bare) or (
        multiple and re.fullmatch(f"[{small}]+", bare) and list(bare) == sorted(set(bare))
    ):
        return letter_set(re.sub(r"and|[^a-z]", "", bare).upper())
    return ""


def _alone(letters: str) -> str:
    """One letter that is no part of a word or of "B12", and no article "A"."""
    article = (
        f"|A(?!\\s+(?!{_AFTER_LETTER})[a-z0-9_])" if "A" in letters and len(letters) > 1 else ""
    )
    rest = letters.replace("A", "") if article else letters
    return f"(?:[{rest}]{article})(?![a-z0-9]|['’]s)"


def _run(letters: str) -> str:
    """Letters that stand by themselves, together with those joined to them."""
    one = _alone(letters)
    return f"(?<![A-Za-z0-9]){one}(?:{_JOIN_NAMED}{one})*(?![A-Za-z0-9])"


def _first(answer: str, letters: str, multiple: bool) -> str:
    """The first letter standing by itself (with those joined to it, if several may be right)."""
    opening = _leading(answer, letters)
    if opening and opening.islower():
        return opening.upper()
    bracketed = re.search(f"\\(([{letters.lower()}])\\)", answer)
    match = re.search(_run(letters), answer)
    if bracketed and (match is None or bracketed.start() < match.start()):
        return bracketed[1].upper()
    return _taken(match[0], letters, multiple) if match else opening


def _leading(answer: str, letters: str) -> str:
    """A letter that opens the answer and is set off from the words: "B. text", "b) text"."""
    capital = re.match(f"[(\\[]?([{letters}])(?=\\s*[.:)\\],、\\n]|\\s*$)", answer)
    small = re.match(f"[(\\[]?([{letters.lower()}])[.:)\\]](?=\\s|$)", answer)
    found = capital or small
    return found[1] if found else ""


def _boxed(answer: str, letters: str, multiple: bool) -> str:
    """What stands in the last box of TeX, where it begins with letters."""
    boxes = re.findall(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}", answer)
    if not boxes:
        return ""
    inside = _MARKS.sub(" ", boxes[-1]).strip(_FRAME)
    run = re.match(f"[{letters}](?:{_JOIN_NAMED}[{letters}])*(?![A-Za-z])", inside)
    return _taken(run[0], letters, multiple) if run else ""


def _stated(answer: str, letters: str, multiple: bool) -> str:
    """The last statement of an answer: models that think aloud correct themselves."""
    either = letters + letters.lower()
    found, place = "", -1
    for lead, signs in ((_ZH_STATED, either), (_EN_STATED, either), (_EN_POINTED, letters)):
        one = f"[{signs}](?![A-Za-z]|['’]s)"
        run = f"(?:[{letters}]{{2,}}(?![A-Za-z])|{one})(?:{_JOIN_NAMED}{one})*"
        flags = f"(?i:{lead})" if lead is _EN_STATED else lead
        for match in re.finditer(f"{flags}(?P<run>{run})", answer):
            if match.start() < place or _negated(answer[: match.start()]):
                continue
            small = match["run"][0].islower()
            after = answer[match.end() :]
            if small and lead is _EN_STATED and not _ends_statement(match["run"], after):
                continue
            found, place = match["run"].upper() if small else match["run"], match.start()
    if not found:
        tail = re.search(
            f"(?<![A-Za-z])([{letters}])\\s*(?:选项|项)?\\s*"
            r"(?:是正确的?|正确|is (?:the )?(?:\w+ )?(?:correct|right|best)\b)",
            answer,
        )
        found = tail[1] if tail and not multiple and not _negated(answer[: tail.start()]) else ""
    return _taken(found, letters, multiple)


def _ends_statement(run: str, after: str) -> bool:
    """A small letter counts where nothing follows it: "the answer is b."; an "a" with nothing
    behind it at all may be an article that was cut off."""
    return (
        len(run) == 1
        and re.match(r"[.\s]*$|[)\"'’”\]]", after + " " * 0) is not None
        and (run != "a" or bool(after.strip()))
    )


def _negated(before: str) -> bool:
    return bool(re.search(r"(?:不|非|没|\bnot|n't|\bno)\s*(?:the\s+)?(?:correct\s+)?$", before))


def _judged(answer: str, letters: str) -> str:
    """The letters called right, where options are judged one by one ("A正确，B错误，C正确")."""
    run = f"(?<![A-Za-z])([{letters}](?:{_JOIN_NAMED}[{letters}])*)\\s*(?:选项|项)?"
    return _taken("".join(re.findall(f"{run}(?:{_RIGHT_ZH}|{_RIGHT_EN})", answer)), letters, True)


def _named(answer: str, letters: str) -> str:
    """The one letter that is named at all, however often."""
    found = set(re.findall(f"(?<![A-Za-z0-9])({_alone(letters)})(?![A-Za-z])", answer))
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


def _echoes(answer: str, options: Mapping[str, str]) -> bool:
    """The answer repeats the list of options: each letter opens a line, or stands before its own
    text."""
    starts = set(re.findall(f"^\\s*([{''.join(options)}])\\s*[.、:)]", answer, re.MULTILINE))
    flat = _flat(answer)
    listed = all(_flat(letter + text) in flat for letter, text in options.items())
    return len(options) > 1 and (listed or len(starts) == len(options))


def _taken(run: str, letters: str, multiple: bool) -> str:
    found = [sign for sign in run if sign in letters]
    if not found:
        return ""
    return letter_set("".join(found)) if multiple else found[0]
