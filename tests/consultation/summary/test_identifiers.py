"""Identifiers are removed, numbers of a consultation stay."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsedoctor.app.consultation.summary.identifiers import (
    IDENTITY_REMOVED,
    MAIL_REMOVED,
    TELEPHONE_REMOVED,
    is_identity_number,
    remove_identifiers,
)

# Numbers kept for examples: 555-01xx, Ofcom's, and an identity number with a made-up area
IDENTITY = "110101199003074514"  # 1*7+1*9+0*10+... = check character 4


@pytest.mark.parametrize(
    "number",
    [
        "+1 202-555-0143",
        "(202) 555-0143",
        "202-555-0143",
        "202.555.0143",
        "555-0143",
        "2025550143",
        "+44 20 7946 0958",
        "020 7946 0958",
        "01632 960 001",
        "+86 138 0013 8000",
        "13800138000",
        "138-0013-8000",
        "138 0013 8000",
        "１３８００１３８０００",
        "010-66668888",
        "0755-8888 6666",
        "400-810-0000",
        "+852 2123 4567",
        "0049 30 901820",
    ],
)
def test_a_telephone_number_is_removed(number: str) -> None:
    assert remove_identifiers(f"请打{number}给我") == f"请打{TELEPHONE_REMOVED}给我"
    assert remove_identifiers(f"Call {number}, please.") == f"Call {TELEPHONE_REMOVED}, please."
    assert remove_identifiers(number) == TELEPHONE_REMOVED


@pytest.mark.parametrize(
    "text", ["tel: 7946 0958", "my phone is 8888666", "电话：66668888", "QQ 123456789"]
)
def test_a_number_named_as_one_is_removed(text: str) -> None:
    clean = remove_identifiers(text)
    assert TELEPHONE_REMOVED in clean
    assert not any(character.isdigit() for character in clean)


@pytest.mark.parametrize(
    "mail", ["somebody@example.org", "a.b+c@mail.example.co.uk", "１２３＠ｅｘａｍｐｌｅ．ｃｏｍ"]
)
def test_a_mail_address_is_removed(mail: str) -> None:
    assert remove_identifiers(f"write to {mail}.") == f"write to {MAIL_REMOVED}."
    assert remove_identifiers(f"邮箱{mail}，谢谢") == f"邮箱{MAIL_REMOVED}，谢谢"


@pytest.mark.parametrize(
    "written",
    [
        IDENTITY,
        "110101 19900307 4514",
        "１１０１０１１９９００３０７４５１４",
        "11010119900307002X",
    ],
)
def test_an_identity_number_is_removed(written: str) -> None:
    if written == "with X":
        written = IDENTITY[:14] + _tail_with_x(IDENTITY[:14])
    assert remove_identifiers(f"身份证{written}。") == f"身份证{IDENTITY_REMOVED}。"


def _tail_with_x(start: str) -> str:
    for number in range(1000):
        if is_identity_number(f"{start}{number:03}X"):
            return f"{number:03}X"
    raise AssertionError("no number with the check character X")


def test_a_wrong_check_character_is_no_identity_number() -> None:
    assert is_identity_number(IDENTITY)
    for last in "012356789X":
        assert not is_identity_number(IDENTITY[:-1] + last)
    wrong = IDENTITY[:-1] + "5"
    assert remove_identifiers(wrong) == wrong


def test_the_check_character_is_that_of_the_standard() -> None:
    """GB 11643: the weights are 2 to the power of the place from the right, modulo 11."""
    chance = random.Random(1)
    for _ in range(500):
        first = [chance.randrange(10) for _ in range(17)]
        total = sum(digit * 2 ** (17 - place) for place, digit in enumerate(first))
        check = (12 - total % 11) % 11
        number = "".join(map(str, first)) + ("X" if check == 10 else str(check))
        assert is_identity_number(number)


@pytest.mark.parametrize(
    "text",
    [
        "38.5 38.7 39.0 39.2",
        "BP 120/80 130/85 150/95",
        "2026-11-22 17:38:20",
        "2026/11/22",
        "20261122",
        "since 11.10.2026",
        "call 911 or 988, 120, 12356, 116 123",
        "500 mg 3x a day, 1000 mg at most 4000",
        "glucose 54 mg/dL, oxygen 86 %",
        "pain 7-8, 10-12 times",
        "白细胞 12000，血小板 150000",
        "血压180/110，体温38.5",
        "INR 2.5, 12.5 mg",
        "2019-2024",
    ],
)
def test_numbers_of_a_consultation_stay(text: str) -> None:
    assert remove_identifiers(text) == text


@given(st.text(max_size=200))
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    once = remove_identifiers(text)
    assert remove_identifiers(once) == once


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", ["1", "1 ", "+1-", "a@", "a.", "0(1)", "电话 "])
def test_a_pattern_does_not_explode(piece: str) -> None:
    remove_identifiers(piece * 20_000)
