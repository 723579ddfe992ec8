"""The rule book: every file under rules/, read, checked and compiled once.

What is wrong in a file is told with the file, the rule and what was expected, at start and not in
the middle of a consultation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.resources import files
from typing import Any

import yaml

from sparsedoctor.app.consultation.assessment import Urgency
from sparsedoctor.app.consultation.triage.expression import Expression, ExpressionError, parse
from sparsedoctor.app.consultation.triage.lexicon import Lexicon
from sparsedoctor.core.errors import SparseDoctorError

MEASURES = frozenset(
    """temp spo2 sys dia pulse breaths sugar age days weeks points pieces stings potassium sodium
    inr platelets haemoglobin neutrophils adult_pulse adult_breaths""".split()  # noqa: SIM905
)
FLAGS = frozenset(["pregnant", "female", "male", "infant", "child", "elderly"])
_LANGUAGES = ("en", "zh")
_PATTERN_SIGNS = frozenset("<>")  # of phrases that a rule looks for, not of what it says
_KEYS = {"id", "urgency", "when", "say", "why", "source", "examples", "crisis", "unreal_too"}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; texts by language ("en", "zh")."""

    id: str
    urgency: Urgency
    when: Expression
    say: Mapping[str, str]
    why: Mapping[str, str]
    source: str
    fires_on: tuple[str, ...]  # its own examples, run as tests
    silent_on: tuple[str, ...]
    crisis: bool = False
    unreal_too: bool = False  # also when the words are put as a question or a story


@dataclass(frozen=True, slots=True)
class RuleBook:
    rules: tuple[Rule, ...]  # most urgent first
    lexicon: Lexicon
    concepts: frozenset[str]
    findings: Mapping[str, Expression]


@cache
def rule_book() -> RuleBook:
    """The rules that ship with this package."""
    folder = files("sparsedoctor.app.consultation.triage").joinpath("rules")
    sources = {
        file.name: yaml.load(file.read_text("utf-8"), Loader=_LOADER)
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".yaml")
    }
    return compile_rules(sources)


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def compile_rules(sources: Mapping[str, Mapping[str, Any]]) -> RuleBook:
    """Check and compile rule files (name -> parsed YAML). Raises SparseDoctorError."""
    concepts: dict[str, tuple[str, ...]] = {}
    aliases: dict[str, str] = {}
    never_corrected: set[str] = set()
    classes: dict[str, tuple[str, ...]] = {}
    named: dict[str, str] = {}  # concept -> file
    definitions: dict[str, tuple[str, str]] = {}  # finding -> file, expression
    advice: dict[str, Mapping[str, str]] = {}
    written: list[tuple[str, Mapping[str, Any]]] = []
    for name, source in sources.items():
        _check(isinstance(source, Mapping), name, "the file must be a mapping")
        aliases.update(source.get("aliases", {}))
        never_corrected.update(str(source.get("never_corrected", "")).split())
        for word_class, words in source.get("classes", {}).items():
            _check(word_class not in classes, name, f"the class {word_class} exists already")
            classes[word_class] = _phrases(words, f"{name}: {word_class}")
        for concept, words in source.get("concepts", {}).items():
            _check(concept not in concepts, name, f"the concept {concept} exists already")
            concepts[concept] = _phrases(words, f"{name}: {concept}")
            named[concept] = name
        for finding, expression in source.get("findings", {}).items():
            _check(finding not in definitions, name, f"the finding {finding} exists already")
            definitions[finding] = (name, _joined(expression))
        for key, texts in source.get("advice", {}).items():
            advice[key] = _texts(texts, f"{name}: advice {key}")
        written.extend((name, rule) for rule in source.get("rules", ()))
    for concept, phrases in concepts.items():
        unknown = set(re.findall("<([a-z_]*)>", " ".join(phrases))) - classes.keys()
        where = f"{named[concept]}: {concept}"
        _check(not unknown, where, f"there is no word class {', '.join(sorted(unknown))}")
    known = concepts.keys() | definitions.keys()
    clash = concepts.keys() & definitions.keys()
    _check(not clash, "rules", f"both a concept and a finding: {', '.join(sorted(clash))}")
    findings: dict[str, Expression] = {}
    for finding in _in_order(definitions):
        name, text = definitions[finding]
        findings[finding] = _expression(text, f"{name}: {finding}", known, findings)
    rules = [_rule(name, rule, known, advice, findings) for name, rule in written]
    ids = [rule.id for rule in rules]
    twice = {id for id in ids if ids.count(id) > 1}
    _check(not twice, "rules", f"the same id twice: {', '.join(sorted(twice))}")
    order = list(Urgency)
    rules.sort(key=lambda rule: (not rule.crisis, order.index(rule.urgency)))
    return RuleBook(
        tuple(rules),
        Lexicon(concepts, aliases, frozenset(never_corrected), classes),
        frozenset(concepts),
        findings,
    )


