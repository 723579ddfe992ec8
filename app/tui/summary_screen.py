"""The summary for a real doctor: seen first, then written to a file of the person's choice."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Checkbox, Input, Markdown, Select, Static

from sparsedoctor.app.consultation.history import write_private
from sparsedoctor.app.messages import told
from sparsedoctor.app.session import SUFFIX, Session, SummaryForm
from sparsedoctor.app.tui.texts import TerminalTexts
from sparsedoctor.core.errors import SparseDoctorError


class SummaryScreen(ModalScreen[None]):
    """Shows the summary as it will be written; identifiers can be taken out."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close"),
        Binding("ctrl+s", "save", "Save"),
    ]

    def __init__(self, session: Session, words: TerminalTexts) -> None:
        super().__init__()
        self._session, self._texts = session, words

    def compose(self) -> ComposeResult:
        words = self._texts
        forms: list[tuple[str, SummaryForm]] = [
            (words.markdown, "markdown"),
            (words.html, "html"),
            (words.json, "json"),
        ]
        with Vertical(classes="dialog -tall"):
            yield Static(words.summary, classes="heading")
            with VerticalScroll(id="summary-text"):
                yield Markdown("", open_links=False)
            with Horizontal(classes="row"):
                yield Select(
                    forms, value="markdown", allow_blank=False, id="summary-form", compact=True
                )
                yield Checkbox(words.remove, id="summary-remove", compact=True)
            yield Input(str(self._path("markdown")), id="summary-path", compact=True)
            yield Static("", id="summary-note", classes="problem", markup=False)
            with Horizontal(classes="row"):
                yield Button(words.save, variant="primary", id="summary-save", compact=True)
                yield Button(words.close, id="summary-close", compact=True)

    async def on_mount(self) -> None:
        self.query_one("#summary-text").focus()
        await self._preview()

    @on(Checkbox.Changed)
    async def _preview(self) -> None:
        remove = self.query_one("#summary-remove", Checkbox).value
        text = self._session.summary("markdown", remove_identifiers=remove)
        await self.query_one(Markdown).update(text)

    @on(Select.Changed, "#summary-form")
    def _form_chosen(self) -> None:
        path = self.query_one("#summary-path", Input)
        path.value = str(Path(path.value).with_suffix(SUFFIX[self._form]))

    @on(Input.Submitted)
    @on(Button.Pressed, "#summary-save")
    def action_save(self) -> None:
        note = self.query_one("#summary-note", Static)
        path = Path(self.query_one("#summary-path", Input).value).expanduser()
        try:
            if not path.name:
                raise SparseDoctorError(self._texts.name_file)
            remove = self.query_one("#summary-remove", Checkbox).value
            write_private(path, self._session.summary(self._form, remove_identifiers=remove))
        except SparseDoctorError as error:
            note.update(told(error, self._texts.code))
            return
        note.update("")
        self.notify(self._texts.saved_as.format(path))
        self.dismiss(None)

    @on(Button.Pressed, "#summary-close")
    def action_close(self) -> None:
        self.dismiss(None)

    @property
    def _form(self) -> SummaryForm:
        value = self.query_one("#summary-form", Select).value
        return next(form for form in SUFFIX if form == value)

    @staticmethod
    def _path(form: SummaryForm) -> Path:
        return Path.home() / f"sparsedoctor-summary-{date.today()}{SUFFIX[form]}"
