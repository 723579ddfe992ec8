"""A summary as one printable page of HTML: no script, nothing from elsewhere, black on white.

So that it stays one page of A4, long words and answers are shortened, and say so; Markdown and
JSON hold all of it.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from importlib.resources import files
from string import Template

from sparsedoctor.app.consultation.summary.measurements import Measurement
from sparsedoctor.app.consultation.summary.soap import Summary, made_with
from sparsedoctor.app.consultation.summary.wording import DISCLAIMER, SummaryWording, wording

# What fits on the page together, in columns: a Chinese character is two wide.
_OWN_WORDS = 800
_ANSWER = 800
_LINE = 105  # one entry of a list
_QUOTED = 60  # words quoted inside an entry
_ENTRIES = 4
_MEASURED = 8
_QUESTIONS = 8
_LINES = 8  # of a quotation


def as_html(summary: Summary) -> str:
    """One page; every text is escaped."""
    words, fields = wording(summary.language), summary.fields
    sections: list[str] = [
        _heading(words.subjective),
        *_own_words(summary, words),
        _paragraph(
            "; ".join(f"{label}{words.colon}{_short(value)}" for label, value in summary.about)
            or f"{words.about}{words.colon}{words.not_told}"
        ),
        _heading(words.objective),
        _list((_measured(one, words) for one in summary.measured), words, _MEASURED)
        or _paragraph(words.nothing_measured),
        _heading(words.assessment),
        _paragraph(words.suggestion_note),
        f'<div class="suggestion">{_quotation(summary.suggestion, _ANSWER, words)}</div>'
        if summary.suggestion
        else _paragraph(words.no_answer),
        _list(summary.remarks, words),
        _heading(words.plan),
        _list(summary.advice, words),
        _paragraph(f"{words.earlier}{words.colon}"),
        _list(summary.earlier_if, words),
    ]
    if fields.emergency:
        sections.append(
            _paragraph(f"{words.call}{words.colon}{words.comma.join(fields.emergency)}")
        )
    if summary.crisis and fields.crisis_lines:
        lines = words.comma.join(fields.crisis_lines)
        sections.append(_paragraph(f"{words.crisis_lines}{words.colon}{lines}"))
    sections += [
        _heading(words.rules),
        _list(
            (
                f"{rule.rule} ({words.urgency.get(rule.urgency, rule.urgency)})"
                + (f"{words.colon}“{_short(rule.words, _QUOTED)}”" if rule.words else "")
                for rule in summary.rules
            ),
            words,
        )
        or _paragraph(words.no_rules),
        _heading(words.questions),
        _list(summary.questions, words, _QUESTIONS),
        _heading(words.made_with),
        '<p class="made">'
        + html.escape(
            "; ".join(f"{label}{words.colon}{_short(value)}" for label, value in made_with(summary))
        )
        + "</p>",
    ]
    template = files("sparsedoctor.app.consultation.summary").joinpath("page.html")
    return Template(template.read_text("utf-8")).substitute(
        language="zh-CN" if summary.language == "zh" else "en",
        title=html.escape(words.title),
        disclaimer=html.escape(DISCLAIMER[summary.language]),
        urgency=html.escape(words.urgency[summary.urgency]),
        sections="\n".join(section for section in sections if section),
    )


def _own_words(summary: Summary, words: SummaryWording) -> Iterable[str]:
    """As much of every turn as fits; the first ones are the complaint."""
    room = _OWN_WORDS
    for number, turn in enumerate(summary.own_words):
        if room < 100 and number:
            yield _paragraph(words.shortened)
            return
        yield _quotation(turn.words, room, words)
        room -= max(_columns(turn.words), 90)


def _quotation(text: str, room: int, words: SummaryWording) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    short = _cut("\n".join(lines[:_LINES]), room)
    note = "" if short == "\n".join(lines) else f" … {words.shortened}"
    return f"<blockquote>{html.escape(short + note)}</blockquote>"


def _short(text: str, room: int = _LINE) -> str:
    line = " ".join(text.split())
    short = _cut(line, room)
    return line if short == line else f"{short} …"


def _cut(text: str, room: int) -> str:
    """The beginning of `text` that is at most `room` columns wide."""
    used = 0
    for place, character in enumerate(text):
        used += 1 if character.isascii() else 2
        if used > room:
            return text[:place].rstrip()
    return text


def _columns(text: str) -> int:
    return sum(1 if character.isascii() else 2 for character in text)


def _measured(measurement: Measurement, words: SummaryWording) -> str:
    unit = "" if measurement.unit else f" ({words.no_unit})"
    name = words.measured[measurement.kind]
    return f"{name}{words.colon}{measurement.text}{unit} (“{_short(measurement.words, _QUOTED)}”)"


def _list(lines: Iterable[str], words: SummaryWording, most: int = _ENTRIES) -> str:
    entries = [line for line in lines if line]
    shown = [_short(line) for line in entries[:most]]
    if len(entries) > most:
        shown.append(words.shortened)
    items = "".join(f"<li>{html.escape(line)}</li>" for line in shown)
    return f"<ul>{items}</ul>" if items else ""


def _heading(text: str) -> str:
    return f"<h2>{html.escape(text)}</h2>"


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"
