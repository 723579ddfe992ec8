"""Whatever a person or a model writes, the page shows it as text."""

from __future__ import annotations

import pytest

from sparsedoctor.app.consultation.assessment import Assessment, Finding, Numbers, Urgency
from sparsedoctor.app.consultation.consultation import Assessed
from sparsedoctor.app.turn_view import TurnView
from sparsedoctor.app.web import markup
from sparsedoctor.app.web.texts import texts
from sparsedoctor.app.web.visit import ShownTurn

EVIL = "<script>alert(1)</script>"
NUMBERS = Numbers("GB", ("999",), ("116 123",))


def test_a_persons_words_are_shown_as_typed() -> None:
    shown = markup.as_typed(f"**not bold** {EVIL}\nnext & last")
    assert "<script>" not in shown
    assert "**not bold**" in shown
    assert "<br>next &amp; last" in shown
    assert "\n" not in shown  # a blank line would end the HTML and begin Markdown


def test_a_models_html_and_pictures_are_text() -> None:
    shown = markup.as_markdown(f"**bold** {EVIL} <5 mmol/l ![x](https://evil.example/p.png)")
    assert "<" not in shown
    assert "**bold**" in shown
    assert "![" not in shown


def test_a_card_escapes_the_words_it_quotes() -> None:
    finding = Finding("r", Urgency.EMERGENCY, EVIL, EVIL, EVIL, "s")
    shown = markup.card(Assessment(Urgency.EMERGENCY, False, (finding,), NUMBERS, "en"))
    assert "<script>" not in shown
    assert "999" in shown


def test_a_crisis_shows_its_line_first() -> None:
    shown = markup.alarm(Assessment(Urgency.EMERGENCY, True, (), NUMBERS, "en"))
    assert shown.index("116 123") < shown.index("999")
    assert markup.alarm(None) == ""


def test_the_card_comes_before_the_answer() -> None:
    view = TurnView().apply(Assessed(Assessment(Urgency.TODAY, False, (), NUMBERS, "en")))
    before = markup.messages([ShownTurn("hello", view)])
    assert [message["role"] for message in before] == ["user", "assistant"]
    assert "See a doctor today" in before[1]["content"]


@pytest.mark.parametrize("name", [EVIL, '" onload="x'])
def test_expert_names_are_escaped(name: str) -> None:
    from sparsedoctor.app.routing_view import ExpertShare

    shown = markup.routing((ExpertShare(name, 1.0),), (), "1 token", texts("en"))
    assert "<script>" not in shown
    assert '" onload="' not in shown
