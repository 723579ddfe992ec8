"""Two calm themes of our own; all of Textual's are in the command palette as well."""

from __future__ import annotations

from textual.theme import Theme

THEMES = (
    Theme(
        name="sparsedoctor-dark",
        primary="#6fb3c8",
        secondary="#8fb996",
        accent="#7ec4b1",
        warning="#e0b15e",
        error="#e0736b",
        success="#8fb996",
        foreground="#d8dee3",
        background="#12181c",
        surface="#182127",
        panel="#1f2a31",
        dark=True,
    ),
    Theme(
        name="sparsedoctor-light",
        primary="#1d6a80",
        secondary="#3f7a4c",
        accent="#1f7f6b",
        warning="#96640a",
        error="#b3342c",
        success="#3f7a4c",
        foreground="#1d262b",
        background="#fbfaf7",
        surface="#f2f1ec",
        panel="#e6e7e2",
        dark=False,
    ),
)
