"""Which language a person writes: decided by the script, because short texts fool statistics."""

from __future__ import annotations

import re
from typing import Literal

Language = Literal["en", "zh"]

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_LATIN_WORD = re.compile(
    r"[A-Za-z\uff21-\uff3a\uff41-\uff5a][A-Za-z\uff21-\uff3a\uff41-\uff5a'’-]*"
)


def language_of(text: str, otherwise: Language = "en") -> Language:
    """Chinese when there are at least as many Han characters as Latin words.

    A Chinese sentence with an abbreviation in it ("我CT说 ground glass") stays Chinese, an
    English question about one Chinese word stays English. Without any letter: `otherwise`.
    """
    han = len(_HAN.findall(text))
    latin = len(_LATIN_WORD.findall(text))
    if not han and not latin:
        return otherwise
    return "zh" if han >= latin else "en"
