"""`triage`: the emergency rules alone on a text, without any model, and why each fired.

Mounted by the terminal command; `--json` and `--file` are for other programs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TextIO

from sparsedoctor.app.consultation.assessment import (
    Assessment,
    Finding,
    Urgency,
    sentences,
    unsaid,
)
from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.consultation.numbers import region_of_locale, regions
from sparsedoctor.app.consultation.triage import assess
from sparsedoctor.core.errors import SparseDoctorError

_HEADING = {
    "en": {
        Urgency.EMERGENCY: "EMERGENCY: get help now",
        Urgency.TODAY: "See a doctor today",
        Urgency.DAYS: "See a doctor within days",
        Urgency.SELF_CARE: "Self-care",
        Urgency.UNCLEAR: "Not enough said to judge how urgent this is",
    },
    "zh": {
        Urgency.EMERGENCY: "紧急：请立即求助",
        Urgency.TODAY: "今天就看医生",
        Urgency.DAYS: "几天内看医生",
        Urgency.SELF_CARE: "可以自我护理",
        Urgency.UNCLEAR: "信息不足，无法判断紧急程度",
    },
}
_GENERAL = {"en": "A general question; no complaint was found", "zh": "一般性问题，没有发现不适"}
_WORDS = {
    "en": {"rule": "rule", "said": "you said", "do": "do", "why": "why", "source": "source",
           "call": "emergency", "crisis": "crisis line", "poison": "poison centre"},
    "zh": {"rule": "规则", "said": "您说", "do": "怎么做", "why": "为什么", "source": "依据",
           "call": "急救", "crisis": "危机热线", "poison": "中毒急救"},
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("text", nargs="?", help='the words to read; "-" reads standard input')
    parser.add_argument(
        "--file", type=Path, help="read one text a line and print one JSON object a line, in order"
    )
    parser.add_argument("--json", action="store_true", help="a JSON object instead of text")
    parser.add_argument("--age", type=_age, help="age of the person in years (0.2 for ten weeks)")
    parser.add_argument("--sex", choices=("female", "male"), help="sex of the person")
    parser.add_argument("--pregnant", action="store_true", help="the person is pregnant")
    parser.add_argument(
        "--region", type=_region, help="country code for the numbers to call, such as CN or GB"
    )


def run_triage(args: argparse.Namespace) -> int:
    """Run the command with parsed arguments; returns the exit code."""
    if args.file is not None:
        if args.text is not None:
            raise SparseDoctorError("give either a text or --file, not both")
        for line in _lines(args.file):
            print(json.dumps(as_json(_read(line, args)), ensure_ascii=False), flush=True)
        return 0
    if args.text is None:
        raise SparseDoctorError("nothing to read; write the words in quotes or name a --file")
    text = sys.stdin.read() if args.text == "-" else args.text
    if not text.strip():
        raise SparseDoctorError("the text is empty; describe what is the matter")
    assessment = _read(text, args)
    if args.json:
        print(json.dumps(as_json(assessment), ensure_ascii=False))
    else:
        explain(assessment, sys.stdout)
    return 0


run = run_triage


def as_json(assessment: Assessment) -> dict[str, Any]:
    """An assessment as plain data; the keys are documented in docs/safety.md."""
    return {
        "urgency": assessment.urgency.value,
        "crisis": assessment.crisis,
        "rules": [finding.rule for finding in assessment.findings],
        "findings": [
            {
                "rule": finding.rule,
                "urgency": finding.urgency.value,
                "crisis": finding.crisis,
                "words": finding.words,
                "advice": finding.advice,
                "why": finding.why,
                "source": finding.source,
            }
            for finding in assessment.findings
        ],
        "language": assessment.language,
        "about_other": assessment.about_other,
        "general": assessment.general,
        "region": assessment.numbers.region,
        "numbers": {
            "emergency": list(assessment.numbers.emergency),
            "crisis": list(assessment.numbers.crisis),
            "poison": list(assessment.numbers.poison),
            "police": list(assessment.numbers.police),
        },
    }


def explain(assessment: Assessment, out: TextIO) -> None:
    """Print for a person: how urgent, whom to call, which rules fired on which words and why."""
    language: Language = "zh" if assessment.language == "zh" else "en"
    words = _WORDS[language]
    heading = _GENERAL[language] if assessment.general else _HEADING[language][assessment.urgency]
    print(heading, file=out)
    if assessment.crisis or assessment.urgency is Urgency.EMERGENCY:
        numbers = assessment.numbers
        for name, values in (("call", numbers.emergency), ("crisis", numbers.crisis)):
            if values and (name == "call" or assessment.crisis):
                print(f"{words[name]}: {' / '.join(values)}", file=out)
        if numbers.poison and any(f.rule.startswith("poison.") for f in assessment.findings):
            print(f"{words['poison']}: {' / '.join(numbers.poison)}", file=out)
    told: set[str] = set()
    for finding in assessment.findings:
        _explain_finding(finding, words, told, out)


def _explain_finding(finding: Finding, words: dict[str, str], told: set[str], out: TextIO) -> None:
    print(f"\n{words['rule']} {finding.rule} ({finding.urgency.value})", file=out)
    print(f"  {words['said']}: {finding.words}", file=out)
    if advice := unsaid(finding.advice, told):
        told |= set(sentences(advice))
        print(f"  {words['do']}: {advice}", file=out)
    print(f"  {words['why']}: {finding.why}", file=out)
    print(f"  {words['source']}: {finding.source}", file=out)


def _read(text: str, args: argparse.Namespace) -> Assessment:
    sex: Literal["female", "male"] | None = args.sex
    region = args.region or region_of_locale() or None
    return assess(text, age=args.age, sex=sex, pregnant=args.pregnant, region=region)


def _lines(file: Path) -> Iterator[str]:
    try:
        with file.open(encoding="utf-8-sig") as stream:
            for line in stream:
                yield line.rstrip("\r\n")
    except OSError as error:
        raise SparseDoctorError(
            f"cannot read {file}: {error.strerror}; name a text file with one text a line"
        ) from error
    except UnicodeDecodeError as error:
        raise SparseDoctorError(f"{file} is not UTF-8 text; save it as UTF-8") from error


def _age(text: str) -> float:
    try:
        age = float(text)
    except ValueError:
        age = -1.0
    if not 0 <= age <= 130:
        raise argparse.ArgumentTypeError(f"{text!r} is no age; give years from 0 to 130")
    return age


def _region(text: str) -> str:
    region = text.strip().upper()
    if region not in regions():
        raise argparse.ArgumentTypeError(
            f"{text!r} is not in the table of numbers; give a country code such as CN, US or GB"
        )
    return region
