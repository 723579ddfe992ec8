"""Which language the labels have."""

from __future__ import annotations

import pytest

from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.interface_language import interface_language

EMPTY = Intake()


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_TW"}, "zh"),
        ({"LANG": "en_GB.UTF-8"}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({}, "en"),
        ({"LC_ALL": "zh_CN.UTF-8", "LANG": "en_US.UTF-8"}, "zh"),
        ({"LC_ALL": "", "LC_MESSAGES": "en_US", "LANG": "zh_CN"}, "en"),
    ],
)
def test_auto_follows_the_locale(environment: dict[str, str], language: str) -> None:
    assert interface_language("auto", EMPTY, environment) == language


def test_what_the_person_told_goes_before_the_locale_and_the_option_before_both() -> None:
    chinese = Intake(language="zh")
    assert interface_language("auto", chinese, {"LANG": "en_GB"}) == "zh"
    assert interface_language("en", chinese, {"LANG": "zh_CN"}) == "en"
    assert interface_language("zh", EMPTY, {"LANG": "en_GB"}) == "zh"
