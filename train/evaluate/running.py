"""One run: questions to requests, to a model, its answers to the journal, figures at the end."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sparsedoctor.train.evaluate.answers import LEVELS, read_answer
from sparsedoctor.train.evaluate.backends.backend import Backend
from sparsedoctor.train.evaluate.benchmarks import Benchmark
from sparsedoctor.train.evaluate.compatibility import read_compatibly
from sparsedoctor.train.evaluate.journal import RESULT, Answer, Journal, answer_of, write_json
from sparsedoctor.train.evaluate.loaders.files import files_hash
from sparsedoctor.train.evaluate.prompts import choose_shots, prompt_hash, wording_for
from sparsedoctor.train.evaluate.questions import Question, QuestionSet
from sparsedoctor.train.evaluate.results import result_of
from sparsedoctor.train.evaluate.scoring import (
    Request,
    Settings,
    Verdict,
    requests_for,
    verdict_of_scores,
)

_TOGETHER = 64  # questions


def run_benchmark(
    backend: Backend,
    benchmark: Benchmark,
    loaded: QuestionSet,
    settings: Settings,
    output: Path,
    *,
    quiet: bool = False,
) -> dict[str, Any]:
    """Answer what `output` does not hold yet, write `result.json` and return it.

    Interrupted at any moment, the same call goes on where it stopped. A finished sample goes on to
    a larger one that holds all its questions.
    """
    wording = wording_for(benchmark.name, benchmark.language, settings.compatibility)
    asked = {
        question.id: requests_for(
            question,
            choose_shots(question, loaded.shots, settings.shots, settings.seed),
            wording,
            settings,
        )
        for question in loaded.questions
    }
    data = files_hash(loaded.files)

    def identity(names: Collection[str]) -> dict[str, Any]:
        """Of a run that asks only questions with these ids."""
        prompts = prompts_hash(backend, (asked[name] for name in asked if name in names))
        return {
            "benchmark": benchmark.name,
            "model": backend.record.name,
            "kind": backend.record.kind,
            "settings": asdict(settings) | {"wording": wording},
            "questions": len(names),
            "hashes": {"model": backend.record.sha256, "data": data, "prompt": prompts},
        }

    this = identity(asked)
    with Journal(output, this, identity) as journal:
        began, before = time.perf_counter(), len(journal.done)
        todo = [question for question in loaded.questions if question.id not in journal.done]
        with tqdm(
            total=len(loaded.questions),
            initial=before,
            desc=benchmark.name,
            unit="question",
            disable=quiet,
            mininterval=0.5,
        ) as bar:
            for answer in _answers(backend, todo, asked, settings):
                journal.add(answer)
                bar.update()
        seconds = time.perf_counter() - began
        answers = journal.finish([question.id for question in loaded.questions])
        result = result_of(
            benchmark,
            loaded,
            settings,
            wording,
            backend.record,
            answers,
            this["hashes"],
            answered_now=len(answers) - before,
            seconds=seconds,
        )
        write_json(output / RESULT, result)
    return result


def prompts_hash(backend: Backend, asked: Any) -> str:
    """sha256 over every prompt as the model reads it, in the order of the questions."""
    return prompt_hash(backend.prompt(one.messages) for requests in asked for one in requests)


def _answers(
    backend: Backend,
    questions: Sequence[Question],
    asked: Mapping[str, Sequence[Request]],
    settings: Settings,
) -> Iterator[Answer]:
    """Answers in the order in which the model gets them done."""
    if settings.scoring == "logprob-pmi" and len(questions) > _TOGETHER:
        # What asks nothing is scored apart, so a question would be done only when all are.
        for at in range(0, len(questions), _TOGETHER):
            yield from _answers(backend, questions[at : at + _TOGETHER], asked, settings)
        return
    owners = [question for question in questions for _ in asked[question.id]]
    requests = [request for question in questions for request in asked[question.id]]
    if settings.scoring == "generate":
        for index, text in backend.generate(requests, settings.max_tokens, settings.seed):
            yield answer_of(owners[index], verdict_of_text(owners[index], text, settings))
        return
    parts: dict[str, list[tuple[Request, list[list[float]]]]] = {}
    for index, tokens in backend.score(requests):
        question = owners[index]
        collected = parts.setdefault(question.id, [])
        collected.append((requests[index], tokens))
        if len(collected) == len(asked[question.id]):
            collected.sort(key=lambda part: (part[0].unasked, part[0].shift))
            yield answer_of(question, verdict_of_scores(question, parts.pop(question.id), settings))


def verdict_of_text(question: Question, text: str, settings: Settings) -> Verdict:
    """Read what a model wrote, at every level; the settings say which one counts."""
    options = question.options
    if not options:
        return Verdict("", {}, text)
    readings = {level: read_answer(text, options, question.multiple, level) for level in LEVELS}
    chosen = readings[settings.level]
    if settings.compatibility:
        single = not question.multiple
        found = read_compatibly(text, options, single, settings.compatibility)
        readings[settings.compatibility] = found.letters if found.readable else ""
        chosen = found.letters
    return Verdict(chosen, {}, text, readings)
