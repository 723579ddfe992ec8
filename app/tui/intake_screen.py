"""The form about the person: optional, editable at any time, never in the way."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Checkbox, Input, Label, Select, Static

from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.intake_form import filled
from sparsedoctor.core.errors import SparseDoctorError

_TEXTS = (
    ("age", "Age", "34, 7 months, 10 weeks"),
    ("allergies", "Allergies", "penicillin, nuts"),
    ("medicines", "Medicines", "what you take, with commas between"),
    ("conditions", "Conditions", "diabetes, asthma"),
    ("region", "Region", "two letters, such as GB or CN: for the emergency numbers"),
)


class IntakeScreen(ModalScreen[Intake | None]):
    """Returns the new intake, or None when the person changed their mind."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel"),
        Binding("ctrl+s", "save", "Save"),
    ]

    def __init__(self, intake: Intake, where: str) -> None:
        """`where` says where the words of this computer go (`wording.where_words_go`)."""
        super().__init__()
        self._form = filled(intake)
        self._where = where

    def compose(self) -> ComposeResult:
        form = self._form
        with VerticalScroll(classes="dialog", can_focus=False):
            yield Static("About you", classes="heading")
            yield Static(
                "Everything is optional. The emergency rules and the model take it into account. "
                + self._where,
                classes="muted",
                markup=False,
            )
            for name, label, hint in _TEXTS:
                with Horizontal(classes="field"):
                    yield Label(label)
                    yield Input(form[name], placeholder=hint, id=f"intake-{name}", compact=True)
            with Horizontal(classes="row"):
                yield Select(
                    [("female", "female"), ("male", "male")],
                    prompt="Sex",
                    value=form["sex"] or Select.NULL,
                    id="intake-sex",
                    compact=True,
                )
                yield Select(
                    [("English", "en"), ("中文", "zh")],
                    prompt="Language: as I write",
                    value=form["language"] or Select.NULL,
                    id="intake-language",
                    compact=True,
                )
            with Horizontal(classes="row"):
                yield Checkbox("pregnant", form["pregnant"], id="intake-pregnant", compact=True)
                yield Checkbox(
                    "breast-feeding",
                    form["breastfeeding"],
                    id="intake-breastfeeding",
                    compact=True,
                )
            yield Static("", id="intake-problem", classes="problem", markup=False)
            with Horizontal(classes="row"):
                yield Button("Save", variant="primary", id="intake-save", compact=True)
                yield Button("Clear all", id="intake-clear", compact=True)
                yield Button("Cancel", id="intake-cancel", compact=True)

    @on(Input.Submitted)
    def _next_field(self) -> None:
        self.focus_next()

    @on(Button.Pressed, "#intake-save")
    def action_save(self) -> None:
        try:
            intake = Intake.from_json(self._filled())
        except SparseDoctorError as error:
            self.query_one("#intake-problem", Static).update(str(error))
            return
        self.dismiss(intake)

    @on(Button.Pressed, "#intake-clear")
    def _clear(self) -> None:
        for text in self.query(Input):
            text.value = ""
        for choice in self.query(Select):
            choice.clear()
        for box in self.query(Checkbox):
            box.value = False

    @on(Button.Pressed, "#intake-cancel")
    def action_cancel(self) -> None:
        self.dismiss(None)

    def _filled(self) -> dict[str, object]:
        fields: dict[str, object] = {
            name: self.query_one(f"#intake-{name}", Input).value for name, _, _ in _TEXTS
        }
        for name in ("sex", "language"):
            choice = self.query_one(f"#intake-{name}", Select)
            fields[name] = "" if choice.is_blank() else choice.value
        for name in ("pregnant", "breastfeeding"):
            fields[name] = self.query_one(f"#intake-{name}", Checkbox).value
        return fields
