"""The panels beside the conversation: about the person, saved conversations, the summary.

Each is built inside the page's layout, then connected to the page's drawing.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from sparsedoctor.app.consultation.history import Conversation, History
from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.intake_form import filled
from sparsedoctor.app.session import SUFFIX, SummaryForm
from sparsedoctor.core.errors import SparseDoctorError

if TYPE_CHECKING:
    from sparsedoctor.app.web.visit import Visit

VisitOf = Callable[[gr.Request], "Visit"]
Drawn = Callable[["Visit"], tuple[Any, ...]]

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
_MEDIA = {"markdown": "text/markdown", "json": "application/json", "html": "text/html"}
_FIELDS = (
    "age", "sex", "pregnant", "breastfeeding", "allergies", "medicines", "conditions", "region",
    "language",
)  # fmt: skip


class IntakePanel:
    """The form about the person; optional, editable at any time."""

    def __init__(self) -> None:
        with gr.Accordion("About you (optional)", open=False, elem_id="intake"):
            self._fields = [
                gr.Textbox(label="Age", placeholder="34, 7 months, 10 weeks", elem_id="age"),
                gr.Radio(
                    [("not said", ""), ("female", "female"), ("male", "male")],
                    label="Sex",
                    value="",
                    elem_id="sex",
                ),
                gr.Checkbox(label="pregnant", elem_id="pregnant"),
                gr.Checkbox(label="breast-feeding", elem_id="breastfeeding"),
                gr.Textbox(label="Allergies", placeholder="penicillin, nuts", elem_id="allergies"),
                gr.Textbox(
                    label="Medicines", placeholder="with commas between", elem_id="medicines"
                ),
                gr.Textbox(
                    label="Conditions", placeholder="diabetes, asthma", elem_id="conditions"
                ),
                gr.Textbox(
                    label="Region",
                    placeholder="GB or CN: for the emergency numbers",
                    max_length=2,
                    elem_id="region",
                ),
                gr.Radio(
                    [("as I write", ""), ("English", "en"), ("中文", "zh")],
                    label="Language",
                    value="",
                    elem_id="language",
                ),
            ]
            self._save = gr.Button("Save", size="sm", elem_id="intake-save")
            self._note = gr.HTML("", elem_id="intake-note", js_on_load=None)

    @property
    def fields(self) -> list[Any]:
        """The components, in the order of `values`."""
        return list(self._fields)

    @staticmethod
    def values(visit: Visit) -> tuple[Any, ...]:
        form = filled(visit.session.intake)
        return tuple(form[name] for name in _FIELDS)

    def connect(self, visit_of: VisitOf, drawn: Drawn, outputs: list[Any]) -> None:
        def save(request: gr.Request, *given: Any) -> tuple[Any, ...]:
            visit = visit_of(request)
            try:
                visit.tell(Intake.from_json(dict(zip(_FIELDS, given, strict=True))))
            except SparseDoctorError as error:
                return (_problem(str(error)), *drawn(visit))
            return ("<p>Saved. It holds from your next question on.</p>", *drawn(visit))

        # gradio looks for the request among the arguments by its annotation.
        save.__annotations__["request"] = gr.Request
        inputs = self._fields
        self._save.click(
            save, inputs=inputs, outputs=[self._note, *outputs], queue=False, **PRIVATE
        )


class HistoryPanel:
    """Saved conversations: search, take up again, rename, pin, delete."""

    def __init__(self, history: History) -> None:
        self._history = history
        with gr.Accordion("Conversations", open=False, elem_id="history"):
            self._search = gr.Textbox(
                label="Search", placeholder="any words, 胸痛 or chest pai", elem_id="search"
            )
            self._list = gr.Radio([], label="Saved", elem_id="conversations")
            with gr.Row():
                self._open = gr.Button("Open", size="sm", min_width=60, elem_id="open")
                self._pin = gr.Button("Pin", size="sm", min_width=60, elem_id="pin")
                self._delete = gr.Button("Delete", size="sm", min_width=60, elem_id="delete")
            with gr.Row():
                self._title = gr.Textbox(
                    show_label=False, placeholder="new title", container=False, elem_id="title"
                )
                self._rename = gr.Button("Rename", size="sm", min_width=60, elem_id="rename")
            self._all = gr.Checkbox(
                label="I want to delete every conversation", elem_id="delete-all-sure"
            )
            self._delete_all = gr.Button("Delete all", size="sm", elem_id="delete-all")
            self._note = gr.HTML("", elem_id="history-note", js_on_load=None)

    def listed(self, query: str = "") -> Any:
        """The list, newest first, drawn anew."""
        found = self._history.conversations(query or None)
        return gr.Radio(choices=[(_line(one), one.id) for one in found], value=None)

    @property
    def component(self) -> Any:
        """What `listed` draws."""
        return self._list

    def connect(self, visit_of: VisitOf, drawn: Drawn, outputs: list[Any]) -> None:
        def changed(work: Callable[[], None], query: str) -> tuple[Any, Any]:
            """Do `work`; what to say about it, and the list after it."""
            try:
                work()
            except SparseDoctorError as error:
                return _problem(str(error)), self.listed(query)
            said = "".join(
                f"<p>{escape(str(notice))}</p>" for notice in self._history.take_notices()
            )
            return said, self.listed(query)

        def open_(chosen: str | None, query: str, request: gr.Request) -> tuple[Any, ...]:
            visit = visit_of(request)
            note, listed = changed(lambda: visit.resume(chosen) if chosen else None, query)
            return (note, listed, *drawn(visit))

        def pin(chosen: str | None, query: str) -> tuple[Any, ...]:
            def work() -> None:
                if chosen:
                    self._history.pin(chosen, not self._history.conversation(chosen).pinned)

            return changed(work, query)

        def rename(chosen: str | None, title: str, query: str) -> tuple[Any, ...]:
            def work() -> None:
                if chosen and title.strip():
                    self._history.rename(chosen, title)

            return ("", *changed(work, query))

        def delete(chosen: str | None, query: str, request: gr.Request) -> tuple[Any, ...]:
            visit = visit_of(request)
            note, listed = changed(lambda: self._history.delete(chosen) if chosen else None, query)
            if chosen and visit.session.conversation == chosen:
                visit.begin(private=visit.session.private)
            return (note, listed, *drawn(visit))

        def delete_all(sure: bool, request: gr.Request) -> tuple[Any, ...]:
            visit = visit_of(request)
            if not sure:
                note = _problem("tick the box first; it cannot be undone")
                return (False, note, self.listed(), *drawn(visit))
            note, listed = changed(self._history.delete_all, "")
            if not visit.session.private:
                visit.begin(private=False)
            return (False, note, listed, *drawn(visit))

        both = [self._note, self._list]
        chosen = [self._list, self._search]
        self._search.change(
            self.listed, inputs=[self._search], outputs=[self._list], queue=False, **PRIVATE
        )
        self._open.click(open_, inputs=chosen, outputs=[*both, *outputs], queue=False, **PRIVATE)
        self._pin.click(pin, inputs=chosen, outputs=both, queue=False, **PRIVATE)
        self._rename.click(
            rename,
            inputs=[self._list, self._title, self._search],
            outputs=[self._title, *both],
            queue=False,
            **PRIVATE,
        )
        self._delete.click(delete, inputs=chosen, outputs=[*both, *outputs], queue=False, **PRIVATE)
        self._delete_all.click(
            delete_all,
            inputs=[self._all],
            outputs=[self._all, *both, *outputs],
            queue=False,
            **PRIVATE,
        )


class SummaryPanel:
    """The summary for a doctor: seen, and saved by the browser."""

    def __init__(self) -> None:
        with gr.Accordion("Summary for a doctor", open=False, elem_id="summary"):
            self._form = gr.Radio(
                [("Markdown", "markdown"), ("one page to print", "html"), ("JSON", "json")],
                value="markdown",
                label="Form",
                elem_id="summary-form",
            )
            self._remove = gr.Checkbox(
                label="without telephone, mail and identity numbers", elem_id="summary-remove"
            )
            self._make = gr.Button("Make it", size="sm", elem_id="summary-make")
            self._link = gr.HTML("", elem_id="summary-link", js_on_load=None)
            self._text = gr.Textbox(
                show_label=False, lines=6, max_lines=16, interactive=False, elem_id="summary-text"
            )

    def connect(self, visit_of: VisitOf) -> None:
        def make(form: SummaryForm, remove: bool, request: gr.Request) -> tuple[str, str]:
            try:
                text = visit_of(request).session.summary(form, remove_identifiers=remove)
            except SparseDoctorError as error:
                return _problem(str(error)), ""
            return download_link(text, form), text

        self._make.click(
            make,
            inputs=[self._form, self._remove],
            outputs=[self._link, self._text],
            queue=False,
            **PRIVATE,
        )


def download_link(text: str, form: SummaryForm) -> str:
    """A link that holds the text itself: nothing is written on the server's side."""
    data = base64.b64encode(text.encode()).decode()
    name = f"sparsedoctor-summary{SUFFIX[form]}"
    return (
        f'<a id="summary-save" download="{name}" '
        f'href="data:{_MEDIA[form]};charset=utf-8;base64,{data}">Save {name}</a>'
    )


def _problem(text: str) -> str:
    return f'<p class="problem">{escape(text)}</p>'


def _line(one: Conversation) -> str:
    pinned = "★ " if one.pinned else ""
    return f"{pinned}{one.title} ({one.updated[:10]})"
