"""A person's text as tokens that rules can be held against.

    "呼吸困難，SpO2 86％"  ──▶  呼 吸 困 难 , spo2 86 %

Full-width becomes half-width, traditional becomes simplified, letters become small; every change
is one character for one, so a token knows where it stands in the person's own words. English
words are reduced to a stem and small slips of the keyboard are put right against the words the
rules know. Chinese is read character by character, so that no segmenter can err.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, repeat

from opencc import OpenCC

# One token: a word with apostrophes, letters with digits (spo2, h1n1), a number, or one sign.
# A space between Chinese words stands for the comma that many people do not type. Chinese
# characters are tokens of their own, and are cut out a run at a time because that is faster.
_TOKEN = re.compile(
    r"[\u3400-\u9fff]+|(?<=[\u3400-\u9fff\d])[ \t]+(?=[\u3400-\u9fff])|(?<=[a-z])-(?=[a-z])"
    r"|[a-z]+(?:'[a-z]+)*\d?(?![a-z\d])|[a-z]+(?:'[a-z]+)*|\d+(?:\.\d+)?|[^\w\s]|\w|\n"
)
_SENTENCE_END = frozenset(".!?;。！？；…")
_COMMA = frozenset(",，:：()（）—-\n")  # a line may break anywhere; an empty line ends a sentence
SIGNS = _SENTENCE_END | _COMMA
_CHINESE_WEIGHT = 0.55  # a Chinese character carries about half a word
_COMMA_WEIGHT = 0.5

_STRAIGHT = {"’": "'", "‘": "'", "´": "'", "`": "'", "“": '"', "”": '"', "℃": "c", "℉": "f"}
# Other ways to write a character, and Cantonese words that are one character for one.
_VARIANTS = dict(
    zip("著妳牠裏麽喫唔冇嘅咗佢喺睇瞓飲饮食郁係系啲俾畀攰哋嚟攞嗰屙咁企搵脷焗蛰",
        "着你它里么吃不没的了他在看睡喝喝吃动是是些被被累们来拿那拉很站找舌闷蜇", strict=True)
)  # fmt: skip
# One typed word for others.
_DRAWN_TOGETHER = {
    "wanna": ("want", "to"),
    "gonna": ("going", "to"),
    "gotta": ("got", "to"),
    "cannot": ("cant",),
}


class _Characters(dict[str, str]):
    """What to read for a character, each learned once: width, script and case.

    The same character is always the same object, which makes looking up its words faster.
    """

    def __init__(self) -> None:
        super().__init__()
        self._simplify = OpenCC("t2s")

    def __missing__(self, written: str) -> str:
        character = _STRAIGHT.get(written, written)
        wide = unicodedata.normalize("NFKC", character)
        if len(wide) == 1:
            character = wide
        lower = character.lower()
        if len(lower) == 1:
            character = lower
        if "\u3400" <= character <= "\u9fff":
            simple = _VARIANTS.get(character) or self._simplify.convert(character)[:1]
            character = _VARIANTS.get(simple, simple)  # 鬱 like 郁
        self[written] = character = sys.intern(character)
        return character


_CHARACTERS = _Characters()


def normalise(text: str) -> str:
    """Half-width, simplified, lower case; exactly as long as `text`."""
    return "".join(map(_CHARACTERS.__getitem__, text))


@dataclass(slots=True)
class Text:
    """Tokens of one text. The lists run in step; `[tokens]` each."""

    original: str
    plain: str  # normalised, as long as the original
    keys: list[str] = field(default_factory=list)  # stem or character, what rules are matched by
    starts: list[int] = field(default_factory=list)  # characters
    ends: list[int] = field(default_factory=list)
    sentence: list[int] = field(default_factory=list)
    place: list[float] = field(default_factory=list)  # words before the token; one entry more

    def __len__(self) -> int:
        return len(self.keys)

    def words(self, start: int, end: int) -> str:
        """The person's own words from token `start` to before token `end`."""
        return self.original[self.starts[start] : self.ends[end - 1]]

    def is_comma(self, token: int) -> bool:
        return self.keys[token] in _COMMA

    def gap(self, left_end: int, right_start: int) -> float:
        """Words that lie between two spans (right_start >= left_end)."""
        return self.place[right_start] - self.place[left_end]


