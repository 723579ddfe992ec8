"""What every panel of the page is connected with."""

from __future__ import annotations

import base64
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

if TYPE_CHECKING:
    from sparsedoctor.app.web.visit import Visit

VisitOf = Callable[[gr.Request], "Visit"]
Drawn = Callable[["Visit"], tuple[Any, ...]]

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
_MEDIA = {".md": "text/markdown", ".json": "application/json", ".html": "text/html"}


def problem(text: str) -> str:
    """What could not be done, in a panel."""
    return f'<p class="problem" role="alert">{escape(text)}</p>'


def remark(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def download_link(text: str, name: str, label: str, id: str) -> str:
    """A link that holds the text itself: nothing is written on the server's side."""
    data = base64.b64encode(text.encode()).decode()
    media = _MEDIA[name[name.rindex(".") :]]
    return (
        f'<a id="{id}" download="{name}" '
        f'href="data:{media};charset=utf-8;base64,{data}">{escape(label.format(name))}</a>'
    )
