"""A saved conversation as a file of the person's choice: Markdown to read, JSON to process."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Checkbox, Input, Select, Static

from sparsedoctor.app.consultation.history import Conversation, History, write_private
from sparsedoctor.app.messages import told
from sparsedoctor.app.tui.background import call_in_background
from sparsedoctor.app.tui.texts import TerminalTexts
from sparsedoctor.core.errors import SparseDoctorError

Form = Literal["markdown", "json"]
_SUFFIX: dict[Form, str] = {"markdown": ".md", "json": ".json"}


class ExportScreen(ModalScreen[None]):
    """Identifiers can be taken out; the file is for its owner alone (0600)."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close"),
        Binding("ctrl+s", "save", "Save"),
    ]

    def __init__(self, history: History, chosen: Conversation, words: TerminalTexts) -> None:
        super().__init__()
        self._history, self._chosen, self._texts = history, chosen, words

    def compose(self) -> ComposeResult:
        words = self._texts
        forms: list[tuple[str, Form]] = [(words.markdown, "markdown"), (words.json, "json")]
        path = Path.home() / f"sparsedoctor-conversation-{date.today()}{_SUFFIX['markdown']}"
        with Vertical(classes="dialog"):
            yield Static(
                words.export_of.format(self._chosen.title), classes="heading", markup=False
            )
            with Horizontal(classes="row"):
                yield Select(
                    forms, value="markdown", allow_blank=False, id="export-form", compact=True
                )
            yield Checkbox(words.remove, id="export-remove", compact=True)
            yield Input(str(path), id="export-path", compact=True)
            yield Static("", id="export-note", classes="problem", markup=False)
            with Horizontal(classes="row"):
                yield Button(words.save, variant="primary", id="export-save", compact=True)
                yield Button(words.cancel, id="export-close", compact=True)

    def on_mount(self) -> None:
        self.query_one("#export-path").focus()

    @on(Select.Changed, "#export-form")
    def _form_chosen(self) -> None:
        path = self.query_one("#export-path", Input)
        path.value = str(Path(path.value).with_suffix(_SUFFIX[self._form]))

    @on(Input.Submitted)
    @on(Button.Pressed, "#export-save")
    async def action_save(self) -> None:
        path = Path(self.query_one("#export-path", Input).value).expanduser()
        remove = self.query_one("#export-remove", Checkbox).value
        history, form, chosen = self._history, self._form, self._chosen.id

        def write() -> None:
            text = history.export(chosen, form, without_identifiers=remove)
            write_private(path, text)

        try:
            if not path.name:
                raise SparseDoctorError(self._texts.name_file)
            await call_in_background(write)
        except SparseDoctorError as error:
            self.query_one("#export-note", Static).update(told(error, self._texts.code))
            return
        self.notify(self._texts.saved_as.format(path))
        self.dismiss(None)

    @on(Button.Pressed, "#export-close")
    def action_close(self) -> None:
        self.dismiss(None)

    @property
    def _form(self) -> Form:
        value = self.query_one("#export-form", Select).value
        return next(form for form in _SUFFIX if form == value)
