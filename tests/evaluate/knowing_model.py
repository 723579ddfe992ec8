"""A model whose answers are known, and the results of its runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evaluate.exam_files import write_cmexam, write_cmmlu

from sparsedoctor.train.evaluate.backends.backend import ModelRecord, Prompting
from sparsedoctor.train.evaluate.benchmarks import find_benchmark, load_questions
from sparsedoctor.train.evaluate.loaders.cmmlu import CMMLU_LISTS
from sparsedoctor.train.evaluate.running import run_benchmark
from sparsedoctor.train.evaluate.scoring import Request, Settings


class Knowing(Prompting):
    """Gives the right option of one question in `every` 0.7 of the probability, else to A 0.4;
    a character of a text costs `nats`."""

    def __init__(self, every: int, nats: float) -> None:
        self.record = ModelRecord("known", "scripted", "0" * 64, "chatml")
        self.every, self.nats = every, nats

    def score(self, requests: Sequence[Request]) -> Iterator[tuple[int, list[list[float]]]]:
        for index, request in enumerate(requests):
            if len(request.continuations) == 1:
                yield index, [[-self.nats] * len(request.continuations[0])]
                continue
            liked, share = ("A", 0.4) if index % self.every else (request.question.answer, 0.7)
            rest = (1 - share) / (len(request.continuations) - 1)
            yield (
                index,
                [[math.log(share if text == liked else rest)] for text in request.continuations],
            )

    def generate(self, *_: Any) -> Iterator[tuple[int, str]]:
        raise NotImplementedError

    def close(self) -> None:
        pass


def scored(folder: Path, data: Path, every: int, nats: float, limit: int | None = None) -> None:
    """The results of such a model on an exam and on explanations."""
    cmmlu = write_cmmlu(data / "cmmlu", CMMLU_LISTS["cmmlu-med"], each=8)
    cmexam = write_cmexam(data / "cmexam.csv")
    for label, name, path, settings in (
        ("cmmlu-med-apollo", "cmmlu-med-apollo", cmmlu, Settings()),
        ("loss", "cmexam", cmexam, Settings(scoring="loss")),
    ):
        benchmark = find_benchmark(name)
        loaded = load_questions(benchmark, path, limit=limit, with_reference=label == "loss")
        run_benchmark(Knowing(every, nats), benchmark, loaded, settings, folder / label, quiet=True)


def cells(text: str, title: str) -> list[list[str]]:
    """The lines of every table that begin with `title`."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [line for line in lines if line[0] == title]
