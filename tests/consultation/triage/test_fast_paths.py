"""What is fast must say the same as what is simple."""

from __future__ import annotations

import math

import pytest
from consultation.triage_cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedoctor.app.consultation.triage.assess import Reading
from sparsedoctor.app.consultation.triage.book import rule_book
from sparsedoctor.app.consultation.triage.learn import read_descriptions
from sparsedoctor.app.consultation.triage.likeness import DAMPING, likeness, stretches, table
from sparsedoctor.app.consultation.triage.text import normalise, read

_TEXTS = [text for sets in CASES.values() for texts in sets.values() for text in texts]
_BETWEEN = st.sampled_from([". ", "。", "\n\n", " ", "，", ", no ", "，没有"])


@st.composite
def conversations(draw: st.DrawFn) -> str:
    texts = draw(st.lists(st.sampled_from(_TEXTS), max_size=4))
    return "".join(text + draw(_BETWEEN) for text in texts)


def reading(text: str) -> Reading:
    return Reading(rule_book(), text, None, None, False, ())


def simple_scores(of: Reading) -> tuple[float, float]:
    """The formula as it stands in likeness.py, a stretch at a time."""
    learned = table()
    scores = [(-math.inf, -math.inf)]
    for stretch in stretches(of):
        weights = [learned.weights[feature] for feature in stretch if feature in learned.weights]
        scale = 1 / math.sqrt(len(weights) + DAMPING)
        sums = [math.fsum(weight[kind] for weight in weights) for kind in (0, 1)]
        scores.append((sums[0] * scale + learned.bias[0], sums[1] * scale + learned.bias[1]))
    return max(score[0] for score in scores), max(score[1] for score in scores)


@settings(max_examples=40)
@given(conversations())
def test_likeness_is_what_its_formula_says(text: str) -> None:
    of = reading(text)
    found = likeness(of)
    assert (found.emergency, found.crisis) == pytest.approx(simple_scores(of), abs=1e-9)


def test_likeness_of_each_seventh_description_is_what_its_formula_says() -> None:
    for described in read_descriptions()[::7]:
        of = described.reading
        found = likeness(of)
        assert (found.emergency, found.crisis) == pytest.approx(simple_scores(of), abs=1e-9)


@settings(max_examples=40)
@given(conversations())
def test_what_weighs_most_are_known_pairs_of_words_that_speak_for_an_emergency(text: str) -> None:
    of = reading(text)
    known = {
        span
        for stretch in stretches(of)
        for feature, span in stretch.items()
        if " " in feature and table().weights.get(feature, (0.0,))[0] > 0
    }
    spans = likeness(of).spans
    assert known.issuperset(spans)
    assert len(spans) <= 3
    assert spans == sorted(spans)


@settings(max_examples=40)
@given(st.text(max_size=200))
def test_the_tokens_of_any_text_stand_where_they_say(text: str) -> None:
    found = read(text)
    assert found.plain == normalise(text)
    assert len(found.plain) == len(text)
    assert len(found) == len(found.starts) == len(found.ends) == len(found.sentence)
    assert len(found.place) == len(found) + 1
    for start, end, key in zip(found.starts, found.ends, found.keys, strict=True):
        assert start < end <= len(text)
        if key >= "\u3400":
            assert found.plain[start:end] == key
    assert found.place == sorted(found.place)
    assert found.sentence == sorted(found.sentence)
