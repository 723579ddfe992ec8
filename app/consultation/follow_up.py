"""Which questions to ask before advice is given: at most three, only what is missing and matters.

Policy as data (follow_up.yaml): a complaint leads to questions, a question is dropped when the
words or the intake answer it. Nothing is asked in an emergency, a crisis or a general question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from sparsedoctor.app.consultation.assessment import Assessment, Urgency
from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.consultation.triage.assess import Reading
from sparsedoctor.app.consultation.triage.book import MEASURES, rule_book
from sparsedoctor.app.consultation.triage.expression import Expression, parse
from sparsedoctor.app.consultation.triage.lexicon import Lexicon
from sparsedoctor.core.errors import SparseDoctorError

MOST = 3  # questions at a time


@dataclass(frozen=True, slots=True)
class _Question:
    text: Mapping[str, str]
    known: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Policy:
    questions: Mapping[str, _Question]
    complaints: tuple[tuple[Expression, tuple[str, ...]], ...]
    lexicon: Lexicon  # the concepts that only the policy needs


def questions(
    words: str, assessment: Assessment, intake: Intake, language: Language
) -> tuple[str, ...]:
    """What to ask after `words`, at most three; empty when enough was said."""
    if assessment.urgency is Urgency.EMERGENCY or assessment.crisis or assessment.general:
        return ()
    policy = _policy()
    reading = Reading(rule_book(), words, intake.age, intake.sex, intake.pregnant, ())
    said = frozenset(policy.lexicon.find(policy.lexicon.read(words)))
    for complaint, names in policy.complaints:
        if complaint.somewhere(reading):
            missing = [name for name in names if not _known(policy.questions[name], reading, said)]
            return tuple(policy.questions[name].text[language] for name in missing[:MOST])
    return ()


def names_complaint(words: str, intake: Intake) -> bool:
    """Whether `words` hold a complaint that the policy knows."""
    reading = Reading(rule_book(), words, intake.age, intake.sex, intake.pregnant, ())
    return any(complaint.somewhere(reading) for complaint, _ in _policy().complaints)


def _known(question: _Question, reading: Reading, said: frozenset[str]) -> bool:
    return any(
        (bool(reading.measured(name[:-1])) if name.endswith("=") else False)
        or name in said
        # what was denied was said as well: "no vomiting" answers the question about vomiting
        or name in reading.found
        or bool(reading.spans(name))
        for name in question.known
    )


@cache
def _policy() -> _Policy:
    text = files("sparsedoctor.app.consultation").joinpath("follow_up.yaml").read_text("utf-8")
    source: Mapping[str, Any] = yaml.safe_load(text)
    book = rule_book()
    known = book.concepts | book.findings.keys()
    own = source["concepts"]
    asked: dict[str, _Question] = {}
    for name, entry in source["questions"].items():
        for concept in entry["known"]:
            if concept.removesuffix("=") not in known | own.keys() | MEASURES:
                raise SparseDoctorError(f"follow_up.yaml: {name}: there is no concept {concept}")
        asked[name] = _Question({"en": entry["en"], "zh": entry["zh"]}, tuple(entry["known"]))
    complaints = []
    for entry in source["complaints"]:
        expression, names = parse(entry["when"], book.findings)
        unknown = [n for n in names if not n.startswith("@") and n not in known]
        unknown += [name for name in entry["ask"] if name not in asked]
        if unknown:
            raise SparseDoctorError(f"follow_up.yaml: nothing is called {', '.join(unknown)}")
        complaints.append((expression, tuple(entry["ask"])))
    phrases = {
        name: [phrase.strip() for text in words.values() for phrase in text.split(",")]
        for name, words in own.items()
    }
    return _Policy(asked, tuple(complaints), Lexicon(phrases, {}))
