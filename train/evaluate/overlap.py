"""How much two texts share: words of both languages, n-grams, longest common subsequence."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

# A Han character is a word of its own; everything else goes by runs of letters and digits.
_WORD = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W_\u3400-\u9fff\uf900-\ufaff]+")


def words(text: str) -> list[str]:
    """Case-folded words without punctuation; Chinese by the character."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def spelled(tokens: Sequence[str]) -> str:
    """Words as a person writes them: Chinese without spaces."""
    return re.sub(r"(?<=[\u3400-\u9fff]) (?=[\u3400-\u9fff])", "", " ".join(tokens))


def ngrams(tokens: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    """Every run of `n` neighbours."""
    return (tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def rouge_l(written: str, reference: str) -> float:
    """ROUGE-L F1 (Lin 2004) over `words`, 0 to 1."""
    a, b = words(written), words(reference)
    if not a or not b:
        return 0.0
    previous = [0] * (len(b) + 1)
    for word in a:
        current = [0]
        for j, other in enumerate(b):
            longest = previous[j] + 1 if word == other else max(previous[j + 1], current[j])
            current.append(longest)
        previous = current
    common = previous[-1]
    return 2 * common / (len(a) + len(b))
