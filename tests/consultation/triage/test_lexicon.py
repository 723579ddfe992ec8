"""Word classes, gaps and counts: how a phrase may differ from what was written down."""

from __future__ import annotations

from typing import Any

import pytest

from sparsedoctor.app.consultation.triage.assess import Reading
from sparsedoctor.app.consultation.triage.book import RuleBook, compile_rules
from sparsedoctor.app.consultation.triage.expression import parse
from sparsedoctor.app.consultation.triage.lexicon import Lexicon

CLASSES = {"cant": ("cant", "unable to", "不能", "没法")}
LEXICON = Lexicon(
    {
        "awake": ("<cant> keep .. awake", "<cant>..醒"),
        "pain": ("pain",),
        "sick": ("sick",),
        "pale": ("pale",),
    },
    {},
    classes=CLASSES,
)


def concepts(text: str) -> set[str]:
    return set(LEXICON.find(LEXICON.read(text)))


@pytest.mark.parametrize(
    "text",
    ["I can't keep him awake", "unable to keep my old dad awake", "没法把他叫醒", "不能弄醒"],
)
def test_a_class_stands_for_each_of_its_words_and_a_gap_for_some_words(text: str) -> None:
    assert "awake" in concepts(text)


@pytest.mark.parametrize(
    "text",
    [
        "I can't keep calm, he is awake",  # not over a comma
        "I can't keep it and he is awake",  # not over "and"
        "I can't keep on with what he did while awake",  # not over many words
        "keep him awake",
    ],
)
def test_a_gap_ends_with_the_statement(text: str) -> None:
    assert "awake" not in concepts(text)


def test_a_hyphen_inside_a_word_and_contractions_make_no_difference() -> None:
    lexicon = Lexicon({"birth": ("c section",), "wish": ("want to die",)}, {})
    for text in ("after my c-section", "after my C section"):
        assert "birth" in lexicon.find(lexicon.read(text))
    for text in ("i wanna die", "i want to die"):
        assert "wish" in lexicon.find(lexicon.read(text))


def test_a_space_between_chinese_words_is_read_as_a_comma() -> None:
    text = LEXICON.read("没有发烧 胸口疼")
    assert [text.is_comma(token) for token in range(len(text))].count(True) == 1
    assert text.words(0, 4) == "没有发烧"


BOOK = compile_rules(
    {
        "test.yaml": {
            "concepts": {
                "pain": {"en": "pain"},
                "sick": {"en": "sick"},
                "pale": {"en": "pale"},
            },
            "findings": {"ill": "2 of (pain, sick, pale)", "worse": "ill & pain"},
        }
    }
)


def reading(text: str, book: RuleBook = BOOK) -> Reading:
    return Reading(book, text, None, None, False, ())


@pytest.mark.parametrize(
    ("text", "holds"),
    [("pale and sick", True), ("pain", False), ("pain, pain, pain", False), ("", False)],
)
def test_signs_are_counted_by_kind(text: str, holds: bool) -> None:
    assert bool(reading(text).spans("ill")) is holds
    assert bool(reading(text).somewhere("ill")) is holds


@pytest.mark.parametrize(
    "source",
    ["pain ~ sick | pale", "worse", "(pain | sick) ^ pale & ill", "temp >= 38 | pain & sick"],
)
@pytest.mark.parametrize(
    "text", ["pain and sick", "pale. pain. sick", "nothing", "temp 39.2", "sick pale pain"]
)
def test_one_place_is_found_just_where_any_is(source: str, text: str) -> None:
    expression, _ = parse(source, BOOK.findings)
    facts: Any = reading(text)
    everywhere = expression.everywhere(facts)
    somewhere = expression.somewhere(facts)
    assert bool(everywhere) == bool(somewhere)


def test_what_an_expression_needs_is_necessary() -> None:
    expression, _ = parse("(pain | sick) & pale", BOOK.findings)
    assert expression.needs == (frozenset({"pain", "sick"}), frozenset({"pale"}))
    assert parse("pain | @child", BOOK.findings)[0].needs == ()
