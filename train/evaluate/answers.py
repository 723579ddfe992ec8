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
_JOIN = r"[)\]]?(?:\s*(?:[,、，;；/&+|]|\band\b|和|与|及|以及)\s*(?:and\s+)?|\s*)[(\[]?"
_MARKS = re.compile(
    r"\*\*|__|`|\\boxed|\\text|\\[()\[\]]|[${}#]|</?answer>|</?final>", re.IGNORECASE
)
_FRAME = " \t\n\r.,:;!?。，：；！？、()[]（）【】「」『』\"'“”‘’<>《》-—*=、"
# "vitamin B", "hepatitis B", "type A", "B超", "C反应蛋白" name no option.
_INSIDE = r"(?!\s*(?:超|型|族|反应蛋白|淋巴细胞|细胞))"
_NAMES = r"(?<!itamin )(?<!epatitis )(?<!ype )(?<!roup )(?<!nfluenza )(?<!维生素)"
# What follows the letter A, where any other word shows that it is the article.
_AFTER_LETTER = r"(?:and|or|nor|is|are|was|seems)\b"
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
    if exact := _exact(answer, letters):
        return exact
    if level == "exact":
        return ""
    bare = _without_named_letters(answer, options)
    first = _first(bare, letters, multiple)
    if level == "first-letter":
        return first
    # The statement goes first: "A is wrong, the answer is B".
    stated = _stated(bare, letters, multiple)
    if _echoes(answer, letters):
        return stated  # every option repeated says nothing
    return stated or _named(bare, letters) or _by_text(answer, options, multiple) or first


def _spoken(text: str) -> str | None:
    """The answer proper in plain signs, or None when the model never stopped thinking."""
    text = unicodedata.normalize("NFKC", text)
    if "</think>" in text:
        text = text.rsplit("</think>", 1)[1]
    elif "<think>" in text:
        return None
    return _MARKS.sub(" ", text).strip()


def _without_named_letters(answer: str, options: Mapping[str, str]) -> str:
    """`answer` without the texts of options that hold a letter themselves ("B超", "vitamin C"):
    there the letter is part of a name."""
    texts = (unicodedata.normalize("NFKC", text).strip() for text in options.values())
    holding = (text for text in texts if len(text) > 1 and re.search("[A-Z]", text))
    for text in sorted(holding, key=len, reverse=True):
        answer = answer.replace(text, " _ ")
    return answer


def _exact(answer: str, letters: str) -> str:
    bare = answer.strip(_FRAME)
    if re.fullmatch(f"[{letters}](?:{_JOIN}[{letters}])*", bare):
        return letter_set(re.sub(r"and|[^A-Z]", "", bare))
    if re.fullmatch(f"[{letters.lower()}]", bare):
        return bare.upper()
    return ""


def _alone(letters: str) -> str:
    """One letter that is no part of a word, of "vitamin B" or "B12", and no article "A"."""
    article = (
        f"|A(?!\\s+(?!{_AFTER_LETTER})[a-z0-9])" if "A" in letters and len(letters) > 1 else ""
    )
    rest = letters.replace("A", "") if article else letters
    return f"(?:[{rest}]{article})(?![a-z0-9]|['’]s){_INSIDE}"


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
        pattern = (
            f"{lead}(?P<run>[{letters}](?![a-z]|['’]s){_INSIDE}(?:{_JOIN}[{letters}](?![a-z]))*)"
        )
        for match in re.finditer(pattern, answer, 0 if lead is _ZH_STATED else re.IGNORECASE):
            run, before, after = match["run"], answer[: match.start()], answer[match.end() :]
            if _negated(before) or (run != run.upper() and not _ends_statement(run, after)):
                continue
            found = run.upper()
    if not found:
        tail = re.search(
            f"(?<![A-Za-z])([{letters}])\\s*(?:选项|项)?\\s*"
            r"(?:是正确的?|正确|is (?:the )?(?:correct|right|best)\b)",
            answer,
        )
        found = tail[1] if tail and not _negated(answer[: tail.start()]) else ""
    return _taken(found, letters, multiple)


def _ends_statement(run: str, after: str) -> bool:
    """A small letter counts where nothing follows it: "the answer is b."."""
    return len(run) == 1 and re.match(r"[.\s]*$|\)", after) is not None


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
