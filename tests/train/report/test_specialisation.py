"""Topic and expert: what is shared, and what would seem shared by chance."""

from __future__ import annotations

import numpy as np
import pytest

from sparsedoctor.train.report.specialisation import mutual_information, specialisation


def _draw(examples: int, strength: float, seed: int) -> tuple[tuple[str, ...], np.ndarray]:
    """Two layers of four experts; only the second one follows the topic, by `strength`."""
    generator = np.random.default_rng(seed)
    topics, counts = [], np.zeros((examples, 2, 4))
    for number in range(examples):
        topic = int(generator.integers(4))
        topics.append("abcd"[topic])
        preference = np.ones((2, 4))
        preference[1, topic] += strength
        for layer in range(2):
            # The tokens of one answer are alike: a draw of its own for every example.
            own = generator.dirichlet(8 * preference[layer] / preference[layer].sum())
            counts[number, layer] = generator.multinomial(60, own)
    return tuple(topics), counts


def test_known_tables_have_their_known_information() -> None:
    even = np.full((4, 4), 1 / 16)
    one_to_one = np.eye(4) / 4
    binary = np.array([[0.4, 0.1], [0.1, 0.4]])
    assert mutual_information(even) == pytest.approx(0, abs=1e-12)
    assert mutual_information(one_to_one) == pytest.approx(2)  # bits
    entropy = -(0.8 * np.log2(0.8) + 0.2 * np.log2(0.2))
    assert mutual_information(binary) == pytest.approx(1 - entropy)


def test_a_topic_that_is_followed_stands_above_its_baseline() -> None:
    topics, counts = _draw(240, strength=4, seed=0)
    found = specialisation(topics, counts, permutations=200)
    assert found is not None
    assert found.strongest == 1
    assert found.information[1] > np.quantile(found.shuffled[:, 1], 0.99)
    assert found.information[0] < np.quantile(found.shuffled[:, 0], 0.99)
    assert found.p_value == pytest.approx(1 / 201)
    assert found.lift[1].argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_without_preference_the_baseline_is_not_exceeded_more_often_than_chance() -> None:
    below = 0
    for seed in range(40):
        topics, counts = _draw(80, strength=0, seed=seed)
        found = specialisation(topics, counts, permutations=100, seed=seed)
        assert found is not None
        assert found.mean > 0  # a finite sample always seems to share something
        below += found.p_value <= 0.05
    assert below <= 6  # 2 expected; more than 6 of 40 has probability 0.004


def test_rows_are_shares_and_long_answers_weigh_no_more() -> None:
    topics = ("a",) * 5 + ("b",) * 5
    counts = np.ones((10, 1, 2))
    counts[0] = [[100_000, 0]]  # one very long answer
    found = specialisation(topics, counts, permutations=10)
    assert found is not None
    np.testing.assert_allclose(found.table.sum(axis=2), 1)
    np.testing.assert_allclose(found.table[0, 0], [0.6, 0.4])
    assert found.examples == (5, 5)


def test_rare_topics_and_examples_without_choices_are_left_out() -> None:
    topics = ("a",) * 6 + ("b",) * 6 + ("rare",)
    counts = np.ones((13, 2, 3))
    counts[0, 1] = 0
    found = specialisation(topics, counts, permutations=10)
    assert found is not None
    assert found.topics == ("a", "b")
    assert found.examples == (5, 6)
    assert specialisation(topics[:6], counts[:6], permutations=10) is None


def test_the_same_choices_give_the_same_answer() -> None:
    topics, counts = _draw(60, strength=1, seed=3)
    one = specialisation(topics, counts, permutations=50, seed=1)
    two = specialisation(topics, counts, permutations=50, seed=1)
    assert one is not None
    assert two is not None
    np.testing.assert_array_equal(one.shuffled, two.shuffled)
