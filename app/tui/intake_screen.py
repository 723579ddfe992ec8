"""The form about the person: optional, editable at any time, never in the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Checkbox, Input, Label, Select, Static

from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.intake_form import filled
from sparsedoctor.app.messages import told
from sparsedoctor.app.tui.texts import TerminalTexts
from sparsedoctor.core.errors import SparseDoctorError

_FIELDS = ("age", "allergies", "medicines", "conditions", "region")


class IntakeScreen(ModalScreen[Intake | None]):
    """Returns the new intake, or None when the person changed their mind."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel"),
        Binding("ctrl+s", "save", "Save"),
    ]

    def __init__(self, intake: Intake, where: str, words: TerminalTexts) -> None:
        """`where` says where the words of this computer go (`wording.where_words_go`)."""
        super().__init__()
        self._form, self._where, self._texts = filled(intake, words.code), where, words

    def compose(self) -> ComposeResult:
        form, words = self._form, self._texts
        with VerticalScroll(classes="dialog", can_focus=False):
            yield Static(words.about_you, classes="heading")
            yield Static(f"{words.optional} {self._where}", classes="muted", markup=False)
            for name, label, hint in self._labelled():
                with Horizontal(classes="field"):
                    yield Label(label)
                    yield Input(form[name], placeholder=hint, id=f"intake-{name}", compact=True)
            with Horizontal(classes="row"):
                yield Select(
                    [(words.female, "female"), (words.male, "male")],
                    prompt=words.sex,
                    value=form["sex"] or Select.NULL,
                    id="intake-sex",
                    compact=True,
                )
                yield Select(
                    [("English", "en"), ("中文", "zh")],
                    prompt=words.language_as_written,
                    value=form["language"] or Select.NULL,
                    id="intake-language",
                    compact=True,
                )
            with Horizontal(classes="row"):
                for name, label in (
                    ("pregnant", words.pregnant),
                    ("breastfeeding", words.breastfeeding),
                ):
                    yield Checkbox(label, form[name], id=f"intake-{name}", compact=True)
            yield Static("", id="intake-problem", classes="problem", markup=False)
            with Horizontal(classes="row"):
                yield Button(words.save, variant="primary", id="intake-save", compact=True)
                yield Button(words.clear, id="intake-clear", compact=True)
                yield Button(words.cancel, id="intake-cancel", compact=True)

    def _labelled(self) -> Iterator[tuple[str, str, str]]:
        """Name, label and hint of each text field."""
        words = self._texts
        yield "age", words.age, words.age_hint
        yield "allergies", words.allergies, words.allergies_hint
        yield "medicines", words.medicines, words.medicines_hint_long
        yield "conditions", words.conditions, words.conditions_hint
        yield "region", words.region, words.region_hint

    @on(Input.Submitted)
    def _next_field(self) -> None:
        self.focus_next()

    @on(Button.Pressed, "#intake-save")
    def action_save(self) -> None:
        try:
            intake = Intake.from_json(self._filled())
        except SparseDoctorError as error:
            self.query_one("#intake-problem", Static).update(told(error, self._texts.code))
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
            name: self.query_one(f"#intake-{name}", Input).value for name in _FIELDS
        }
        for name in ("sex", "language"):
            choice = self.query_one(f"#intake-{name}", Select)
            fields[name] = "" if choice.is_blank() else choice.value
        for name in ("pregnant", "breastfeeding"):
            fields[name] = self.query_one(f"#intake-{name}", Checkbox).value
        return fields
