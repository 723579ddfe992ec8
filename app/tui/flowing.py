"""Chinese lines that break where the screen ends.

Textual breaks lines at spaces and moves what does not fit as a whole; Chinese has no spaces, so one
space in a Chinese sentence ("• 有没有…", "SparseDoctor 是…") would leave a line almost empty. Here
the spaces beside Chinese go, unless Markdown needs them: after the mark of a list ("1) 休息"), and
where emphasis or code may begin ("注意 **“三天”**"). Only what is drawn changes, never what is
saved or copied.
"""

from __future__ import annotations

import re

_WIDE = "\u3000-\u303f\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef"
_BULLET = re.compile(rf"^(\s*)• (?=[^\n]*[{_WIDE}])", re.MULTILINE)
_MARK = r"^[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+|>[ \t]*)+"  # of lists and quotations
_SIGNS = r"*_`~#"  # with a space before them they may mean something else than without
_BESIDE = re.compile(
    rf"(?P<mark>{_MARK})"
    rf"|(?<=[{_WIDE}]) (?=[^\s{_SIGNS}])|(?<=[0-9A-Za-z%)°]) (?=[{_WIDE}])",
    re.MULTILINE,
)


def flowing(text: str) -> str:
    """`text` for a widget that wraps at spaces; what holds no Chinese stays as it is."""
    return _BESIDE.sub(lambda found: found["mark"] or "", _BULLET.sub(r"\1・", text))
