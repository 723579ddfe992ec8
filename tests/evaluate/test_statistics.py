"""Figures against values worked out by hand or by the published formula."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsedoctor.train.evaluate.questions import Question
from sparsedoctor.train.evaluate.statistics import (
    always_one_letter,
    answer_nats,
    chance,
    macro,
    macro_categories,
    mcnemar,
    mean_and_deviation,
    micro,
    paired_bootstrap,
    paired_loss,
    pairwise_accuracy,
    tally,
    wilson,
)


def question(
    number: int, subject: str = "s", answer: str = "A", options: str = "ABCD", **more: object
) -> Question:
    listed = {letter: f"text {letter}" for letter in options}
    return Question(str(number), "?", listed, answer, subject, "en", **more)  # type: ignore[arg-type]


def test_micro_weighs_questions_and_macro_weighs_subjects() -> None:
    questions = [question(0, "big"), question(1, "big"), question(2, "big"), question(3, "small")]
    rows = tally(questions, {"0": True, "1": False, "2": False, "3": True})
    assert micro(rows) == pytest.approx(2 / 4)
    assert macro(rows) == pytest.approx((1 / 3 + 1) / 2)


def test_macro_six_averages_classes_in_a_category_before_categories() -> None:
    questions = [
        question(0, "a1", category="a"),
        question(1, "a2", category="a"),
        question(2, "a2", category="a"),
        question(3, "b1", category="b"),
    ]
    correct = {"0": True, "1": False, "2": False, "3": True}
    assert macro_categories(questions, correct) == pytest.approx(((1 + 0) / 2 + 1) / 2)
    assert macro_categories([question(0)], {"0": True}) is None


def test_wilson_interval_of_a_textbook_case() -> None:
    low, high = wilson(15, 148)  # Newcombe 1998, table I: 0.0624 to 0.1605
    assert (round(low, 4), round(high, 4)) == (0.0624, 0.1605)


@pytest.mark.parametrize(("n", "half"), [(11_200, 0.0085), (6_811, 0.0109), (1_333, 0.0246)])
def test_half_widths_of_the_benchmarks_at_seventy_percent(n: int, half: float) -> None:
    low, high = wilson(round(0.7 * n), n)
    assert (high - low) / 2 == pytest.approx(half, abs=5e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_stays_within_bounds(case: tuple[int, int]) -> None:
    correct, n = case
    low, high = wilson(correct, n)
    assert 0 <= low <= correct / n <= high <= 1


def test_mcnemar_is_the_exact_binomial() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == 1.0
    assert mcnemar(1, 9) == pytest.approx(2 * (1 + 10) / 2**10)
    assert mcnemar(9, 1) == mcnemar(1, 9)
    assert mcnemar(0, 6) == pytest.approx(2 / 2**6)
    assert 0 < mcnemar(3_000, 3_300) < 0.001  # no overflow


def test_bootstrap_finds_the_difference_and_its_sign() -> None:
    found = paired_bootstrap([[1] * 20 + [0] * 80])
    assert found.difference == pytest.approx(0.2)
    # Standard error of a mean of 20 ones and 80 zeros: 0.04.
    assert found.low == pytest.approx(0.2 - 1.96 * 0.04, abs=0.015)
    assert found.high == pytest.approx(0.2 + 1.96 * 0.04, abs=0.015)
    assert found.p < 0.001
    assert paired_bootstrap([[-1] * 20 + [0] * 80]).difference == pytest.approx(-0.2)


def test_bootstrap_of_equal_runs_finds_nothing() -> None:
    found = paired_bootstrap([[0] * 40])
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)
    assert paired_bootstrap([[1, -1] * 20]).p > 0.5


def test_bootstrap_over_benchmarks_weighs_each_the_same() -> None:
    assert paired_bootstrap([[1] * 10, [0] * 1000]).difference == pytest.approx(0.5)


def test_several_seeds_of_a_question_are_no_further_questions() -> None:
    """The mean over three seeds that agree is as doubtful as one seed."""
    one = paired_bootstrap([[1] * 9 + [-1] * 3 + [0] * 50])
    three = paired_bootstrap([[(1 + 1 + 1) / 3] * 9 + [(-1 - 1 - 1) / 3] * 3 + [0.0] * 50])
    assert three == one


def test_bootstrap_repeats_itself_with_its_seed() -> None:
    differences = [[1, 0, -1, 0] * 9]
    assert paired_bootstrap(differences, seed=4) == paired_bootstrap(differences, seed=4)


def test_chance_of_single_and_multiple_questions() -> None:
    single, several = question(0), question(1, options="ABCDE", multiple=True)
    assert chance([single]) == pytest.approx(1 / 4)
    assert chance([several]) == pytest.approx(1 / 31)
    assert chance([single, several]) == pytest.approx((1 / 4 + 1 / 31) / 2)


def test_always_one_letter_never_hits_several() -> None:
    questions = [question(0, answer="A"), question(1, answer="B"), question(2, answer="AB")]
    assert always_one_letter(questions) == {"A": 1 / 3, "B": 1 / 3, "C": 0.0, "D": 0.0}


def test_deviation_over_seeds_is_the_sample_one() -> None:
    mean, deviation = mean_and_deviation([0.5, 0.6, 0.7])
    assert (mean, deviation) == (pytest.approx(0.6), pytest.approx(0.1))
    assert mean_and_deviation([0.5]) == (0.5, 0.0)
    assert not math.isnan(mean_and_deviation([0.1, 0.1])[1])


def test_the_right_answer_costs_its_share_among_the_candidates() -> None:
    scores = {"A": math.log(0.02), "B": math.log(0.06)}  # the model would rather write other words
    assert answer_nats(scores, "B") == pytest.approx(-math.log(0.75))
    assert answer_nats(dict.fromkeys("ABCD", -900.0), "C") == pytest.approx(math.log(4))


def test_the_right_answer_is_ranked_against_every_other_candidate() -> None:
    assert pairwise_accuracy({"A": -1.0, "B": -2.0, "C": -3.0, "D": -4.0}, "B") == 2 / 3
    assert pairwise_accuracy({"A": -1.0, "B": -1.0, "AB": -9.0}, "A") == 0.75  # one tie, one win
    assert pairwise_accuracy(dict.fromkeys("ABCDE", -900.0), "C") == 0.5
    assert pairwise_accuracy({"A": -1.0}, "A") == 0.5  # nothing to be told


@given(
    st.dictionaries(st.sampled_from("ABCDEFG"), st.integers(-5, 0), min_size=2),
    st.floats(0.1, 9),
    st.floats(-3, 3),
)
def test_how_sure_a_model_is_does_not_move_the_ranking(
    scores: dict[str, int], scale: float, shift: float
) -> None:
    for gold in scores:
        moved = {name: scale * value + shift for name, value in scores.items()}
        assert pairwise_accuracy(moved, gold) == pairwise_accuracy(scores, gold)
    # Over all candidates the wins make up for the losses.
    every = [pairwise_accuracy(scores, gold) for gold in scores]
    assert sum(every) == pytest.approx(len(scores) / 2)


def test_paired_loss_weighs_texts_by_their_tokens() -> None:
    found = paired_loss([-1.0, -9.0], [10.0, 30.0])
    assert found.difference == pytest.approx(-10 / 40)
    assert (found.low, found.high) == (pytest.approx(-9 / 30), pytest.approx(-1 / 10))


def test_paired_loss_finds_a_small_difference_that_every_text_shares() -> None:
    apart = [-0.5 + 0.1 * (i % 5 - 2) for i in range(40)]
    found = paired_loss(apart, [20.0] * 40)
    assert found.difference == pytest.approx(-0.5 / 20)
    # Standard deviation 0.1 * sqrt(2) of a text, 40 texts of 20 tokens.
    half = 1.96 * 0.1 * math.sqrt(2) / math.sqrt(40) / 20
    assert found.high - found.difference == pytest.approx(half, rel=0.1)
    assert found.p < 0.001
    assert paired_loss([1.0, -1.0] * 20, [20.0] * 40).p > 0.5
    assert paired_loss(apart, [20.0] * 40) == found
