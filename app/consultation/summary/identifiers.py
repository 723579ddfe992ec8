"""Removing what identifies a person from a text: telephone, mail, Chinese identity number."""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["mail", "identity", "telephone"]

_MARK: dict[Kind, str] = {
    "mail": "[mail removed 邮箱已删除]",
    "identity": "[ID number removed 证件号已删除]",
    "telephone": "[telephone removed 电话已删除]",
}
_MAIL = re.compile(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_IDENTITY = re.compile(r"(?<![0-9])([0-9](?:[ -]?[0-9]){16}[ -]?[0-9Xx])(?![0-9])")
# Begins with +, a bracket or a digit; groups divided by one space, dash, dot or bracket.
_NUMBER = re.compile(r"(?<![\w.])(?:\+ ?)?\(?[0-9](?:[ .()/-]{0,2}[0-9]){6,16}(?![\w])")
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}[-./ ]?(?:0?[1-9]|1[0-2])[-./ ]?(?:0?[1-9]|[12][0-9]|3[01])"
    r"|(?:0?[1-9]|[12][0-9]|3[01])[-./](?:0?[1-9]|[12][0-9]|3[01])[-./](?:19|20)?[0-9]{2}"
)
# GB 11643-1999: weights of the first 17 digits and the check characters of the sum modulo 11
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECKS = "10X98765432"


def remove_identifiers(text: str) -> str:
    """`text` with every identifier replaced by a mark; measurements and dates stay."""
    plain = _half_width(text)
    plain = _MAIL.sub(_MARK["mail"], plain)
    plain = _IDENTITY.sub(_identity, plain)
    return _NUMBER.sub(_telephone, plain)


def is_identity_number(text: str) -> bool:
    """Whether `text` is an 18-character Chinese identity number with the right check character."""
    if not re.fullmatch(r"[0-9]{17}[0-9Xx]", text):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(text, _WEIGHTS, strict=False))
    return _CHECKS[total % 11] == text[17].upper()


def _identity(match: re.Match[str]) -> str:
    found = re.sub("[ -]", "", match[0])
    return _MARK["identity"] if is_identity_number(found) else match[0]


def _telephone(match: re.Match[str]) -> str:
    found = match[0].strip()
    digits = re.sub("[^0-9]", "", found)
    if not 7 <= len(digits) <= 15 or _DATE.fullmatch(found):
        return match[0]
    return _MARK["telephone"]


def _half_width(text: str) -> str:
    """Full-width digits, letters and the signs + - . @ as ASCII; Chinese punctuation stays."""
    return text.translate(_HALF_WIDTH)


_HALF_WIDTH = {
    code: code - 0xFEE0  # where Unicode keeps the ASCII character of the same shape
    for code in range(0xFF01, 0xFF5F)
    if chr(code - 0xFEE0).isalnum() or chr(code - 0xFEE0) in "+-.@"
}
