"""The two published scripts' rules, on answers where they differ from ours and each other."""

from __future__ import annotations

import pytest

from sparsedoctor.train.evaluate.compatibility import read_compatibly

OPTIONS = {"A": "肺炎", "B": "支气管炎", "C": "肺结核", "D": "肺癌"}

# text, single, letters as CMB reads it, letters as HuatuoGPT-II reads it
CASES = [
    ("答案是C。", True, "C", "C"),
    ("答案为ABD。", False, "ABD", "ABD"),
    ("正确选项：C", True, "C", "C"),
    ("我选择 C", True, "C", "C"),
    ("不知道", True, "", "B"),
    ("是肺结核", True, "", "C"),  # only HuatuoGPT-II looks for the text
    ("Because of C", True, "B", "C"),  # CMB takes every capital letter
    ("答案是CBA。", False, "CBA", "C"),  # HuatuoGPT-II keeps what rises
    ("先看A，再看C", True, "A", "A"),
    ("先是肺癌，后是肺炎，选D", True, "D", "D"),
]


@pytest.mark.parametrize(("text", "single", "cmb", "huatuo"), CASES)
def test_both_scripts_read_as_published(text: str, single: bool, cmb: str, huatuo: str) -> None:
    assert read_compatibly(text, OPTIONS, single, "cmb").letters == cmb
    assert read_compatibly(text, OPTIONS, single, "huatuogpt-2").letters == huatuo


def test_the_fallback_is_marked_as_such() -> None:
    assert not read_compatibly("不知道", OPTIONS, True, "huatuogpt-2").readable
    assert read_compatibly("答案是B", OPTIONS, True, "huatuogpt-2").readable
