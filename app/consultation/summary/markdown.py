"""A summary in Markdown. What people and models wrote is quoted and cannot become markup."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sparsedoctor.app.consultation.summary.measurements import Measurement
from sparsedoctor.app.consultation.summary.soap import Summary, made_with
from sparsedoctor.app.consultation.summary.wording import DISCLAIMER, SummaryWording, wording

# what makes links, pictures (they would be loaded from elsewhere), HTML and code
_MARKUP = re.compile(r"[\\<>\[\]`]")


def escaped(text: str) -> str:
    """One line of text whose signs stay signs."""
    return _MARKUP.sub(lambda sign: "\\" + sign[0], " ".join(text.split()))


def quoted(text: str) -> str:
    """`text` as a Markdown quotation, line by line."""
    lines = _MARKUP.sub(lambda sign: "\\" + sign[0], text.strip()).splitlines() or [""]
    return "\n".join(f"> {line}".rstrip() for line in lines)


def as_markdown(summary: Summary) -> str:
    """The whole summary; nothing is shortened."""
    words, fields = wording(summary.language), summary.fields
    parts = [
        f"# {words.title}",
        f"*{DISCLAIMER[summary.language]}*",
        f"**{words.urgency[summary.urgency]}**",
        f"## {words.subjective}",
        f"{words.own_words}{words.colon.rstrip()}",
        *(quoted(turn.words) for turn in summary.own_words),
        f"{words.about}{words.colon.rstrip()}",
        _list(f"{label}{words.colon}{escaped(value)}" for label, value in summary.about)
        or words.not_told,
        f"## {words.objective}",
        _list(_measured(one, words) for one in summary.measured) or words.nothing_measured,
        f"## {words.assessment}",
        f"*{words.suggestion_note}*",
        quoted(summary.suggestion) if summary.suggestion else words.no_answer,
    ]
    if summary.remarks:
        parts += [f"{words.changed}{words.colon.rstrip()}", _list(map(escaped, summary.remarks))]
    parts += [f"## {words.plan}", _list(map(escaped, summary.advice))]
    parts += [f"{words.earlier}{words.colon.rstrip()}", _list(summary.earlier_if)]
    if fields.emergency:
        parts.append(f"{words.call}{words.colon}{words.comma.join(fields.emergency)}")
    if summary.crisis and fields.crisis_lines:
        parts.append(f"{words.crisis_lines}{words.colon}{words.comma.join(fields.crisis_lines)}")
    parts += [
        f"## {words.rules}",
        _list(
            escaped(f"{rule.rule} ({words.urgency.get(rule.urgency, rule.urgency)})")
            + (f"{words.colon}“{escaped(rule.words)}”" if rule.words else "")
            + (f" {escaped(rule.why)}" if rule.why else "")
            + (f" [{escaped(rule.source)}]".replace("[", "\\[") if rule.source else "")
            for rule in summary.rules
        )
        or words.no_rules,
        f"## {words.questions}",
        _list(map(escaped, summary.questions)),
        f"## {words.made_with}",
        _list(f"{label}{words.colon}{escaped(value)}" for label, value in made_with(summary)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _measured(measurement: Measurement, words: SummaryWording) -> str:
    unit = "" if measurement.unit else f" ({words.no_unit})"
    name = words.measured[measurement.kind]
    return f"{name}{words.colon}{measurement.text}{unit} (“{escaped(measurement.words)}”)"


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
