"""Numbers with units: temperature, oxygen, pressure, pulse, sugar, age, duration, weeks, amounts,
stings, and results of the laboratory.

Both systems of units, digits and Chinese numerals, "39度5", "高压200". Every value is in one
unit: °C, %, mmHg, beats or breaths a minute, mmol/l, years, days, weeks, pieces, points of ten,
10^9/l (platelets, neutrophils), g/l (haemoglobin).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sparsedoctor.app.consultation.triage import laboratory

Value = tuple[float, int, int]  # value, first character, character after the last

_DIGIT = dict(zip("零〇一二两三四五六七八九", (0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9), strict=True))
_N = r"(\d{1,4}(?:\.\d{1,2})?|[一二两三四五六七八九十百半零几]{1,5})"
_WORDS = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905
    )
} | {"a": 1, "an": 1, "couple": 2, "few": 3, "several": 4, "thirty": 30, "forty": 40, "twenty": 20}
_EN = r"(\d{1,4}(?:\.\d{1,2})?|(?:a couple|a few|" + "|".join(_WORDS) + r")\b)"

_DECIMAL_COMMA = re.compile(r",(?:(?<=\b3\d,)|(?<=\b4[0-2],))(?=\d\b)")
_TEMPERATURE = re.compile(
    r"(?:(?<![\d.,/:$£€])((?:3[5-9]|4[0-2])\.\d)(?![\d%/]|\s{0,2}(?:kg|cm|mmol|mg|w(?:ee)?ks?|years?|lbs?"
    r"|ml|l\b|k\b|m\b|元|块|公斤|斤|千克|厘米|万|岁|周)))"
    r"|(?:(?<![\d.])(\d{2,3}(?:\.\d)?)\s{0,2}(?:°\s{0,2}[cf]?|度(\d)?|degrees?\s?[cf]?\w{0,12}"
    r"|deg\b|摄氏度|华氏度|[cf]\b))"
    r"|(?:(三十[五六七八九]|四十[一二]?)度([一二三四五六七八九半])?)"
    r"|(?:(?:temp\w{0,9}|fever\w{0,3}|therm\w{0,12}|feels? hot|体温计?|烧到了?|高烧|发烧|发热|低烧"
    r"|烧|烫|温度计|耳温枪?|额温枪?|腋温|肛温|量了?)[^\d\n。.;；]{0,18}?(?<!\d)(\d{2,3}(?:\.\d)?)(?![\d/%]|\s{0,2}(?:days?|hours?"
    r"|weeks?|天|小时|周|岁|years?|bpm|months?|月)))"
)
_OXYGEN = re.compile(
    r"(?:spo2?|o2\s?sats?|\bo2|oxygen\w{0,3}|\boxi\w{3,7}|\bsats?\b|saturat\w{0,5}|血氧饱和度|血氧"
    r"|氧饱和度?)[^\d\n。;；]{0,30}?(\d{2,3}(?:\.\d)?)(?!\d|/)"
    r"|(?<!\d)(\d{2})\s?%\s{0,2}(?:oxygen|o2|spo2|on room air|on air|血氧)"
    r"|氧[^\d\n。;；]{0,6}?([四五六七八九]十[一二三四五六七八九几]?)"
)
_PRESSURE = re.compile(
    r"(?<![\d/.])(\d{2,3})\s{0,2}(?:/|over|比|／)\s{0,2}(\d{2,3})(?![\d/]|\s{0,2}(?:年|月))"
)
_PRESSURE_ZH = re.compile(r"血压[^\d\n。;；]{0,8}?(\d{2,3})[^\d\n。;；]{1,3}(\d{2,3})(?!\d)")
_SYSTOLIC = re.compile(
    r"(?:高压|收缩压|systolic\w{0,3}|\bsbp|\btop number|血压(?:高?到了?|升到了?|飙到了?"
    r"|低到了?|都|有|是|只有)?|blood pressure(?: is| of"
    r"| was)?)[^\d\n。;；,，]{0,10}?(\d{2,3})(?![\d/]|\s{0,2}over|\.\d)"
)
_DIASTOLIC = re.compile(
    r"(?:低压|舒张压|diastolic\w{0,3}|\bdbp|bottom number)[^\d\n。;；,，]{0,10}?(\d{2,3})(?!\d)"
)
_PULSE = re.compile(
    r"(?:heart ?rate|heart(?:\s?is|'s|s)?\s(?:going|beating|at|doing|racing)|pulse|\bhr|心率"
    r"|脉搏|心跳)(?:[^\d\n。;；/.!?]|\.(?! )){0,22}?(\d{2,3})(?![\d/%]|\s?(?:years?|yo|岁))"
    r"|(?<!\d)(\d{2,3})\s{0,2}(?:bpm|beats)"
    r"|(?:心率|脉搏"
    r"|心跳)[^\d\n。;；]{0,8}?(一百[零一二三四五六七八九]?[一二三四五六七八九十]{0,2}|二百)"
)
_BREATHS = re.compile(
    r"(?:respiratory rate|respirations?|resp rate|breathing rate|\brr\b|呼吸频率"
    r"|呼吸)[^\d\n。;；/]{0,18}?(\d{2,3})(?![\d/%])"
    r"|(?<!\d)(\d{2,3})\s{0,2}breaths"
    r"|breath(?:s|es|ing|e)?\D{0,12}?(\d{1,3})\s{0,2}(?:x|times)?\s?"
    r"(?:a|per|in a|in one|every|/)\s?min"
    r"|(?<!\d)(\d{1,3})\s{0,2}breaths?\s?(?:a|per|/)\s?min"
)
_SUGAR = re.compile(
    r"(?:glucose|sugars?|\bbgl?|\bbm|dexi|fingerstick|血糖|餐后"
    r"|空腹)[^\d\n。;；?？!！]{0,32}?(\d{1,4}(?:\.\d{1,2})?)(?!\s?(?:岁|天|年|周|years?|days?|个))\s{0,2}"
    r"(mmol|mg|毫摩|毫克)?"
    r"|(?<![\d.])(\d{1,4}(?:\.\d{1,2})?)\s{0,2}(mmol|mg\s?/\s?dl|mg\s?%)"
)
_AGE = re.compile(
    rf"(?<![a-z\d.]){_EN}\s{{0,2}}[- ]?(year|yr|month|mth|mo|week|wk|day"
    rf"|hour)s?[- ]{{0,2}}(?:old|of age)"
    rf"|\b(?:son|daughter|baby|bub|bubs|ds|dd|lo|boy|girl|newborn|infant|twins?|little one|kid"
    rf"|toddler|granddaughter|grandson|nephew|niece)(?:'?s|,|\s(?:is|was|at|just|now|only|aged?)){{0,3}}"
    rf"\s{_EN}\s{{0,2}}(day|week|wk|month|mth)s?\b(?!\s(?:ago|now|after|pregnan))"
    r"|(?<![\d.])(\d{1,3})\s?-?(?:yo|y/o|y\.o\.?|yrs?|m/o)\b"
    r"|\b(?:age[ds]?|aged about|resident(?: is)?)\s{0,2}:?(\d{1,3})\b"
    r"|(?<![\d.])(\d{2})(?:m|f)\b(?!/)"
    r"|\b(?:son|daughter|boy|girl|kid|child|toddler)(?:'s| is| who is| just turned)\s(\d{1,2})"
    r"(?=[,.;!?\n]|\sand\b|\syears?\b|$)"
    r"|\b(?:i'?m|i am|he'?s|she'?s|he is|she is|who'?s|who is)\s(\d{2})"
    r"(?=[,.;!?\n]|\sand\b|\syears?\b|\swith\b|$)"
)
_AGE_ZH = re.compile(
    rf"{_N}\s?(?:周岁|岁)|{_N}\s?(?:个[多半]?月|月)(?:大|龄|的?宝宝|的?婴|的?孩子|的?女儿|的?儿子"
    rf"|的?娃|零)|出生后?才?{_N}\s?(天|周|个?月)"
    rf"|{_N}\s?(天|日|周)(?:大(?![便小])|龄)|(?:宝宝|孩子|婴儿|娃|女儿|儿子)(?:才|刚|现在"
    rf"|今年)?{_N}\s?(个?多?月|天|周)(?!的?烧|[了没不都前来内后里])"
    # "我家五十天的娃" is fifty days old; "烧了三天的娃" is ill for three.
    rf"|(?:^|(?<=[\s,，。;；、!！?？:：我家个名的才])){_N}\s?(天|日|周)的?(?:宝宝|孩子|婴儿|娃|女儿|儿子|bb)"
)
_DURATION = re.compile(
    rf"(?<![\w.]){_EN}\s{{0,2}}-?(minute|min|hour|hr|day|week|wk|month|year)s?\b(?![- ]old)"
)
_ORDINALS = ["second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"]
_DAY_NUMBER = re.compile(
    rf"\b({'|'.join(_ORDINALS)})\s(?:day|night)\b|第{_N}天|\bday\s(\d{{1,2}})\b"
)
_DURATION_ZH = re.compile(rf"{_N}\s?多?个?多?(分钟|小时|钟头|天|日|星期|礼拜|周|月|年)(?!大|龄)")
_WEEKS = re.compile(
    r"(?<!\d)(\d{1,2})\s{0,2}-?w(?:ee)?ks?(?:\s{0,2}\+?\d)?\s{0,2}(?:pregnan|along|gestation|miscarr"
    r"|preggo|miscarr)"
    r"|\b(?:i'?m|i am|at|she'?s|wife is|now)\s(\d{1,2})\s?w(?:ee)?ks?\b"
    r"(?!\s(?:old|into|post|after|out|ago|in\b|of))"
    r"|(?:^|[.!?,\n]\s{0,2})(\d{1,2})(?:\s?\+\s?\d)?\s?w(?:ee)?ks?[ ]{0,2}"
    r"(?=[,.;]|and\b|with\b|first\b|baby\b|bump\b|bp\b"
    r"|twins?\b|today\b|tomorrow\b|now\b)"
    r"|(?<![\d/])(\d{1,2})(?:\+\d)?/40\b"
    r"|(?:pregnan\w{0,3}|gestation)[^\d\n。.]{0,14}(\d{1,2})\s{0,2}w(?:ee)?ks?"
    r"|怀?孕[^\d\n。]{0,4}(\d{1,2})\+?\d?\s?周"
    r"|(?<![\d第])([23]\d|4[0-2])(?:\+\d)?\s?周(?=[,，。、 ]|了|半|[+])"
)
_POINTS = re.compile(
    r"(?<![\d/.])(10|[0-9])\s{0,2}(?:/|out of|分之)\s{0,2}10(?!\d|/)|(?:疼痛|痛感|疼)(?:评分"
    r"|程度)?\s?(10|\d)\s?分"
    r"|(?<![\d.])(10|\d)\s?分(?=[,，。;；、!！ \n]|左右|$)"
)
_AMOUNT = re.compile(
    rf"(?<![\w.]){_EN}(?!\d)\s{{0,2}}"
    r"(?!(?:hours?|hrs?|h|mins?|minutes?|days?|weeks?|am|pm|mg|mcg|ml)\b)"
    rf"(?:x\s{{0,2}})?(?:[a-z0-9.]{{2,16}}\s){{0,3}}?"
    rf"(?:of them|of those|of these|tablets?"
    rf"|antidepressants?|painkillers?|sedatives?|tranquilli[sz]ers?"
    rf"|co-?\s?codamols?|co-?\s?dydramols?|codeines?|nurofens?|solpadeines?|tramadols?"
    rf"|pills?|capsules?|caplets?|tabs\b|tylenols?|paracetamols?|panadols?|ibuprofens?"
    rf"|advils?|aspirins?|sleeping)"
    rf"|{_N}\s?多?(?:片|粒|颗|枚)"
)
_STINGS = re.compile(
    rf"(?:stung|stings?)[^\d\n.;。；]{{0,24}}?(?<![a-z\d]){_EN}\s{{0,2}}"
    rf"(?:or so|or more|plus)?\s{{0,2}}(?:times|places|stings|spots)\b"
    rf"|(?<![a-z\d.]){_EN}\s{{0,2}}(?:bee|wasp|hornet)?\s{{0,2}}stings\b"
    rf"|蜇(?:了|到|伤|我|他|她|得|孩子|全身|一共|大概|差不多|有){{0,4}}好?{_N}[多来]?(?:下|口|个|针|处|次)"
)


class _Place(NamedTuple):
    """Where a pattern can match: so many characters around a number, with one of these letters."""

    before: int
    after: int
    letters: re.Pattern[str]


_PLACES = {
    _TEMPERATURE: _Place(36, 32, re.compile("[.°度摄华cdft温烧热烫量]")),
    _OXYGEN: _Place(44, 32, re.compile("[os氧]")),
    _PRESSURE: _Place(4, 20, re.compile("[/o比]")),
    _PRESSURE_ZH: _Place(12, 12, re.compile("压")),
    _SYSTOLIC: _Place(32, 16, re.compile("[sbt压]")),
    _DIASTOLIC: _Place(24, 8, re.compile("[db压]")),
    _PULSE: _Place(40, 16, re.compile("[hpb心脉]")),
    _BREATHS: _Place(36, 24, re.compile("[rb呼]")),
    _SUGAR: _Place(44, 16, re.compile("[gsbdfm糖餐空]")),
    _WEEKS: _Place(28, 32, re.compile("[w周/]")),
    _POINTS: _Place(8, 20, re.compile("[/o分]")),
    _AGE: _Place(36, 36, re.compile("[a-z]")),
    _AGE_ZH: _Place(12, 16, re.compile("[岁月天日周]")),
    _DURATION: _Place(12, 24, re.compile("[a-z]")),
    _DURATION_ZH: _Place(2, 16, re.compile("[分时头天日期拜周月年]")),
    _DAY_NUMBER: _Place(4, 4, re.compile("第")),
    _AMOUNT: _Place(4, 8, re.compile("[片粒颗枚]")),
    _STINGS: _Place(44, 20, re.compile("[s蜇]")),
    **{
        pattern: _Place(64, 12, re.compile("[a-z钾钠板白色胞]"))
        for pattern in laboratory.RESULTS.values()
    },
}
_DAYS = {
    "hour": 1 / 24, "hr": 1 / 24, "小时": 1 / 24, "钟头": 1 / 24, "minute": 1 / 1440,
    "min": 1 / 1440, "分钟": 1 / 1440, "day": 1, "天": 1, "日": 1, "week": 7, "wk": 7, "周": 7,
    "星期": 7, "礼拜": 7, "month": 30, "mth": 30, "mo": 30, "月": 30, "个月": 30, "year": 365,
    "yr": 365, "年": 365,
}  # fmt: skip


_LATIN = re.compile("[a-z]{2}")
_DIGITS = re.compile(r"[\d十百]+")
_NUMERALS = re.compile(r"[\d一二两三四五六七八九十百半零几]+")
# Chinese numbers too are common (一个, 一点): for ages and durations only those before a unit.
_TIMES_ZH, _FAR = re.compile("[岁月天周分小钟日星礼年]"), 5  # characters after the number
# English numbers are too common (a, one) to look around each: only those before a unit of time.
_TIMES_EN = ("year", "yr", "month", "mth", "mo", "week", "wk", "day", "hour", "hr", "min")
_COUNTED = re.compile(rf"(?<![a-z\d])(?:{'|'.join(_WORDS)})\s{{0,2}}[- ]?(?={'|'.join(_TIMES_EN)})")
_UNITS = {
    "sys": (_SYSTOLIC, 40, 300, re.compile("pressure|systolic|sbp|top number|压")),
    "dia": (_DIASTOLIC, 20, 200, re.compile("diastolic|dbp|bottom|低压|舒张")),
    "pulse": (_PULSE, 15, 320, re.compile("heart|pulse|hr|bpm|beats|心|脉")),
    "breaths": (_BREATHS, 2, 120, re.compile("resp|breath|rr|呼吸")),
    "weeks": (_WEEKS, 1, 45, re.compile("week|wk|孕|周|/40")),
    "points": (_POINTS, 0, 10, re.compile("10|分")),
}  # measure: pattern, least, most, one of these words must be there
_PILLS = re.compile(
    "of the|of those|antidep|painkil|sedativ|tranquil|tab|pill|caps|capl|tylenol|paracetamol"
    "|panadol|profen|advil|aspirin|sleeping|codamol|dydramol|codeine|nurofen|solpadeine|tramadol"
)
_PIECES_ZH = re.compile("[片粒颗枚]")
_AGE_WORDS = re.compile(
    "resident|'s |i'm|im | am | is |old|age|yo|y/o|y.o|yr|m/o|岁|月|出生|天|周|日[大龄]"
)
_SUGAR_WORDS = re.compile("mg/|mg /|glucose|sugar|bg|bm|dexi|finger|mmol|血糖|餐后|空腹")
_OXYGEN_WORDS = re.compile("o2|oxygen|oxi|sat|spo|氧")


def measures(plain: str) -> dict[str, list[Value]]:
    """Every measure that `plain` (normalised text) states, by name."""
    plain = _DECIMAL_COMMA.sub(".", plain)
    found: dict[str, list[Value]] = {}

    def put(name: str, value: float, match: re.Match[str]) -> None:
        found.setdefault(name, []).append((value, match.start(), match.end()))

    def speaks_of(words: re.Pattern[str]) -> bool:
        return words.search(plain) is not None

    digits = [match.span() for match in _DIGITS.finditer(plain)]

    def near_digits(pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        return _near(pattern, plain, digits)

    if digits:
        for value, match in _temperatures(near_digits(_TEMPERATURE)):
            put("temp", value, match)
        for match in near_digits(_OXYGEN) if speaks_of(_OXYGEN_WORDS) else ():
            value = number(match[1] or match[2] or match[3])
            if 40 <= value <= 100:
                put("spo2", value, match)
        for pattern in (_PRESSURE, _PRESSURE_ZH):
            for match in near_digits(pattern):
                high, low = float(match[1]), float(match[2])
                if 60 < high <= 300 and 20 <= low <= 200 and low < high:
                    put("sys", high, match)
                    put("dia", low, match)
        for name, (pattern, least, most, words) in _UNITS.items():
            for match in near_digits(pattern) if speaks_of(words) else ():
                value = number(next(group for group in match.groups() if group))
                if least <= value <= most:
                    put(name, value, match)
        for name, result in laboratory.RESULTS.items():
            if any(word in plain for word in laboratory.NAMES[name]):
                lowest, highest = laboratory.LIMITS[name]
                for match in near_digits(result):
                    value = laboratory.in_our_unit(name, float(match[1]), match[2])
                    if lowest <= value <= highest:
                        put(name, value, match)
        if speaks_of(_SUGAR_WORDS):
            for value, match in _sugars(near_digits(_SUGAR)):
                put("sugar", value, match)
    numerals = [match.span() for match in _NUMERALS.finditer(plain)]
    times = [at for at in numerals if _TIMES_ZH.search(plain, at[1], at[1] + _FAR)]
    if any(unit in plain for unit in _TIMES_EN):
        numerals = sorted([*numerals, *(match.span() for match in _COUNTED.finditer(plain))])
    if numerals and speaks_of(_AGE_WORDS):
        for value, match in _ages(plain, numerals, times):
            put("age", value, match)
    for pattern, near in ((_DURATION, numerals), (_DURATION_ZH, times)):
        for match in _near(pattern, plain, near):
            put("days", number(match[1]) * _DAYS[match[2]], match)
    worded = "day" in plain or "night" in plain  # the third day
    for match in _DAY_NUMBER.finditer(plain) if worded else _near(_DAY_NUMBER, plain, numerals):
        days = _ORDINALS.index(match[1]) + 2.0 if match[1] else number(match[2] or match[3])
        put("days", days, match)
    if "sting" in plain or "stung" in plain or "蜇" in plain:
        for match in _STINGS.finditer(plain):
            put("stings", number(next(group for group in match.groups() if group)), match)
    for match in _amounts(plain, numerals):
        put("pieces", number(match[1] or match[2]), match)
    return found


_NO_NUMBER = (sys.maxsize, 0)  # after the last


def _near(
    pattern: re.Pattern[str], plain: str, numbers: Sequence[tuple[int, int]]
) -> Iterator[re.Match[str]]:
    """The matches around `numbers` (first character, character after the last; in order)."""
    before, after, letters = _PLACES[pattern]
    first, last = 0, -1
    for start, end in (*numbers, _NO_NUMBER):
        if start - before > last:
            if last > 0 and letters.search(plain, first, last):
                yield from pattern.finditer(plain, first, last)
            first = max(0, start - before)
        last = max(last, end + after)


def _amounts(plain: str, numerals: Sequence[tuple[int, int]]) -> Iterator[re.Match[str]]:
    if _PILLS.search(plain):
        yield from _AMOUNT.finditer(plain)  # numbers may be English words
    elif _PIECES_ZH.search(plain):
        yield from _near(_AMOUNT, plain, numerals)


def _sugars(matches: Iterable[re.Match[str]]) -> Iterator[tuple[float, re.Match[str]]]:
    for match in matches:
        value = float(match[1] or match[3])
        unit = match[2] or match[4]
        if (unit or "").startswith(("mg", "毫克")) or (unit is None and value > 40):
            value /= 18.0
        if 0.3 <= value <= 80:
            yield value, match


def number(text: str) -> float:
    """A number in digits, English words or Chinese numerals: 12, "a few" (3), 三十九, 半 (0.5)."""
    text = text.strip()
    if text[0].isdigit():
        return float(text)
    if text[0].isascii():
        return float(_WORDS[text.split()[-1]])
    if text == "半":
        return 0.5
    if len(text) > 1 and text[-2] == "百" and text[-1] in _DIGIT:  # "一百八" is 180
        text += "十"
    total, unit = 0.0, 0.0
    for character in text:
        if character == "十":
            total, unit = total + (unit or 1) * 10, 0.0
        elif character == "百":
            total, unit = total + (unit or 1) * 100, 0.0
        elif character == "几":
            unit = 3.0
        elif character == "半":
            unit += 0.5
        else:
            unit = unit * 10 + _DIGIT.get(character, 0) if unit else float(_DIGIT.get(character, 0))
    return total + unit


def _temperatures(matches: Iterable[re.Match[str]]) -> Iterator[tuple[float, re.Match[str]]]:
    for match in matches:
        bare, written, tenth, chinese, chinese_tenth, named = match.groups()
        if chinese:
            value = number(chinese)
            if chinese_tenth:
                value += number(chinese_tenth) / (1 if chinese_tenth == "半" else 10)
        else:
            value = float(bare or written or named) + (float(tenth) / 10 if tenth else 0)
            if written and value < 80 and match.group().endswith("f"):
                continue  # "29F" is a woman of 29
        if 93 <= value <= 115:  # nobody lives at that many °C
            value = (value - 32) / 1.8
        if 25 <= value <= 44:
            yield value, match


def _ages(
    plain: str, numerals: Sequence[tuple[int, int]], times: Sequence[tuple[int, int]]
) -> Iterator[tuple[float, re.Match[str]]]:
    for match in _near(_AGE, plain, numerals) if _LATIN.search(plain) else ():
        count, unit = match[1] or match[3], match[2] or match[4]
        if count:
            yield number(count) * _DAYS[unit] / 365, match
        else:
            yield float(next(group for group in match.groups()[4:] if group)), match
    for match in _near(_AGE_ZH, plain, times):
        years, months, *days = match.groups()
        if years:
            yield number(years), match
        elif months:
            yield number(months) / 12, match
        else:
            count, unit = (part for part in days if part)
            unit = unit.replace("个", "").replace("多", "")
            yield number(count) * _DAYS[unit] / 365, match
