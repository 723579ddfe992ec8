"""Letters that belong to a medical name and name no option: vitamin B, B超, E. coli, D-dimer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

# One letter, or several of them ("vitamins A, D and E").
_LETTERS = r"[A-Z](?![a-z])(?:\s*(?:[,、，/&+]|and|和|与|及)\s*[A-Z](?![A-Za-z]))*"
_BEFORE = (
    r"(?:\b(?:vitamins?|hepatitis|influenza|(?:sero)?types?|groups?|plan|child-pugh(?:\s+class)?)\s+"
    r"|维生素|维他命|肝炎病毒)"
)
_AFTER_ZH = r"(?:超|型|族|群|肽|链|环|反应蛋白|[-—]?二聚体|淋巴细胞|细胞)"
_AFTER_EN = (
    r"(?:[- ](?:cells?|lymphocytes?|reactive|section|dimers?|fib|peptide|cadherin)\b"
    # Species whose genus is cut to its letter.
    r"|\.\s?(?:albicans|anthracis|baumannii|botulinum|burgdorferi|cereus|coli|diff|difficile|"
    r"diphtheriae|faecalis|faecium|flavus|fragilis|fumigatus|granulosus|histolytica|jejuni|"
    r"lumbricoides|neoformans|perfringens|tetani|trachomatis)\b)"
)
_NAMES = re.compile(
    rf"{_BEFORE}(?-i:{_LETTERS})|(?<![A-Za-z])[A-Z]\s*{_AFTER_ZH}"
    rf"|(?<![A-Za-z])(?-i:[A-Z]){_AFTER_EN}",
    re.IGNORECASE,
)
_HOLE = " _ "


def without_names(answer: str, options: Mapping[str, str]) -> str:
    """`answer` without names that hold a letter, and without options' texts that hold one."""
    texts = (unicodedata.normalize("NFKC", text).strip() for text in options.values())
    holding = (text for text in texts if len(text) > 1 and re.search("[A-Z]", text))
    for text in sorted(holding, key=len, reverse=True):
        answer = answer.replace(text, _HOLE)
    return _NAMES.sub(_HOLE, answer)
