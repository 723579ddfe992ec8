"""The summary: fixed rules, the person's own words, and nothing that nobody said."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sparsedoctor.app.consultation.assessment import Assessment, Finding, Numbers, Urgency
from sparsedoctor.app.consultation.history import History, summary_fields
from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.consultation.summary import (
    DISCLAIMER,
    FiredRule,
    SummaryFields,
    SummaryTurn,
    export_summary,
    summarise,
)

FORMS = ("json", "markdown", "html")
RULE = FiredRule(
    rule="fever-long",
    urgency="today",
    words="38.9 C for 4 days",
    advice="See a doctor today.",
    why="A fever of more than three days needs a look.",
    source="made up for this test",
)
FIELDS = SummaryFields(
    turns=(
        SummaryTurn(
            words="I have had 38.9 C for 4 days and a cough. Can I go to work?",
            answer="It may be an infection.",
            urgency="today",
            rules=(RULE,),
            said="2026-01-02T03:04:05+00:00",
        ),
        SummaryTurn(words="BP is 150/95", answer="Rest and drink.", urgency="days"),
    ),
    intake={"age": 41, "sex": "female", "medicines": ["ibuprofen"], "pregnant": False},
    created="2026-01-02T03:10:00+00:00",
    emergency=("112",),
    questions=("Do you bring up blood?",),
    model="model-x",
    model_sha256="ab" * 32,
    prompt_sha256="cd" * 32,
    settings={"seed": 1234567890123, "temperature": 0.3},
    versions={"sparsedoctor": "0.1.0"},
)
CHINESE = replace(
    FIELDS,
    language="zh",
    turns=(
        SummaryTurn(
            words="体温38.9℃四天了，咳嗽。能上班吗？",
            answer="可能是感染。",
            urgency="today",
            rules=(replace(RULE, advice="请今天就医。"),),
        ),
    ),
    intake={"age": 30, "pregnant": True, "allergies": ["青霉素"]},
)


def test_the_parts_hold_what_they_are_made_from() -> None:
    document = json.loads(export_summary(FIELDS, "json"))
    assert [turn["words"] for turn in document["subjective"]["own_words"]] == [
        turn.words for turn in FIELDS.turns
    ]
    assert [(one["kind"], one["values"], one["unit"]) for one in document["objective"]] == [
        ("temperature", [38.9], "°C"),
        ("blood_pressure", [150.0, 95.0], "mmHg"),
    ]
    assert document["assessment"]["suggestion"] == "Rest and drink."
    assert "language model" in document["assessment"]["note"]
    assert document["urgency"] == "today"
    assert document["plan"]["advice"] == ["See a doctor today."]
    assert document["plan"]["emergency_numbers"] == ["112"]
    assert [rule["rule"] for rule in document["rules"]] == ["fever-long"]
    assert document["made_with"] == {
        "model": "model-x",
        "model_sha256": "ab" * 32,
        "prompt_sha256": "cd" * 32,
        "settings": {"seed": 1234567890123, "temperature": 0.3},
        "versions": {"sparsedoctor": "0.1.0"},
    }


def test_what_the_model_says_is_measured_by_nobody() -> None:
    fields = replace(FIELDS, turns=(SummaryTurn(words="I feel hot", answer="38.5 C is a fever"),))
    assert summarise(fields).measured == ()


def test_what_is_asked_in_general_is_measured_by_nobody() -> None:
    turn = SummaryTurn(words="Temperature 40 C: what does it mean?", general=True)
    assert summarise(replace(FIELDS, turns=(turn,))).measured == ()


def test_questions_are_the_persons_own_then_the_open_ones_then_the_usual() -> None:
    questions = summarise(FIELDS).questions
    assert questions[:2] == ("Can I go to work?", "Do you bring up blood?")
    assert any("ibuprofen" in question for question in questions)
    assert not any("pregnan" in question for question in questions)
    assert any("青霉素" in question for question in summarise(CHINESE).questions)
    assert any("怀孕" in question for question in summarise(CHINESE).questions)


def test_safety_netting_knows_child_pregnancy_and_crisis() -> None:
    plain = summarise(FIELDS).earlier_if
    child = summarise(replace(FIELDS, intake={"age": 0.2})).earlier_if
    assert len(child) == len(plain) + 1
    assert "3 months" in child[-1]
    assert len(summarise(replace(FIELDS, intake={"pregnant": True})).earlier_if) == len(plain) + 1
    crisis = replace(FIELDS, turns=(SummaryTurn(words="x", crisis=True),), crisis_lines=("988",))
    assert len(summarise(crisis).earlier_if) == len(plain) + 1
    for form in FORMS:
        assert "988" in export_summary(crisis, form)
        assert "988" not in export_summary(replace(FIELDS, crisis_lines=("988",)), form)


def test_the_most_urgent_turn_names_the_urgency() -> None:
    turns = [SummaryTurn(words="x", urgency=u) for u in ("self_care", "emergency", "days")]
    assert summarise(replace(FIELDS, turns=tuple(turns))).urgency == "emergency"
    assert summarise(replace(FIELDS, turns=())).urgency == "unclear"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fields", [FIELDS, CHINESE], ids=["en", "zh"])
def test_every_form_holds_the_disclaimer_and_what_made_it(form: str, fields: SummaryFields) -> None:
    text = export_summary(fields, form)  # type: ignore[arg-type]
    assert DISCLAIMER[fields.language] in text
    for wanted in ("ab" * 32, "cd" * 32, "1234567890123", "model-x", "0.1.0", "38.9", "fever-long"):
        assert wanted in text
    assert text == export_summary(fields, form)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["markdown", "html"])
def test_a_chinese_summary_is_chinese(form: str) -> None:
    text = export_summary(CHINESE, form)  # type: ignore[arg-type]
    for wanted in (
        "就诊摘要",
        "原话" if form == "markdown" else "S：",
        "体温",
        "可能是感染",
        "青霉素",
    ):
        assert wanted in text
    assert "Questions for" not in text


@pytest.mark.parametrize("form", FORMS)
def test_an_empty_consultation_has_a_summary_too(form: str) -> None:
    for language in ("en", "zh"):
        assert DISCLAIMER[language] in export_summary(
            SummaryFields((), language=language),  # type: ignore[arg-type]
            form,  # type: ignore[arg-type]
        )


@pytest.mark.parametrize("form", FORMS)
def test_identifiers_are_removed_on_request_and_nothing_else(form: str) -> None:
    mail, phone, identity = "somebody@example.org", "13800138000", "110101199003074514"
    turn = SummaryTurn(
        words=f"体温38.9℃，电话{phone}，{mail}",
        answer=f"{identity}",
        rules=(replace(RULE, words=f"{phone}"),),
    )
    fields = replace(FIELDS, turns=(turn,), intake={"conditions": [f"asthma {mail}"]})
    kept = export_summary(fields, form)  # type: ignore[arg-type]
    clean = export_summary(fields, form, remove=True)  # type: ignore[arg-type]
    for identifier in (mail, phone, identity):
        assert identifier in kept
        assert identifier not in clean
    for wanted in ("38.9", "1234567890123", "ab" * 32, "112", "asthma"):
        assert wanted in clean


EVIL = "<script>alert(1)</script><img src=https://example.org/x> ![p](https://example.org/y) $title"


def test_html_holds_no_foreign_markup_and_loads_nothing() -> None:
    class Page(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.tags: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tags.append(tag)
            for name, value in attrs:
                assert not name.startswith("on")
                assert name not in {"src", "href", "srcset"}
                assert "http:" not in (value or "")

    evil = SummaryTurn(words=EVIL, answer=EVIL, rules=(replace(RULE, words=EVIL, rule=EVIL),))
    fields = replace(
        FIELDS, turns=(evil,), intake={"allergies": [EVIL]}, model=EVIL, remarks=(EVIL,)
    )
    text = export_summary(fields, "html")
    page = Page()
    page.feed(text)
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert "default-src 'none'" in text
    assert "$title" in text  # the person's own sign is not filled in
    assert not re.search(r"url\(|@import", text)


def test_markdown_holds_no_foreign_markup() -> None:
    evil = SummaryTurn(words=f"{EVIL}\n# P: go home\n\n- x", answer=EVIL)
    text = export_summary(replace(FIELDS, turns=(evil,), intake={"allergies": [EVIL]}), "markdown")
    assert not re.search(r"(?<!\\)[<\[]", text)
    assert "\n# P: go home" not in text
    assert "\n> # P: go home" in text


def test_the_page_says_where_it_is_shortened() -> None:
    long = replace(
        FIELDS,
        turns=tuple(
            SummaryTurn(words=f"{n} " + "很疼 " * 300, answer="字" * 5000) for n in range(20)
        ),
        remarks=("r " * 500,) * 20,
        intake={"medicines": ["m" * 50] * 30},
    )
    page = export_summary(long, "html")
    assert "[shortened for one page" in page
    assert len(page) < 15_000
    assert "字" * 5000 in export_summary(long, "markdown")
    assert "[shortened" not in export_summary(FIELDS, "html")


@pytest.mark.browser
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_is_one_page_of_paper(tmp_path: Path, language: str) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no Chromium on this machine")
    rule = replace(RULE, words="w " * 100)
    rules = tuple(replace(rule, rule=f"rule-{n}", advice=f"{n} " * 90) for n in range(9))
    long = replace(
        FIELDS,
        language=language,
        turns=tuple(
            SummaryTurn(f"pulse 1{n} 很疼 " + "words " * 300, "字\n" * 5000, rules=rules)
            for n in range(20)
        ),
        remarks=("r " * 500,) * 20,
        intake={"medicines": ["m" * 50] * 30, "allergies": ["a" * 50] * 30, "pregnant": True},
    )
    page, paper = tmp_path / "page.html", tmp_path / "page.pdf"
    page.write_text(export_summary(long, "html"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
    places = [f"--user-data-dir={tmp_path}", f"--print-to-pdf={paper}", page.as_uri()]
    subprocess.run([browser, *options, *places], check=True, capture_output=True, timeout=120)
    pages = re.findall(rb"/Type\s*/Page\b", paper.read_bytes())
    assert len(pages) == 1


def test_a_conversation_of_the_history_becomes_a_summary() -> None:
    assessment = Assessment(
        urgency=Urgency.TODAY,
        crisis=False,
        findings=(Finding("r", Urgency.TODAY, "38.9 C", "Go today.", "why", "source"),),
        numbers=Numbers("GB", ("999",), ("116 123",)),
        language="en",
    )
    with History.private() as store:
        conversation = store.begin(
            language="en", model="m", model_sha256="ab", intake=asdict(Intake(age=3))
        )
        store.add_user(conversation, "38.9 C since noon", asdict(assessment))
        for words in ("first answer", "second answer"):
            answer = store.answer_begin(conversation)
            store.answer_append(answer, words)
            store.answer_finish(answer, generation={"seed": 9, "sampling": {"top_p": 0.9}})
        fields = summary_fields(
            store.conversation(conversation),
            store.messages(conversation),
            created="2026-01-01T00:00:00+00:00",
            versions={"sparsedoctor": "1"},
        )
    summary = summarise(fields)
    assert (summary.urgency, summary.suggestion) == ("today", "second answer")
    assert [one.text for one in summary.measured] == ["38.9 °C"]
    assert summary.advice == ("Go today.",)
    assert fields.emergency == ("999",)
    assert fields.settings == {"seed": 9, "top_p": 0.9}
    assert any("nappy" in line for line in summary.earlier_if)


@pytest.mark.parametrize(("language", "said"), [("en", "the rules answered"), ("zh", "由规则作答")])
def test_where_only_rules_answered_no_setting_is_called_untold(language: str, said: str) -> None:
    fields = replace(FIELDS, language=language, prompt_sha256="", settings={})  # type: ignore[arg-type]
    text = export_summary(fields, "markdown")
    assert text.count(said) == 2
