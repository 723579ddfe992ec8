"""The table of numbers holds against libphonenumber; the region comes from intake or locale."""

from __future__ import annotations

import phonenumbers
import pytest
from phonenumbers import shortnumberinfo

from sparsedoctor.app.consultation.numbers import (
    emergency_line,
    numbers_for,
    region_of_locale,
    regions,
    with_numbers,
)

# National short codes that libphonenumber's metadata does not list; each is named by its source.
NOT_IN_METADATA = {
    ("HK", "18111"), ("TW", "1925"), ("KR", "109"), ("TH", "1367"), ("PH", "1553"),
    ("IN", "14416"), ("NP", "1166"), ("BR", "188"), ("AR", "135"),
    ("CL", "*4141"), ("PE", "113"), ("UY", "1722"), ("NL", "113"), ("PT", "1411"), ("GR", "1018"),
    ("MT", "1579"), ("UA", "7333"), ("PE", "106"),
}  # fmt: skip
# Ambulance services whose number the metadata does not know as one for emergencies.
AMBULANCES_BESIDE = {("LK", "1990"), ("PE", "106")}


@pytest.mark.parametrize("region", regions())
def test_emergency_numbers_are_those_of_the_metadata(region: str) -> None:
    numbers = numbers_for(region)
    for number in numbers.emergency + numbers.police:
        known = shortnumberinfo.is_emergency_number(number, region)
        assert known or (region, number) in AMBULANCES_BESIDE, number
    assert not set(numbers.emergency) & set(numbers.police)


def _known(number: str, region: str) -> bool:
    parsed = phonenumbers.parse(number, region)
    return phonenumbers.is_valid_number(parsed) or shortnumberinfo.is_valid_short_number_for_region(
        parsed, region
    )


def test_crisis_and_poison_lines_can_be_dialled() -> None:
    strange = set()
    for region in regions():
        numbers = numbers_for(region)
        strange |= {
            (region, number)
            for number in numbers.emergency + numbers.crisis + numbers.poison
            if not number[0].isdigit() or not _known(number, region)
        }
    assert strange == NOT_IN_METADATA


def test_an_unknown_region_gives_the_international_line() -> None:
    for region in (None, "", "XX", "intl"):
        assert numbers_for(region).emergency == ("112",)
        assert numbers_for(region).region == ""
    assert numbers_for("cn").emergency[0] == "120"


@pytest.mark.parametrize(
    ("environment", "region"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "CN"),
        ({"LANG": "en_GB"}, "GB"),
        ({"LANG": "C.UTF-8"}, ""),
        ({"LANG": "POSIX"}, ""),
        ({}, ""),
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8"}, ""),
        ({"LC_ALL": "", "LC_MESSAGES": "de_DE@euro", "LANG": "en_US"}, "DE"),
        ({"LANG": "xx_YY.UTF-8"}, ""),
    ],
)
def test_the_region_of_the_locale(environment: dict[str, str], region: str) -> None:
    assert region_of_locale(environment) == region


def test_an_advice_names_whom_to_call_where_the_person_is() -> None:
    text = "Call {emergency}{or_poison}, or the police{police}."
    zh = "拨打 {emergency}{or_poison}或报警{police}。"
    assert with_numbers(text, numbers_for("US"), "en") == (
        "Call 911 or the poison line 1-800-222-1222, or the police."
    )
    # In China the police has a number of its own and there is no poison line.
    assert with_numbers(zh, numbers_for("CN"), "zh") == "拨打 120或报警（110）。"
    assert with_numbers(text, numbers_for(None), "en") == (
        "Call 112 or your poison centre, or the police."
    )


def test_the_line_that_is_always_visible() -> None:
    assert "999" in emergency_line("GB", "en")
    assert "120" in emergency_line("CN", "zh")
    assert "local emergency number" in emergency_line(None, "en")
    assert "当地急救电话" in emergency_line(None, "zh")
