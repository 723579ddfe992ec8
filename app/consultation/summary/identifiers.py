"""Removing what identifies a person from a text: telephone, mail, Chinese identity number.

Numbers of a consultation (temperatures, pressures, doses, dates, "120", "988") stay.
"""

from __future__ import annotations

import re

MAIL_REMOVED = "[mail removed 邮箱已删除]"
IDENTITY_REMOVED = "[ID number removed 证件号已删除]"
TELEPHONE_REMOVED = "[telephone removed 电话已删除]"

_MAIL = re.compile(r"[a-z0-9._+%-]{1,64}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8}", re.I)
_IDENTITY = re.compile(r"(?<![0-9])[0-9](?:[ -]?[0-9]){16}[ -]?[0-9X](?![0-9a-z])", re.I)
_TELEPHONE = re.compile(
    r"""(?<![0-9.])(?:
      (?:\+|00)[ ]?[0-9](?:[ .()-]{0,2}[0-9]){6,14}    # with the country
    | \(?(?:86[ -]?)?1[3-9][0-9](?:[ -]?[0-9]{4}){2}      # mobile, China
    | \(?0[1-9][0-9]{1,2}\)?[ -]?[0-9]{3,4}[ -]?[0-9]{4}  # with the area, China and others
    | \(?0[1-9][0-9]{2,4}\)?[ ][0-9]{3}[ ]?[0-9]{3,4}     # with the area, Britain
    | (?:1[ .-])?\([0-9]{3}\)[ ]?[0-9]{3}[ .-]?[0-9]{4}   # (202) 555-0143
    | (?:1[ .-])?[0-9]{3}([ .-])[0-9]{3}\1[0-9]{4}        # 202-555-0143
    | [0-9]{3}-[0-9]{4}                                   # 555-0143
    | [48]00[ -]?[0-9]{3}[ -]?[0-9]{4}                    # service numbers, China
    | [0-9]{10,15}                                        # nothing else is that long
    )(?![0-9])""",
    re.X,
)
_NAMED = re.compile(
    r"(?:telephone|phone|mobile|cell|whatsapp|wechat|tel|call me (?:on|at)|reach me (?:on|at)"
    r"|电话|手机|號碼|号码|電話|手機|微信|QQ)[^0-9\n]{0,12}([0-9](?:[ .-]?[0-9]){5,14})(?![0-9])",
    re.I,
)
# GB 11643-1999: weights of the first 17 digits, and the check characters by the sum modulo 11
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECKS = "10X98765432"
# Full-width digits, letters and + - . @ ( ) as ASCII: each one character for one
_HALF_WIDTH = {
    code: code - 0xFEE0
    for code in range(0xFF01, 0xFF5F)
    if chr(code - 0xFEE0).isalnum() or chr(code - 0xFEE0) in "+-.@()"
}


def remove_identifiers(text: str) -> str:
    """`text` with every identifier replaced by a mark in both languages."""
    plain = text.translate(_HALF_WIDTH)  # as long as `text`, so that places agree
    found = [(match.start(), match.end(), MAIL_REMOVED) for match in _MAIL.finditer(plain)]
    for match in _IDENTITY.finditer(plain):
        if is_identity_number(re.sub("[ -]", "", match[0])):
            found.append((match.start(), match.end(), IDENTITY_REMOVED))
    for match in _TELEPHONE.finditer(plain):
        found.append((match.start(), match.end(), TELEPHONE_REMOVED))
    for match in _NAMED.finditer(plain):
        found.append((match.start(1), match.end(1), TELEPHONE_REMOVED))
    return _replaced(text, found)


def is_identity_number(text: str) -> bool:
    """Whether `text` is an 18-character Chinese identity number with the right check character."""
    if not re.fullmatch(r"[0-9]{17}[0-9Xx]", text):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(text, _WEIGHTS, strict=False))
    return _CHECKS[total % 11] == text[17].upper()


def _replaced(text: str, found: list[tuple[int, int, str]]) -> str:
    """Where findings overlap, the one found first by kind (mail, identity, telephone) counts."""
    taken: list[tuple[int, int, str]] = []
    for start, end, mark in found:
        if all(end <= other_start or start >= other_end for other_start, other_end, _ in taken):
            taken.append((start, end, mark))
    for start, end, mark in sorted(taken, reverse=True):
        text = text[:start] + mark + text[end:]
    return text
