"""The summary for a doctor: seen, and saved by the browser."""

from __future__ import annotations

from typing import Any

import gradio as gr

from sparsedoctor.app.messages import told
from sparsedoctor.app.session import SUFFIX, SummaryForm
from sparsedoctor.app.web.labels import Labels
from sparsedoctor.app.web.texts import texts
from sparsedoctor.app.web.wiring import PRIVATE, VisitOf, download_link, problem
from sparsedoctor.core.errors import SparseDoctorError

EMPTY = ("", "")  # of `shown`


class SummaryPanel:
    def __init__(self, labels: Labels) -> None:
        make = labels.make
        with make(gr.Accordion, lambda t: {"label": t.summary}, open=False, elem_id="summary"):
            self._form = make(
                gr.Radio,
                lambda t: {
                    "label": t.form,
                    "choices": [(t.markdown, "markdown"), (t.html, "html"), (t.json, "json")],
                },
                value="markdown",
                elem_id="summary-form",
            )
            self._remove = make(
                gr.Checkbox, lambda t: {"label": t.remove}, elem_id="summary-remove"
            )
            self._make = make(
                gr.Button, lambda t: {"value": t.make}, size="sm", elem_id="summary-make"
            )
            self._link = gr.HTML("", elem_id="summary-link", js_on_load=None)
            self._text = make(
                gr.Textbox,
                lambda t: {"label": t.summary},
                show_label=False,
                lines=6,
                max_lines=16,
                interactive=False,
                elem_id="summary-text",
            )

    @property
    def shown(self) -> list[Any]:
        """What was made; it is `EMPTY` again as soon as it would no longer be true."""
        return [self._link, self._text]

    def connect(self, visit_of: VisitOf) -> None:
        def make(form: SummaryForm, remove: bool, request: gr.Request) -> tuple[str, str]:
            visit = visit_of(request)
            try:
                text = visit.session.summary(form, remove_identifiers=remove)
            except SparseDoctorError as error:
                return problem(told(error, visit.interface)), ""
            name = f"sparsedoctor-summary{SUFFIX[form]}"
            label = texts(visit.interface).save_file
            return download_link(text, name, label, "summary-save"), text

        self._make.click(
            make, inputs=[self._form, self._remove], outputs=self.shown, queue=False, **PRIVATE
        )
        for choice in (self._form, self._remove):
            choice.input(lambda: EMPTY, outputs=self.shown, queue=False, **PRIVATE)
