"""A saved conversation as a file of the person's choice: Markdown to read, JSON to process."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from sparsedoctor.app.consultation.history import Conversation, History
from sparsedoctor.app.tui.save_screen import SaveScreen
from sparsedoctor.app.tui.texts import TerminalTexts

ExportForm = Literal["markdown", "json"]
_SUFFIX: dict[ExportForm, str] = {"markdown": ".md", "json": ".json"}


class ExportScreen(SaveScreen[ExportForm]):
    """The name offered tells when the conversation began, never what it was about."""

    def __init__(self, history: History, chosen: Conversation, words: TerminalTexts) -> None:
        began = datetime.fromisoformat(chosen.created).astimezone()
        stem = f"sparsedoctor-conversation-{began:%Y-%m-%d-%H%M}"
        super().__init__(words, kind="export", stem=stem, suffixes=_SUFFIX)
        self._history, self._chosen = history, chosen

    def compose(self) -> ComposeResult:
        words = self._texts
        with Vertical(classes="dialog"):
            yield Static(
                words.export_of.format(self._chosen.title), classes="heading", markup=False
            )
            with Horizontal(classes="row"):
                yield self.forms({"markdown": words.markdown, "json": words.json})
            yield self.removing()
            yield from self.saving(leave=words.cancel)

    def on_mount(self) -> None:
        self.query_one("#export-path").focus()

    def written(self, form: ExportForm, *, remove: bool) -> str:
        return self._history.export(self._chosen.id, form, without_identifiers=remove)
