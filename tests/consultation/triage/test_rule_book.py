"""Every rule fires on its own examples and is silent on the others; a wrong file is refused."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from opencc import OpenCC

from sparsedoctor.app.consultation.triage import assess
from sparsedoctor.app.consultation.triage.book import Rule, compile_rules, rule_book
from sparsedoctor.core.errors import SparseDoctorError

RULES = rule_book().rules
FIRES = [(rule, text) for rule in RULES for text in rule.fires_on]
SILENT = [(rule, text) for rule in RULES for text in rule.silent_on]

RULE: dict[str, Any] = {
    "id": "test.cough",
    "urgency": "days",
    "when": "cough",
    "say": {"en": "rest", "zh": "休息"},
    "why": {"en": "so", "zh": "因"},
    "source": "none",
    "examples": {"fires": ["a cough"], "silent": ["a cold"]},
}
FILE: dict[str, Any] = {"concepts": {"cough": {"en": "cough", "zh": "咳"}}, "rules": [RULE]}


def fired(text: str) -> list[str]:
    return [finding.rule for finding in assess(text).findings]


@pytest.mark.parametrize(("rule", "text"), FIRES, ids=[f"{r.id}: {t}" for r, t in FIRES])
def test_a_rule_fires_on_its_own_examples(rule: Rule, text: str) -> None:
    assert rule.id in fired(text)


@pytest.mark.parametrize(("rule", "text"), SILENT, ids=[f"{r.id}: {t}" for r, t in SILENT])
def test_a_rule_is_silent_on_its_counter_examples(rule: Rule, text: str) -> None:
    assert rule.id not in fired(text)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_has_examples_and_texts_in_both_languages(rule: Rule) -> None:
    for examples in (rule.fires_on, rule.silent_on):
        assert any(text.isascii() for text in examples) or any("'" in t for t in examples)
        assert any("\u4e00" <= letter <= "\u9fff" for text in examples for letter in text)
    assert all(rule.say[language] and rule.why[language] for language in ("en", "zh"))
    assert rule.source


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_what_a_rule_says_is_whole_sentences(rule: Rule) -> None:
    """A list of phrases to look for once stood behind what to do in a seizure."""
    for texts in (rule.say, rule.why):
        for text in texts.values():
            assert text.endswith((".", "。", "！", "!")), text
            assert len(text) <= 350, text
        assert ", " not in texts["zh"]


def test_traditional_characters_are_read_like_simplified_ones() -> None:
    convert = OpenCC("s2t").convert
    for rule, text in FIRES:
        if not text.isascii():
            assert rule.id in fired(convert(text)), convert(text)


def changed(**changes: Any) -> dict[str, Any]:
    file = deepcopy(FILE)
    file["rules"][0].update(changes)
    return file


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (changed(when="coug"), "no concept or finding coug"),
        (changed(when="cough &"), "something is missing"),
        (changed(when="(cough"), "bracket is not closed"),
        (changed(when="height > 3"), "no measure height"),
        (changed(when="@tall"), "no flag @tall"),
        (changed(urgency="soon"), "urgency must be one of"),
        (changed(say="nothing"), "no advice called nothing"),
        (changed(say={"en": "only"}), "a text in en and in zh"),
        (changed(say={"en": "rest., <cant> wake", "zh": "休息"}), "say: no text"),
        (changed(why={"en": "so", "zh": "因, 叫..不醒"}), "why: no text"),
        (changed(examples={"fires": ["x"]}), "at least one under 'silent'"),
        (changed(colour="red"), "unknown key colour"),
        ({**FILE, "rules": [RULE, RULE]}, "the same id twice"),
        ({**FILE, "findings": {"cough": "cough"}}, "both a concept and a finding"),
        ({**FILE, "concepts": {"cough": {"en": "cough,, x", "zh": "咳"}}}, "empty phrase"),
        ({**FILE, "concepts": {"cough": {"fr": "toux"}}}, "needs en and zh"),
        ({**FILE, "concepts": {"cough": {}}}, "has no words"),
        ({**FILE, "concepts": {"cough": {"en": "<nt> stop coughing"}}}, "no word class nt"),
        ({**FILE, "findings": {"a": "b", "b": "a"}}, "findings that name each other"),
        (changed(when="3 of (cough, cough)"), "3 of 2 can never hold"),
        (changed(when="2 of cough"), "a bracket must follow"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(file: dict[str, Any], said: str) -> None:
    with pytest.raises(SparseDoctorError, match=r"test\.yaml|rules") as error:
        compile_rules({"test.yaml": file})
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_field_is_named() -> None:
    file = deepcopy(FILE)
    del file["rules"][0]["source"]
    with pytest.raises(SparseDoctorError, match="source is missing"):
        compile_rules({"test.yaml": file})
