"""What the dialogs that write a file share: its form, its place, and what is wrong with them.

    the field ─▶ file_named ─▶ a path ─▶ write_new ─▶ a file of its own, for its owner alone (0600)
                     └─▶ one line below the field; the dialog stays open

A file that is there already is never replaced.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import ModalScreen
from textual.widgets import Button, Checkbox, Input, Select, Static

from sparsedoctor.app.consultation.history.private_file import write_new
from sparsedoctor.app.messages import told
from sparsedoctor.app.tui.background import call_in_background
from sparsedoctor.app.tui.texts import TerminalTexts
from sparsedoctor.core.errors import SparseDoctorError

Form = TypeVar("Form", bound=str)


class SaveScreen(ModalScreen[None], Generic[Form]):
    """A form and a place are chosen, identifiers can be taken out.

    `kind` begins the ids of the widgets, `stem` is the name offered, `suffixes` holds the forms,
    the first of which is chosen. A dialog adds `written` and puts the widgets into its `compose`.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close"),
        Binding("ctrl+s", "save", "Save"),
    ]

    def __init__(
        self, words: TerminalTexts, *, kind: str, stem: str, suffixes: Mapping[Form, str]
    ) -> None:
        super().__init__()
        self._texts, self._kind, self._stem, self._suffixes = words, kind, stem, suffixes

    def written(self, form: Form, *, remove: bool) -> str:
        """What the file will hold. Called beside the screen; raises SparseDoctorError."""
        raise NotImplementedError

    # --- the widgets ---

    def forms(self, labels: Mapping[Form, str]) -> Select[str]:
        options: list[tuple[str, str]] = [(labels[form], form) for form in self._suffixes]
        first = options[0][1]
        return Select(
            options, value=first, allow_blank=False, id=f"{self._kind}-form", compact=True
        )

    def removing(self) -> Checkbox:
        return Checkbox(self._texts.remove, id=f"{self._kind}-remove", compact=True)

    def saving(self, *, leave: str) -> ComposeResult:
        """The field, the line below it and the buttons; `leave` stands on the second one."""
        suffix = next(iter(self._suffixes.values()))
        yield Input(
            str(Path.home() / f"{self._stem}{suffix}"), id=f"{self._kind}-path", compact=True
        )
        yield Static("", id=f"{self._kind}-note", classes="problem", markup=False)
        with Horizontal(classes="row"):
            save = self._texts.save
            yield Button(
                save, variant="primary", id=f"{self._kind}-save", classes="save", compact=True
            )
            yield Button(leave, id=f"{self._kind}-close", classes="leave", compact=True)

    # --- what they do ---

    @on(Select.Changed)
    def _form_chosen(self) -> None:
        """The file's ending follows its form."""
        field = self.query_one(Input)
        try:
            file_named(field.value)
        except SparseDoctorError as error:
            self._note(error)
            return
        field.value = str(Path(field.value.strip()).with_suffix(self._suffixes[self._form]))
        self._note(None)

    @on(Input.Submitted)
    @on(Button.Pressed, ".save")
    async def action_save(self) -> None:
        if not self.is_current:  # pressed twice: it is saved already
            return
        form, remove = self._form, self.query_one(Checkbox).value
        try:
            path = file_named(self.query_one(Input).value)
            saved = await call_in_background(
                lambda: write_new(path, self.written(form, remove=remove))
            )
        except SparseDoctorError as error:
            self._note(error)
            return
        self.notify(self._texts.saved_as.format(saved))
        self.dismiss(None)

    @on(Button.Pressed, ".leave")
    def action_close(self) -> None:
        self.dismiss(None)

    @property
    def _form(self) -> Form:
        value = self.query_one(Select).value
        return next(form for form in self._suffixes if form == value)

    def _note(self, problem: SparseDoctorError | None) -> None:
        text = told(problem, self._texts.code) if problem else ""
        self.query_one(f"#{self._kind}-note", Static).update(text)


def file_named(text: str) -> Path:
    """The file that a person wrote into a field. Raises SparseDoctorError when it names none."""
    text = text.strip()
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise SparseDoctorError(
            f"there is no home folder for {text}; write the whole path"
        ) from error
    if not path.name or "\0" in text:
        raise SparseDoctorError("no file is named; write one, such as notes.md")
    if os.path.isdir(path):
        raise SparseDoctorError(f"{path} is a folder; name a file in it")
    return path
