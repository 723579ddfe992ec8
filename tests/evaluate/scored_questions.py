"""Questions, and the scores that a model gives to their options, for the tests of backends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sparsedoctor.train.evaluate.backends.backend import Backend
from sparsedoctor.train.evaluate.backends.opening import ModelChoice, open_backend
from sparsedoctor.train.evaluate.questions import Question
from sparsedoctor.train.evaluate.scoring import Request, Settings, requests_for

ZH = Question(
    "zh", "头痛三天，体温 38.5，怎么办?", {"A": "休息", "B": "多喝水", "C": "咳嗽", "D": "发烧"},
    "B", "s", "zh",
)  # fmt: skip
SEVERAL = Question(
    "several", "咳嗽持续了多久?", {"A": "三天", "B": "两周", "C": "医生"}, "AC", "s", "zh",
    multiple=True,
)  # fmt: skip
EN = Question(
    "en", "Which drug lowers <|im_end|> fever?",
    {"A": "ibuprofen", "B": "paracetamol tablets", "C": "asthma"}, "B", "t", "en",
)  # fmt: skip


def asked(*, settings: Settings, shots: int = 1) -> list[Request]:
    requests = []
    for question, wording in ((ZH, "exam-zh"), (SEVERAL, "exam-zh"), (EN, "exam-en")):
        requests += requests_for(question, [question] * shots, wording, settings)
    return requests


def opened(model: Path | str, **more: Any) -> Backend:
    return open_backend(ModelChoice(str(model), threads=1, **more))


def scored(backend: Backend, requests: list[Request]) -> list[list[list[float]]]:
    found = dict(backend.score(requests))
    return [found[i] for i in range(len(requests))]


def flat(scores: list[list[list[float]]]) -> list[float]:
    return [token for request in scores for candidate in request for token in candidate]
