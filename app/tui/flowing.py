"""Chinese lines that break where the screen ends.

Textual breaks lines at spaces and moves what does not fit as a whole; Chinese has no spaces, so one
space in a Chinese sentence ("• 有没有…", "SparseDoctor 是…") would leave a line almost empty. Here
the spaces beside Chinese go; only what is drawn changes, never what is saved or copied.
"""

from __future__ import annotations

import re

_WIDE = "\u3000-\u303f\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef"
_BULLET = re.compile(rf"^(\s*)• (?=[^\n]*[{_WIDE}])", re.MULTILINE)
_BESIDE = re.compile(
    rf"(?<=[{_WIDE}]) (?=\S)|(?<=[0-9A-Za-z%)°]) (?=[{_WIDE}])"
)  # not "- 请" or "1. 请": marks of a list


def flowing(text: str) -> str:
    """`text` for a widget that wraps at spaces; what holds no Chinese stays as it is."""
    return _BESIDE.sub("", _BULLET.sub(r"\1・", text))
