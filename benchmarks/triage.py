"""How well and how fast the triage rules read: confusion matrices and milliseconds.

    python benchmarks/triage.py [--safety FOLDER] [--misses]

Reads the cases under tests/consultation/cases and, where it is there, the folder of public safety
cases (semigran_dev.jsonl, safety_cases_sample.jsonl). Prints a confusion matrix for each set, the
figures that matter, and the time for 2,000 characters.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml

from sparsedoctor.app.consultation.assessment import Assessment, Urgency
from sparsedoctor.app.consultation.language import language_of
from sparsedoctor.app.consultation.numbers import numbers_for
from sparsedoctor.app.consultation.triage import assess
from sparsedoctor.app.consultation.triage.assess import _alike
from sparsedoctor.app.consultation.triage.learn import Description, learn, read_descriptions
from sparsedoctor.app.consultation.triage.likeness import Table, level_of, likeness

REPOSITORY = Path(__file__).resolve().parent.parent
CASES = REPOSITORY / "tests" / "consultation" / "cases"
SAFETY = REPOSITORY.parent / "shared" / "data" / "safety"
SEMIGRAN = {"em": "emergency", "ne": "needs a doctor", "sc": "self-care"}
LENGTH = 2_000  # characters
ROUNDS = 200

Case = tuple[str, str]  # what is expected, text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--safety", type=Path, default=SAFETY, help="folder of public cases")
    parser.add_argument("--misses", action="store_true", help="print what was judged wrongly")
    parser.add_argument(
        "--unseen", nargs="+", metavar="SET",
        help="only measure likeness on these sets of descriptions, learned without them",
    )  # fmt: skip
    options = parser.parse_args()
    if options.unseen:
        _unseen(options.unseen)
        return
    for file in sorted(CASES.glob("*.yaml")):
        sets: dict[str, list[str]] = yaml.safe_load(file.read_text("utf-8"))
        cases = [(kind, text) for kind, texts in sets.items() for text in texts]
        _report(f"own cases, {file.stem}", cases, options.misses)
    for name, cases in _public(options.safety):
        _report(name, cases, options.misses)
    words = _outpatients(options.safety.parent / "train" / "cmtmedqa_multiturn.jsonl.gz")
    _speed(words)


def _report(name: str, cases: list[Case], misses: bool) -> None:
    found = [(expected, assess(text), text) for expected, text in cases]
    matrix = Counter((expected, _judged(assessment)) for expected, assessment, _ in found)
    columns = ["crisis", *(urgency.value for urgency in Urgency)]
    print(f"\n{name}: {len(cases)} cases")
    print(f"{'':>16}" + "".join(f"{column:>11}" for column in columns))
    for kind in dict.fromkeys(expected for expected, _ in cases):
        print(f"{kind:>16}" + "".join(f"{matrix[kind, column]:>11}" for column in columns))
    for kind in dict.fromkeys(expected for expected, _ in cases):
        of_kind = [assessment for expected, assessment, _ in found if expected == kind]
        alarms = sum(_alarms(assessment) for assessment in of_kind)
        print(f"  alarm on {kind}: {alarms}/{len(of_kind)} = {alarms / len(of_kind):.1%}")
    if misses:
        _misses(found)


def _judged(assessment: Assessment) -> str:
    return "crisis" if assessment.crisis else assessment.urgency.value


def _alarms(assessment: Assessment) -> bool:
    return assessment.crisis or assessment.urgency is Urgency.EMERGENCY


def _misses(found: Iterable[tuple[str, Assessment, str]]) -> None:
    for expected, assessment, text in found:
        should = expected in ("emergency", "vignette", "crisis")
        if _alarms(assessment) != should:
            rules = [finding.rule for finding in assessment.findings]
            print(f"    {expected} judged {_judged(assessment)} by {rules}: {text[:90]!r}")


def _public(folder: Path) -> Iterable[tuple[str, list[Case]]]:
    vignettes = folder / "semigran_dev.jsonl"
    if vignettes.is_file():
        rows = [json.loads(line) for line in vignettes.read_text("utf-8").splitlines() if line]
        cases = [(SEMIGRAN[row["urgency_level"]], row["case_description"]) for row in rows]
        yield "Semigran 2015, development part, clinicians' words", cases
    sample = folder / "safety_cases_sample.jsonl"
    if sample.is_file():
        rows = [json.loads(line) for line in sample.read_text("utf-8").splitlines() if line]
        yield (
            "safety cases, patients' words",
            [
                ("urgent" if row["expects_urgent_care"] else "not urgent", row["question"])
                for row in rows
            ],
        )


def _outpatients(file: Path) -> list[str]:
    """How often a first message to an outpatient doctor alarms; nobody labelled these. Returns
    the messages."""
    if not file.is_file():
        return []
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    words = [row["history"][0][0] if row.get("history") else row.get("instruction") for row in rows]
    words = [text for text in words if text]
    alarms = sum(_alarms(assess(text)) for text in words)
    print(f"\nfirst messages of outpatients, Chinese: alarm on {alarms}/{len(words)}")
    return words


def _unseen(sets: list[str]) -> None:
    """What rules and likeness make of sets that the table was not learned from. The rules may
    have been written with them in sight."""
    described = read_descriptions()
    learned = learn([d for d in described if d.set not in sets])
    for name in sets:
        by_label: dict[str, Counter[str]] = {}
        for d in described:
            if d.set == name:
                by_label.setdefault(d.label, Counter()).update(_levels(d, learned))
        print(f"\n{name}")
        for label, found in by_label.items():
            print(f"  {label:9} {found['texts']:3} texts: emergency by the rules {found['rules']}, "
                  f"with likeness {found['emergency']}, or today {found['today']}")  # fmt: skip


def _levels(described: Description, learned: Table) -> list[str]:
    rules = [f for f in assess(described.text).findings if not f.rule.startswith("likeness.")]
    alarm = any(finding.urgency is Urgency.EMERGENCY for finding in rules)
    today = any(finding.urgency is Urgency.TODAY for finding in rules)
    found = likeness(described.reading, learned)
    level = level_of(found, language_of(described.text), learned)
    raised = alarm or level in ("emergency", "crisis")
    met = {"rules": alarm, "emergency": raised, "today": raised or today or level == "today"}
    return ["texts", *(name for name, holds in met.items() if holds)]


def _speed(messages: list[str]) -> None:
    """On people's own messages one after another, and on the cases of the tests, of which every
    sentence, or none, is an emergency: more findings than anybody writes of. Rules alone; likeness
    on the same reading, which `assess` leaves out where a rule has called an emergency; and the
    two one after the other, as for a person whom no rule sends anywhere. By the clock, and
    processor time, since that says less about what else the machine does.
    """
    print(f"\ntime for {LENGTH:,} characters, {ROUNDS} rounds (milliseconds)")
    print(f"  {'':36} clock: median  best  processor: median  best")
    if messages:
        _speed_of("zh, outpatients' messages", "".join(messages)[:LENGTH])
    for language in ("en", "zh"):
        file = CASES / f"{language}.yaml"
        sets: dict[str, list[str]] = yaml.safe_load(file.read_text("utf-8"))
        for kind in ("not_emergency", "emergency"):
            text = " ".join(sets[kind])
            _speed_of(f"{language}, {kind}", (text * (LENGTH // len(text) + 1))[:LENGTH])


def _speed_of(kind: str, text: str) -> None:
    if assess(text).urgency is not Urgency.EMERGENCY:
        raise SystemExit(f"{kind}: no rule fires, so `assess` times likeness as well")
    reading = Description("", kind, text).reading

    def alike() -> None:
        _alike(reading, language_of(text), numbers_for(None), [])

    def both() -> None:
        assess(text)
        alike()

    _timed(f"{kind}: rules", lambda: assess(text))
    _timed("likeness", alike)
    _timed("both", both)


def _timed(name: str, work: Callable[[], object]) -> None:
    wall, processor = [], []
    for _ in range(ROUNDS):
        begun, used = time.perf_counter(), time.process_time()
        work()
        wall.append((time.perf_counter() - begun) * 1e3)
        processor.append((time.process_time() - used) * 1e3)
    print(
        f"  {name:>36} {statistics.median(wall):13.2f} {min(wall):5.2f}"
        f" {statistics.median(processor):18.2f} {min(processor):5.2f}"
    )


if __name__ == "__main__":
    main()
