"""A summary of a consultation for a real doctor, from structured fields by fixed rules.

SummaryFields ─▶ summarise ─▶ Summary ─▶ json, Markdown, one page of HTML
"""

from __future__ import annotations

import json
from typing import Literal

from sparsedoctor.app.consultation.summary.fields import (
    FiredRule,
    SummaryFields,
    SummaryTurn,
    without_identifiers,
)
from sparsedoctor.app.consultation.summary.html_page import as_html
from sparsedoctor.app.consultation.summary.identifiers import remove_identifiers
from sparsedoctor.app.consultation.summary.markdown import as_markdown
from sparsedoctor.app.consultation.summary.measurements import Measurement, measurements
from sparsedoctor.app.consultation.summary.soap import Summary, as_document, summarise
from sparsedoctor.app.consultation.summary.wording import DISCLAIMER

__all__ = [
    "DISCLAIMER",
    "FiredRule",
    "Measurement",
    "Summary",
    "SummaryFields",
    "SummaryTurn",
    "as_html",
    "as_json",
    "as_markdown",
    "export_summary",
    "measurements",
    "remove_identifiers",
    "summarise",
    "without_identifiers",
]


def as_json(summary: Summary) -> str:
    return json.dumps(as_document(summary), ensure_ascii=False, indent=2, default=str) + "\n"


def export_summary(
    fields: SummaryFields,
    form: Literal["json", "markdown", "html"],
    *,
    remove: bool = False,
) -> str:
    """The summary of `fields` as text; `remove` takes out telephone numbers, mail addresses and
    Chinese identity numbers first. Write it with `history.write_private`."""
    summary = summarise(without_identifiers(fields) if remove else fields)
    return {"json": as_json, "markdown": as_markdown, "html": as_html}[form](summary)
