"""The second net: words like those of emergencies, where no rule fires."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsedoctor.app.consultation.assessment import Assessment, Urgency
from sparsedoctor.app.consultation.triage import assess
from sparsedoctor.app.consultation.triage.learn import (
    ALARMING,
    HARMLESS,
    Description,
    fit,
    read_descriptions,
)
from sparsedoctor.app.consultation.triage.likeness import KINDS, likeness, table
from sparsedoctor.core.errors import SparseDoctorError

ORDER = list(Urgency)
OTHER = ("It is raining today.", "Thank you for your help!", "我昨天吃了面条。", "谢谢。")
EVERYDAY = (
    "I have a cold",
    "my knee hurts when I climb stairs",
    "My temperature is 38.5",
    "I have diabetes and want to know what to eat",
    "Can I take ibuprofen with paracetamol?",
    "I want to talk about my diet",
    "I don't know what to do about my cold",
    "Can I tell you of the hoopoe?",
    "我想问个问题",
    "i burned my finger on the stove, small blister",
    "感冒了怎么办",
    "我发烧38.5",
    "高血压吃什么好",
    "孩子咳嗽三天，能吃能玩",
)


def _likeness(found: Assessment) -> list[str]:
    return [f.rule for f in found.findings if f.rule.startswith("likeness.")]


@pytest.fixture(scope="module")
def described() -> list[Description]:
    return read_descriptions()


def test_some_described_emergencies_are_known_by_likeness_alone(
    described: list[Description],
) -> None:
    found = [assess(d.text) for d in described if d.label in ALARMING and d.set != "rules"]
    alarmed = [a for a in found if a.urgency is Urgency.EMERGENCY]
    assert any(_likeness(a) for a in alarmed)
    assert len(alarmed) > 0.97 * len(found)


def test_what_is_found_quotes_the_person_and_names_its_source(described: list[Description]) -> None:
    for d in described[:200]:
        for finding in assess(d.text).findings:
            assert all(piece in d.text for piece in finding.words.split(" … "))
            assert finding.advice
            assert "{" not in finding.advice
            assert finding.source


@pytest.mark.parametrize("text", EVERYDAY)
def test_small_complaints_are_no_emergencies(text: str) -> None:
    assert assess(text).urgency is not Urgency.EMERGENCY


@given(st.data())
def test_other_sentences_do_not_take_likeness_away(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(_ALIKE))
    others = data.draw(st.lists(st.sampled_from(OTHER), max_size=4))
    at = data.draw(st.integers(0, len(others)))
    whole = "\n\n".join([*others[:at], text, *others[at:]])
    assert ORDER.index(assess(whole).urgency) <= ORDER.index(assess(text).urgency)


_ALIKE = [d.text for d in read_descriptions() if _likeness(assess(d.text))][:60]


def test_the_table_has_a_threshold_for_every_level_and_language() -> None:
    for language in ("en", "zh"):
        limits = {level: table().thresholds[level, language] for level in ("emergency", "today")}
        assert limits["today"] < limits["emergency"]
        assert ("crisis", language) in table().thresholds


def test_a_text_is_read_the_same_every_time() -> None:
    """Not by the order of a set, which differs from one start to the next."""
    code = (
        "from sparsedoctor.app.consultation.triage.learn import read_descriptions\n"
        "print([d.reading.text.keys for d in read_descriptions()])"
    )
    read = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert read[0] == read[1]
    assert len(read[0]) > 10_000


def test_a_line_that_is_no_description_is_refused(tmp_path: Path) -> None:
    (tmp_path / "en.tsv").write_text("set\temergncy\tmy chest\n", encoding="utf-8")
    with pytest.raises(SparseDoctorError, match=r"en\.tsv, line 1"):
        read_descriptions(tmp_path)


@pytest.mark.slow
def test_writers_that_were_not_learned_from_are_understood(described: list[Description]) -> None:
    """The last writer's sets, by a table without them: harmless and alarming texts lie apart."""
    features = [d.features for d in described]
    rest = [i for i, d in enumerate(described) if d.set not in ("en-u", "zh-u")]
    learned = fit([features[i] for i in rest], [described[i] for i in rest])
    scores: dict[bool, list[float]] = {True: [], False: []}
    for d in described:
        if d.set in ("en-u", "zh-u") and d.label in (*ALARMING, *HARMLESS):
            found = likeness(d.reading, learned)
            scores[d.label in ALARMING].append(found.emergency)
    higher = np.subtract.outer(scores[True], scores[False]) > 0
    assert higher.mean() > 0.85  # 0.5 is chance
    assert set(KINDS) == {"emergency", "crisis"}