def _in_order(definitions: Mapping[str, tuple[str, str]]) -> list[str]:
    """The findings, each after those that it names. Raises SparseDoctorError for a circle."""
    names = {
        finding: set(re.findall("[a-z_][a-z_0-9]*", text)) & definitions.keys()
        for finding, (_, text) in definitions.items()
    }
    try:
        return list(TopologicalSorter(names).static_order())
    except CycleError as error:
        raise SparseDoctorError(
            f"rule file rules: findings that name each other: {', '.join(error.args[1])}"
        ) from None


def _rule(
    file: str,
    source: Mapping[str, Any],
    known: set[str],
    advice: Mapping[str, Mapping[str, str]],
    findings: Mapping[str, Expression],
) -> Rule:
    where = f"{file}: {source.get('id', 'a rule without id')}"
    unknown = source.keys() - _KEYS
    _check(not unknown, where, f"unknown key {', '.join(sorted(unknown))}")
    for key in ("id", "urgency", "when", "say", "why", "source", "examples"):
        _check(key in source, where, f"{key} is missing")
    urgencies = [urgency.value for urgency in Urgency if urgency is not Urgency.UNCLEAR]
    _check(source["urgency"] in urgencies, where, f"urgency must be one of {', '.join(urgencies)}")
    say = source["say"]
    if isinstance(say, str):
        _check(say in advice, where, f"there is no advice called {say}")
        say = advice[say]
    examples = source["examples"]
    for kind in ("fires", "silent"):
        _check(bool(examples.get(kind)), where, f"examples need at least one under {kind!r}")
    return Rule(
        id=source["id"],
        urgency=Urgency(source["urgency"]),
        when=_expression(_joined(source["when"]), where, known, findings),
        say=_texts(say, f"{where}: say"),
        why=_texts(source["why"], f"{where}: why"),
        source=str(source["source"]),
        fires_on=tuple(examples["fires"]),
        silent_on=tuple(examples["silent"]),
        crisis=bool(source.get("crisis", False)),
        unreal_too=bool(source.get("unreal_too", False)),
    )


def _expression(
    text: str, where: str, known: set[str], findings: Mapping[str, Expression]
) -> Expression:
    try:
        expression, names = parse(text, findings)
    except ExpressionError as error:
        raise SparseDoctorError(f"rule file {where}: {error}") from None
    for name in names:
        if name.endswith("="):
            _check(name[:-1] in MEASURES, where, f"there is no measure {name[:-1]}")
        elif name.startswith("@"):
            _check(name[1:] in FLAGS, where, f"there is no flag {name}")
        else:
            bare = name.removeprefix("has:")
            _check(bare in known, where, f"there is no concept or finding {bare}")
    return expression


def _joined(expression: str | list[str]) -> str:
    """A list means: any of these."""
    if isinstance(expression, str):
        return expression
    return " | ".join(f"({part})" for part in expression)


def _phrases(words: Any, where: str) -> tuple[str, ...]:
    _check(isinstance(words, Mapping) and words.keys() <= set(_LANGUAGES), where, "needs en and zh")
    phrases = [phrase.strip() for text in words.values() for phrase in re.split("[,，]", str(text))]
    _check(bool(phrases), where, "has no words")
    _check(all(phrases), where, "has an empty phrase (two commas in a row?)")
    return tuple(phrases)


def _texts(texts: Any, where: str) -> Mapping[str, str]:
    _check(
        isinstance(texts, Mapping) and all(texts.get(language) for language in _LANGUAGES),
        where,
        "needs a text in en and in zh",
    )
    found = {language: str(texts[language]).strip() for language in _LANGUAGES}
    for text in found.values():
        _check(_PATTERN_SIGNS.isdisjoint(text) and ".." not in text, where, f"no text: {text!r}")
    return found


def _check(holds: bool, where: str, problem: str) -> None:
    if not holds:
        raise SparseDoctorError(f"rule file {where}: {problem}")
