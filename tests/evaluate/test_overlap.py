"""Words of two scripts, n-grams and ROUGE-L on texts counted by hand."""

from __future__ import annotations

import pytest

from sparsedoctor.train.evaluate.overlap import ngrams, rouge_l, words


def test_a_han_character_is_a_word_and_latin_goes_by_runs() -> None:
    assert words("维生素B12，5mg/日 ＡＢ") == ["维", "生", "素", "b12", "5mg", "日", "ab"]
    assert words("") == []


def test_ngrams_slide_by_one_and_short_texts_have_none() -> None:
    assert list(ngrams(["a", "b", "c"], 2)) == [("a", "b"), ("b", "c")]
    assert list(ngrams(["a"], 2)) == []


def test_rouge_l_counts_the_longest_common_subsequence() -> None:
    # "the cat sat" and "the dog sat on": common "the sat", 2 of 3 and 2 of 4.
    assert rouge_l("the cat sat", "the dog sat on") == pytest.approx(2 * 2 / (3 + 4))
    assert rouge_l("同样", "同样") == 1.0
    assert rouge_l("", "同样") == 0.0
