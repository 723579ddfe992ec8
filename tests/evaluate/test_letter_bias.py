"""Batch calibration, against values worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from sparsedoctor.train.evaluate.journal import Answer
from sparsedoctor.train.evaluate.letter_bias import without_letter_bias


def answer(name: str, gold: str, shares: Sequence[float], letters: str = "ABCDE") -> Answer:
    scores = {k: math.log(v) - 3 for k, v in zip(letters, shares, strict=False)}  # -3: all letters
    return Answer(name, gold, max(scores, key=lambda letter: scores[letter]), scores)


def test_a_share_is_divided_by_the_mean_of_the_other_questions() -> None:
    first, second = without_letter_bias(
        [answer("1", "A", (0.9, 0.1)), answer("2", "B", (0.6, 0.4))]
    )
    # 0.9 / 0.6 against 0.1 / 0.4, and 0.4 / 0.1 against 0.6 / 0.9.
    assert (first.chosen, second.chosen) == ("A", "B")
    assert math.exp(first.scores["A"]) == pytest.approx(6 / 7)
    assert math.exp(second.scores["B"]) == pytest.approx(6 / 7)
    assert (first.id, first.gold) == ("1", "A")


def test_what_a_model_knows_shows_behind_the_letter_it_likes() -> None:
    """It gives B to all; where another letter is right, that one has a little more than usual."""
    answers = []
    for i in range(40):
        gold = "ABCD"[i % 4]
        shares = dict(zip("ABCD", (0.1, 0.7, 0.1, 0.1), strict=True))
        shares[gold] *= 1.5
        whole = sum(shares.values())
        answers.append(answer(str(i), gold, [share / whole for share in shares.values()]))
    assert sum(one.correct for one in answers) == 10
    assert sum(one.correct for one in without_letter_bias(answers)) == 40


def test_the_order_of_questions_changes_nothing() -> None:
    answers = [answer(str(i), "A", (0.2 + i / 20, 0.8 - i / 20)) for i in range(9)]
    forwards = {one.id: one for one in without_letter_bias(answers)}
    for one in without_letter_bias(answers[::-1]):
        assert one.scores == pytest.approx(forwards[one.id].scores)


def test_questions_with_other_options_are_no_measure() -> None:
    four = [answer(str(i), "A", (0.4, 0.3, 0.2, 0.1)) for i in range(3)]
    five = answer("five", "E", (0.1, 0.1, 0.2, 0.2, 0.4))
    assert without_letter_bias([*four, five])[-1] is five


def test_sets_of_letters_and_unread_answers_stay_as_they_are() -> None:
    sets = [Answer(str(i), "AB", "AB", {"A": -1.0, "B": -2.0, "AB": -0.5 - i}) for i in range(3)]
    unread = [Answer(f"u{i}", "A", None, {"A": -50.0, "B": -50.0}) for i in range(3)]
    assert without_letter_bias([*sets, *unread]) == [*sets, *unread]


def test_a_probability_of_zero_breaks_nothing() -> None:
    answers = [
        Answer("1", "A", "A", {"A": 0.0, "B": -2000.0}),
        Answer("2", "B", "A", {"A": 0.0, "B": -1000.0}),
    ]
    for one in without_letter_bias(answers):
        assert all(math.isfinite(value) for value in one.scores.values())
