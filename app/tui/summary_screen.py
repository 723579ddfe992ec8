"""The summary for a real doctor: seen first, then written to a file of the person's choice."""

from __future__ import annotations

from datetime import date

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Checkbox, Markdown, Static

from sparsedoctor.app.session import SUFFIX, Session, SummaryForm
from sparsedoctor.app.tui.save_screen import SaveScreen
from sparsedoctor.app.tui.texts import TerminalTexts


class SummaryScreen(SaveScreen[SummaryForm]):
    """Shows the summary as it will be written; identifiers can be taken out."""

    def __init__(self, session: Session, words: TerminalTexts) -> None:
        stem = f"sparsedoctor-summary-{date.today()}"
        super().__init__(words, kind="summary", stem=stem, suffixes=SUFFIX)
        self._session = session

    def compose(self) -> ComposeResult:
        words = self._texts
        with Vertical(classes="dialog -tall"):
            yield Static(words.summary, classes="heading")
            with VerticalScroll(id="summary-text"):
                yield Markdown("", open_links=False)
            with Horizontal(classes="row"):
                yield self.forms(
                    {"markdown": words.markdown, "html": words.html, "json": words.json}
                )
                yield self.removing()
            yield from self.saving(leave=words.close)

    async def on_mount(self) -> None:
        self.query_one("#summary-text").focus()
        await self._preview()

    @on(Checkbox.Changed)
    async def _preview(self) -> None:
        remove = self.query_one("#summary-remove", Checkbox).value
        await self.query_one(Markdown).update(self.written("markdown", remove=remove))

    def written(self, form: SummaryForm, *, remove: bool) -> str:
        return self._session.summary(form, remove_identifiers=remove)
