"""Numbers on a command line: what is taken, and in which words the rest is refused."""

from __future__ import annotations

import argparse

import pytest

from sparsedoctor.core.arguments import number, whole


@pytest.mark.parametrize("text", ["1", "7", " 5 "])
def test_a_whole_number_within_its_bounds_is_taken(text: str) -> None:
    assert whole(1)(text) == int(text)
    assert whole(1, 7)(text) == int(text)


@pytest.mark.parametrize("text", ["0", "-5", "1.5", "x", ""])
def test_a_whole_number_outside_its_bounds_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        whole(1)(text)
    assert str(refused.value) == f"{text} is no whole number of at least 1"
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        whole(1, 7)(text)
    assert str(refused.value) == f"{text} is no whole number from 1 to 7"


def test_bounds_are_included() -> None:
    assert whole(0)("0") == 0
    assert whole(1, 7)("7") == 7
    with pytest.raises(argparse.ArgumentTypeError):
        whole(1, 7)("8")
    assert [number(0, 2)(text) for text in ("0", "2", "1e-3")] == [0, 2, 1e-3]


@pytest.mark.parametrize("text", ["-0.1", "2.1", "nan", "inf", "x"])
def test_a_number_outside_its_bounds_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        number(0, 2)(text)
    assert str(refused.value) == f"{text} is no number from 0 to 2"
