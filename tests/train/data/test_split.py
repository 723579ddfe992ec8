"""A held-out part shares no topic with the trained part and never changes by itself."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.data.example import Example, Turn
from sparsedoctor.train.data.formats import read_examples
from sparsedoctor.train.data.split import shared_topics, split_by_topic


def _example(line: int, topic: str | None) -> Example:
    return Example((Turn("user", f"q{line}"), Turn("assistant", "a")), topic, "f", line)


def _topics(examples: list[Example]) -> set[str | None]:
    return {example.topic for example in examples}


@given(
    st.lists(st.sampled_from("abcdefghijklmnopqrst"), min_size=1, max_size=60),
    st.floats(0, 0.9),
    st.integers(0, 5),
)
def test_no_topic_is_on_both_sides_and_nothing_is_lost(
    topics: list[str], fraction: float, seed: int
) -> None:
    examples = [_example(line, topic) for line, topic in enumerate(topics)]
    try:
        train, held = split_by_topic(examples, fraction, seed)
    except SparseDoctorError:  # too few topics; tested below
        assume(False)
    assert not _topics(train) & _topics(held)
    assert sorted(train + held, key=lambda e: e.line) == examples
    assert len(held) >= fraction * len(examples)


def test_the_split_depends_on_names_and_seed_not_on_order() -> None:
    examples = [_example(line, f"topic {line % 40}") for line in range(200)]
    shuffled = random.Random(0).sample(examples, len(examples))
    _, held = split_by_topic(examples, 0.2, seed=3)
    _, again = split_by_topic(shuffled, 0.2, seed=3)
    _, other = split_by_topic(examples, 0.2, seed=4)
    assert _topics(held) == _topics(again)
    assert _topics(held) != _topics(other)
    assert 0.2 * 200 <= len(held) <= 0.25 * 200


def test_the_same_disease_in_other_letters_is_one_topic() -> None:
    examples = [_example(line, name) for line, name in enumerate(["Gout", "gout ", "GOUT", "Flu"])]
    train, held = split_by_topic(examples, 0.5, seed=0)
    assert {len(train), len(held)} in ({1, 3},)


def test_without_topics_the_same_question_stays_on_one_side() -> None:
    examples = [
        Example((Turn("user", f"q{n % 10}"), Turn("assistant", str(n))), None, "f", n)
        for n in range(40)
    ]
    train, held = split_by_topic(examples, 0.3, seed=0)
    assert not {e.question for e in train} & {e.question for e in held}
    assert len(held) == 12


def test_nothing_held_out_and_nothing_left() -> None:
    examples = [_example(line, "only") for line in range(5)]
    assert split_by_topic(examples, 0, seed=0) == (examples, [])
    with pytest.raises(SparseDoctorError, match="nothing to train on: the data has 1 topic"):
        split_by_topic(examples, 0.1, seed=0)
    with pytest.raises(SparseDoctorError, match="held-out fraction is 1"):
        split_by_topic(examples, 1, seed=0)


def test_the_published_training_file_is_split_by_focus(shared_data: Path) -> None:
    examples = read_examples(shared_data / "train/medquad_train.jsonl.gz")
    train, held = split_by_topic(examples, 0.05, seed=0)
    # A few rows name no focus; each of their questions is a topic of its own.
    assert _topics(train) & _topics(held) <= {None}
    assert not {e.question for e in train if not e.topic} & {
        e.question for e in held if not e.topic
    }
    assert 0.05 <= len(held) / len(examples) < 0.06


def test_topics_on_both_sides_are_found_whatever_their_case_and_spaces() -> None:
    train = [_example(1, "Straße  fever"), _example(2, "STRASSE fever"), _example(3, "asthma")]
    held_out = [_example(4, "strasse FEVER "), _example(5, "gout")]
    both, sharing = shared_topics(train, held_out)
    assert len(both) == 1
    assert sharing == train[:2]
