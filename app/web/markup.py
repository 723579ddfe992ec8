"""The pieces of the page as HTML. Everything that is not ours is escaped. Pure."""

from __future__ import annotations

from html import escape

from sparsedoctor.app.consultation.assessment import Assessment
from sparsedoctor.app.routing_view import ExpertShare, LayerRow, heat
from sparsedoctor.app.turn_view import TurnView
from sparsedoctor.app.web.texts import PageTexts
from sparsedoctor.app.web.visit import ShownTurn
from sparsedoctor.app.wording import (
    failed,
    is_alarm,
    is_silent,
    language_of_interface,
    numbers_to_call,
    remarks_of,
    urgency_title,
    wording,
)

Message = dict[str, str]


def messages(turns: list[ShownTurn]) -> list[Message]:
    """The conversation as the chat component wants it: role and content of every message."""
    said: list[Message] = []
    for turn in turns:
        said.append({"role": "user", "content": as_typed(turn.words)})
        if turn.view.assessment is not None and not is_silent(turn.view.assessment):
            said.append({"role": "assistant", "content": card(turn.view.assessment)})
        if turn.view.questions:
            said.append({"role": "assistant", "content": _questions(turn.view)})
        if turn.view.text:
            said.append({"role": "assistant", "content": as_markdown(turn.view.text)})
        remarks = _remarks(turn)
        if remarks:
            said.append({"role": "assistant", "content": remarks})
    return said


def as_typed(words: str) -> str:
    """A person's words exactly as typed: no Markdown, no HTML, the lines kept."""
    return f'<div class="words">{escape(words).replace(chr(10), "<br>")}</div>'


def as_markdown(text: str) -> str:
    """A model's words: Markdown yes, but no HTML ("<5 mmol/l" is text) and no pictures.

    A picture's address would be fetched by the browser: a way out for a conversation.
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("![", "!\\[")


def card(assessment: Assessment) -> str:
    """What the rules say to one question."""
    words = wording(assessment.language)
    rows = [f"<strong>{escape(urgency_title(assessment))}</strong>"]
    if is_alarm(assessment):
        rows += [f"<p class='call'>{escape(line)}</p>" for line in numbers_to_call(assessment)]
    for finding in assessment.findings:
        why = words.why.format(finding.why) + f" ({words.your_words.format(finding.words)})"
        rows.append(f"<p>{escape(finding.advice)}</p><p class='why'>{escape(why)}</p>")
    kind = "crisis" if assessment.crisis else assessment.urgency.value
    return f'<div class="card card-{kind}">{"".join(rows)}</div>'


def alarm(assessment: Assessment | None) -> str:
    """The banner above the conversation; empty without an emergency or crisis."""
    if assessment is None:
        return ""
    lines = "".join(f"<span>{escape(line)}</span>" for line in numbers_to_call(assessment))
    title = escape(urgency_title(assessment))
    return f'<div class="alarm" role="alert"><strong>{title}</strong>{lines}</div>'


def routing(
    shares: tuple[ExpertShare, ...], rows: tuple[LayerRow, ...], caption: str, said: PageTexts
) -> str:
    """Bars for each expert and the map of layers by experts."""
    bars = "".join(
        f'<div class="bar" role="img" aria-label="{escape(one.name)} {one.share:.0%}">'
        f"<span>{escape(one.name)}</span><span>{one.share:.0%}</span>"
        f'<i style="width:{100 * one.share:.1f}%"></i></div>'
        for one in shares
    )
    experts = len(shares)
    lines = "".join(
        f'<div class="layer"><span>{row.first}</span>'
        + "".join(f'<i style="--heat:{heat(share, experts):.2f}"></i>' for share in row.shares)
        + "</div>"
        for row in rows
    )
    return (
        f'<h3>{said.experts}</h3><p class="muted">{escape(caption)}</p>{bars}'
        f'<h3>{said.layers}</h3><div class="layers" aria-hidden="true">{lines}</div>'
        f'<p class="muted">{said.legend}</p>'
    )


def no_routing(reason: str, said: PageTexts) -> str:
    return f'<h3>{said.experts}</h3><p class="muted">{escape(reason)}</p>'


def _questions(view: TurnView) -> str:
    words = wording(language_of_interface(view.assessment))
    items = "".join(f"<li>{escape(question)}</li>" for question in view.questions)
    return f'<div class="questions">{escape(words.follow_up)}<ul>{items}</ul></div>'


def _remarks(turn: ShownTurn) -> str:
    language = language_of_interface(turn.view.assessment)
    lines = remarks_of(turn.view, language)
    if turn.error:
        lines.append(failed(turn.error, language))
    if not lines:
        return ""
    kind = "remarks error" if turn.error else "remarks"
    return f'<div class="{kind}">{"<br>".join(escape(line) for line in lines)}</div>'
