"""Scores of letters with the model's liking for a letter taken off: batch calibration.

Small models answer by position, and training on a few questions mostly changes which letter they
like. Each option's probability is divided by its mean over the *other* questions that have the same
options, and normalised again (Zhou et al., "Batch Calibration", ICLR 2024, with each question left
out of its own mean). It needs no further call of the model, unlike `logprob-permuted`, and no right
answers; it takes the right ones to be spread evenly over the letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sparsedoctor.train.evaluate.journal import Answer

_FLOOR = 1e-30  # of a probability


def is_liking_for_letters(scoring: str, candidates: str) -> bool:
    """Whether scores of this kind hold a liking for letters that this can take off."""
    return scoring == "logprob" and candidates == "letter"


def without_letter_bias(answers: Sequence[Answer]) -> list[Answer]:
    """The same answers in the same order, with calibrated scores (log-probabilities) and choices.

    As they were stay: a question that no other shares its options with; one with several right
    options, whose sets of letters are not equally likely; one that could not be read.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, answer in enumerate(answers):
        letters = tuple(sorted(answer.scores))
        if answer.chosen and all(len(letter) == 1 for letter in letters):
            groups.setdefault(letters, []).append(index)
    calibrated = list(answers)
    for letters, members in groups.items():
        if len(members) < 2:
            continue
        table = np.array([[answers[i].scores[letter] for letter in letters] for i in members])
        shares = np.exp(table - table.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        others = (shares.sum(axis=0) - shares) / (len(members) - 1)
        weighed = np.maximum(shares, _FLOOR) / np.maximum(others, _FLOOR)
        scores = np.log(weighed / weighed.sum(axis=1, keepdims=True))
        for index, row in zip(members, scores, strict=True):
            calibrated[index] = replace(
                answers[index],
                chosen=letters[int(row.argmax())],
                scores=dict(zip(letters, map(float, row), strict=True)),
            )
    return calibrated
