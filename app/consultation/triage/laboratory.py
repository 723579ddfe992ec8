"""Results of the laboratory: how they are written, and in which unit the rules read them.

mmol/l (potassium, sodium), 10^9/l (platelets, neutrophils), g/l (haemoglobin).
"""

from __future__ import annotations

import re

# Between the name of a result and its number stand only words that say that it is one.
_RESULT = (
    r"(?:[\s:=~,，]|is\b|was\b|of\b|at\b|only\b|just\b|now\b|today\b|to\b|down\b|up\b|levels?\b"
    r"|counts?\b|values?\b|results?\b|came\b|back\b|as\b|low\b|high\b|dropped\b|fell\b|gone\b"
    r"|rose\b|are\b|were\b|has\b|my\b|it'?s\b|about\b|around\b|over\b|under\b|above\b|below\b"
    r"|浓度|计数|绝对值|值|结果|是|为|只有|才|就|降到了?|掉到了?|升到了?|高到了?|低到了?|到了?|高|低|达|有|了"
    r"|[（(]){0,8}(\d{1,6}(?:\.\d{1,2})?)(?!\d|\.\d|,\d|\s{0,2}(?:%|％|mg\b|毫克|grams?\b|tab|pill|片|粒|days?\b|hours?\b|weeks?\b"
    r"|months?\b|years?\b|天|小时|周|个|岁|次|times\b|pg\b|fl\b|月|点|[ap]m\b|/\d|th\b|st\b|nd\b|rd\b))"
    r"\s{0,2}(万|lakhs?|g/dl|g/l|克|/ul|/mm)?"
)
RESULTS = {
    "potassium": re.compile(r"(?:potassium|\bk\+|血?钾)" + _RESULT),
    "sodium": re.compile(r"(?:sodium|\bna\+|血?钠)" + _RESULT),
    "inr": re.compile(r"(?:\binr\b)" + _RESULT),
    "platelets": re.compile(r"(?:platelets?|\bplts?\b|血小板)" + _RESULT),
    "haemoglobin": re.compile(
        r"(?:(?<!cell )(?<!ular )ha?emoglobin|\bhgb\b|\bhb\b|(?<!糖化)(?<!平均)血红蛋白|血色素)"
        + _RESULT
    ),
    "neutrophils": re.compile(r"(?:neutrophils?|\bneuts?\b|\banc\b|中性粒细胞|粒细胞)" + _RESULT),
}
LIMITS = {  # what a living person can have; else the number means something else
    "potassium": (1.0, 12.0), "sodium": (90.0, 200.0), "inr": (0.5, 30.0),
    "platelets": (0.0, 3000.0), "haemoglobin": (15.0, 260.0), "neutrophils": (0.0, 60.0),
}  # fmt: skip
NAMES = {  # one of these words must be there
    "potassium": ("potassium", "k+", "钾"), "sodium": ("sodium", "na+", "钠"), "inr": ("inr",),
    "platelets": ("platelet", "plt", "血小板"),
    "haemoglobin": ("moglobin", "hgb", "hb", "血红蛋白", "血色素"),
    "neutrophils": ("neut", "anc", "粒细胞"),
}  # fmt: skip


def in_our_unit(name: str, value: float, unit: str | None) -> float:
    """In the unit that the rules use, whatever the laboratory wrote."""
    if name == "haemoglobin":
        return value if unit == "g/l" or (unit != "g/dl" and value >= 25) else value * 10
    if name in ("platelets", "neutrophils"):
        if unit == "万":
            return value * 10
        if unit and unit.startswith("lakh"):
            return value * 100
        if value >= (1000 if name == "platelets" else 100):  # a microlitre
            return value / 1000
    return value
