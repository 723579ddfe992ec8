"""The form about the person; optional, editable at any time."""

from __future__ import annotations

from typing import Any

import gradio as gr

from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.intake_form import filled
from sparsedoctor.app.messages import told
from sparsedoctor.app.web.labels import Labels
from sparsedoctor.app.web.texts import texts
from sparsedoctor.app.web.visit import Visit
from sparsedoctor.app.web.wiring import PRIVATE, Drawn, VisitOf, problem, remark
from sparsedoctor.core.errors import SparseDoctorError

_FIELDS = (
    "age", "sex", "pregnant", "breastfeeding", "allergies", "medicines", "conditions", "region",
    "language",
)  # fmt: skip


class IntakePanel:
    """What stands in the form holds from the next question on, saved or not."""

    def __init__(self, labels: Labels) -> None:
        make = labels.make
        with make(gr.Accordion, lambda t: {"label": t.about_you}, open=False, elem_id="intake"):
            self._fields = [
                make(
                    gr.Textbox,
                    lambda t: {"label": t.age, "placeholder": t.age_hint},
                    elem_id="age",
                ),
                make(
                    gr.Radio,
                    lambda t: {
                        "label": t.sex,
                        "choices": [(t.not_said, ""), (t.female, "female"), (t.male, "male")],
                    },
                    value="",
                    elem_id="sex",
                ),
                make(gr.Checkbox, lambda t: {"label": t.pregnant}, elem_id="pregnant"),
                make(gr.Checkbox, lambda t: {"label": t.breastfeeding}, elem_id="breastfeeding"),
                make(
                    gr.Textbox,
                    lambda t: {"label": t.allergies, "placeholder": t.allergies_hint},
                    elem_id="allergies",
                ),
                make(
                    gr.Textbox,
                    lambda t: {"label": t.medicines, "placeholder": t.medicines_hint},
                    elem_id="medicines",
                ),
                make(
                    gr.Textbox,
                    lambda t: {"label": t.conditions, "placeholder": t.conditions_hint},
                    elem_id="conditions",
                ),
                make(
                    gr.Textbox,
                    lambda t: {"label": t.region, "placeholder": t.region_hint},
                    max_length=2,
                    elem_id="region",
                ),
                make(
                    gr.Radio,
                    lambda t: {
                        "label": t.language,
                        "choices": [(t.as_written, ""), ("English", "en"), ("中文", "zh")],
                    },
                    value="",
                    elem_id="language",
                ),
            ]
            self._save = make(
                gr.Button, lambda t: {"value": t.save}, size="sm", elem_id="intake-save"
            )
            self.note = gr.HTML("", elem_id="intake-note", js_on_load=None)

    @property
    def fields(self) -> list[Any]:
        """The components, in the order of `values`."""
        return list(self._fields)

    @staticmethod
    def values(visit: Visit) -> tuple[Any, ...]:
        form = filled(visit.session.intake, visit.interface)
        return tuple(form[name] for name in _FIELDS)

    @staticmethod
    def take(visit: Visit, given: tuple[Any, ...]) -> str:
        """Take what stands in the form over; the problem, or "" when it could be taken."""
        if given == IntakePanel.values(visit):
            return ""
        try:
            visit.tell(Intake.from_json(dict(zip(_FIELDS, given, strict=True))))
        except SparseDoctorError as error:
            return problem(texts(visit.interface).not_taken.format(told(error, visit.interface)))
        return ""

    def connect(self, visit_of: VisitOf, drawn: Drawn, outputs: list[Any]) -> None:
        """`drawn` gives what the page shows, into `outputs`."""

        def save(request: gr.Request, *given: Any) -> tuple[Any, ...]:
            visit = visit_of(request)
            note = self.take(visit, given) or remark(texts(visit.interface).holds)
            return (note, *drawn(visit))

        # gradio looks for the request among the arguments by its annotation.
        save.__annotations__["request"] = gr.Request
        self._save.click(
            save, inputs=self._fields, outputs=[self.note, *outputs], queue=False, **PRIVATE
        )