def read(text: str, spelling: Spelling | None = None) -> Text:
    """Tokens of `text`; `spelling` puts slips right."""
    characters = list(map(_CHARACTERS.__getitem__, text))
    plain = "".join(characters)
    keys: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    weights: list[float] = []
    # Each number one object: less memory, more speed. English texts have few tokens.
    numbers = range(len(plain) + 1) if plain.isascii() else list(range(len(plain) + 1))
    sentences: list[int] = []  # filled up whenever a sentence ends
    sentence = 0
    known = spelling.key if spelling else stem
    for match in _TOKEN.finditer(plain):
        key = match.group()
        start, end = match.span()
        if key >= "\u3400":
            keys += characters[start:end]
            starts += numbers[start:end]
            ends += numbers[start + 1 : end + 1]
            weights += repeat(_CHINESE_WEIGHT, end - start)
            continue
        if "a" <= key[0] <= "z":
            for word in _DRAWN_TOGETHER.get(key, (key,)):
                keys.append(known(word))
                starts.append(start)
                ends.append(end)
                weights.append(1.0)
            continue
        if key[0] in " \t":
            key = ","
        elif key == "-" and start and plain[start - 1].isalpha():
            continue  # "c-section" is "c section"
        keys.append(key)
        starts.append(start)
        ends.append(end)
        weights.append(_COMMA_WEIGHT if key in _COMMA else 1.0)
        blank_line = key == "\n" and keys[-2:] == ["\n", "\n"]
        if blank_line or (key in _SENTENCE_END and not _abbreviation(plain, start)):
            sentences += repeat(sentence, len(keys) - len(sentences))
            sentence += 1
    sentences += repeat(sentence, len(keys) - len(sentences))
    places = list(accumulate(weights, initial=0.0))
    return Text(text, plain, keys, starts, ends, sentences, places)


def _abbreviation(plain: str, stop: int) -> bool:
    """Whether the stop at `stop` ends "mr", "dr", "vs" or an initial and not a sentence."""
    if plain[stop] != "." or stop == 0:
        return False
    head = plain[max(0, stop - 4) : stop].split()
    return bool(head) and head[-1] in {"mr", "mrs", "ms", "dr", "vs", "approx", "st", "e.g", "i.e"}


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """A word without its ending: vomiting, vomited, vomits -> vomit. Apostrophes go."""
    word = word.replace("'s", "").replace("'", "")
    if len(word) <= 3:
        return word
    if word.endswith("ies"):
        word = word[:-3] + "y"
    elif word.endswith("s") and word[-2:] not in ("ss", "us", "is"):
        word = word[:-1]
    for ending in ("ing", "ed"):
        rest = word.removesuffix(ending)
        if rest != word and len(rest) >= 3 and re.search("[aeiouy]", rest) and rest[-1] != "e":
            word = rest
            if len(rest) > 3 and rest[-1] == rest[-2] and rest[-1] not in "lsz":
                word = rest[:-1]
            break
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


class Spelling:
    """Puts right what one slip made of a word the rules know: "unconcious", "brething".

    A slip is one letter left out, doubled or added, two letters swapped, or a wrong vowel.
    Other wrong letters are left alone, since they make other words of words (bleeding, breeding).
    """

    _SHORTEST = 5  # letters; shorter words resemble too many others

    def __init__(
        self, words: set[str], aliases: dict[str, str], others: frozenset[str] = frozenset()
    ) -> None:
        """words: what the rules are written with. others: words that must never be corrected."""
        self._aliases = aliases
        self._stems = {stem(word) for word in words}
        self._others = others
        self._near: dict[str, list[str]] = {}
        for word in sorted(words):  # of two near words always the same one is meant
            if len(word) >= self._SHORTEST and word.isalpha():
                for shorter in _one_left_out(word):
                    self._near.setdefault(shorter, []).append(word)
        self._learned: dict[str, str] = {}

    def key(self, word: str) -> str:
        """The stem that rules are matched by."""
        known = self._learned.get(word)
        if known is None:
            known = self._find(word)
            if len(self._learned) < 50_000:
                self._learned[word] = known
        return known

    def _find(self, word: str) -> str:
        bare = word.replace("'", "")
        alias = self._aliases.get(bare)
        if alias is not None:
            return stem(alias)
        root = stem(word)
        alias = self._aliases.get(root)
        if alias is not None:
            return stem(alias)
        if root in self._stems or word in self._others or root in self._others:
            return root
        if self._SHORTEST <= len(bare) <= 20:
            for shorter in sorted(_one_left_out(bare)):
                for candidate in self._near.get(shorter, ()):
                    if _one_slip(bare, candidate):
                        return stem(candidate)
        return root


def _one_left_out(word: str) -> set[str]:
    return {word} | {word[:i] + word[i + 1 :] for i in range(1, len(word))}


def _one_slip(written: str, meant: str) -> bool:
    if len(written) != len(meant):
        return True  # they share a form with one letter left out: one is longer by that letter
    different = [i for i in range(len(meant)) if written[i] != meant[i]]
    if len(different) == 1:
        i = different[0]
        return written[i] in "aeiouy" and meant[i] in "aeiouy"
    if len(different) == 2:
        i, j = different
        return j == i + 1 and written[i] == meant[j] and written[j] == meant[i]
    return False
