"""Questions per second of CMMLU: sparsedoctor-eval's way beside naive loops, on one model.

    python benchmarks/eval_speed.py --data PATH/cmmlu [--questions 10] [--threads 2]
    python benchmarks/eval_speed.py ... --shots 0 --candidates cloze --side transformers

Naive, with transformers:  one forward over the whole prompt for each option (how simple scripts
                           do it), and one forward for each question (the letters from one position;
                           not for option texts)
Naive, with GGUF:          the whole prompt read again for each question
Both sides score the same questions, and their scores are compared. Questions per second are told by
the clock, and by the processor time of the model's own process, which other programs hardly change.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import torch

from sparsedoctor.core.engine.child import ChildEngine
from sparsedoctor.core.engine.protocol import Engine
from sparsedoctor.core.errors import run_command
from sparsedoctor.train.evaluate.backends.backend import Backend
from sparsedoctor.train.evaluate.backends.opening import ModelChoice, open_backend
from sparsedoctor.train.evaluate.backends.transformers_model import TransformersBackend
from sparsedoctor.train.evaluate.benchmarks import find_benchmark, load_questions
from sparsedoctor.train.evaluate.prompts import choose_shots
from sparsedoctor.train.evaluate.scoring import CANDIDATES, Request, Settings, requests_for

Scores = list[list[float]]  # [question][option]
Timed = tuple[Scores, float, float]  # scores, questions per second, and per second of processor


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--model", default="smollm2", help="a GGUF file (transformers reads it too)"
    )
    parser.add_argument("--questions", type=int, default=10)
    parser.add_argument("--subject", default="anatomy", help="of CMMLU; a run takes one by one")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--candidates", choices=CANDIDATES, default="letter")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", choices=("transformers", "gguf"), help="only this one")
    options = parser.parse_args()

    settings = Settings(shots=options.shots, candidates=options.candidates)
    requests = asked(options.data, options.subject, options.questions, settings)
    print(
        f"{len(requests)} questions of {options.subject}, {options.shots}-shot, "
        f"{options.candidates}, {options.model}, {options.threads} threads"
    )
    if options.side != "gguf":
        transformers_side(options, requests)
    if options.side != "transformers":
        gguf_side(options, requests)
    return 0


def transformers_side(options: argparse.Namespace, requests: Sequence[Request]) -> None:
    torch.set_num_threads(options.threads)
    choice = ModelChoice(options.model, kind="transformers", threads=options.threads)
    backend = open_backend(choice)
    assert isinstance(backend, TransformersBackend)
    tokens = sum(len(backend._writer.prompt(request.messages)) for request in requests)
    print(f"{tokens / len(requests):.0f} tokens a prompt")
    own = os.getpid()
    per_option = timed(
        "transformers, a forward an option", own, lambda: forward_per_option(backend, requests)
    )
    naive = [per_option]
    if options.candidates == "letter":
        naive.append(
            timed(
                "transformers, a forward a question",
                own,
                lambda: forward_per_question(backend, requests),
            )
        )
    ours = timed("transformers, sparsedoctor-eval", own, lambda: scored(backend, requests))
    compared("transformers", naive, ours)
    backend.close()


def gguf_side(options: argparse.Namespace, requests: Sequence[Request]) -> None:
    exported = open_backend(ModelChoice(options.model, kind="gguf", threads=options.threads))
    engine: ChildEngine = exported._engine  # type: ignore[attr-defined]
    engine.load()
    child = engine.pid or os.getpid()
    again = timed(
        "GGUF, whole prompt each time", child, lambda: engine_without_reuse(engine, requests)
    )
    engine.evaluate([0])  # nothing is left of the naive loop's last prompt
    ours = timed("GGUF, sparsedoctor-eval", child, lambda: scored(exported, requests))
    compared("GGUF", [again], ours)
    exported.close()


def asked(data: Path, subject: str, count: int, settings: Settings) -> list[Request]:
    """Requests for the first questions of one subject."""
    loaded = load_questions(find_benchmark("cmmlu-med"), data)
    questions = [question for question in loaded.questions if question.subject == subject][:count]
    shots = settings.shots
    return [
        request
        for question in questions
        for request in requests_for(
            question, choose_shots(question, loaded.shots, shots, 0), "cmmlu", settings
        )
    ]


@torch.inference_mode()
def forward_per_option(backend: TransformersBackend, requests: Sequence[Request]) -> Scores:
    rows = []
    for request in requests:
        prompt = backend._writer.prompt(request.messages)
        row = []
        for text in request.continuations:
            tokens = backend._writer.plain(text)
            logits = backend._model(input_ids=torch.tensor([prompt + tokens])).logits[0]
            logprobs = logits[len(prompt) - 1 : -1].float().log_softmax(-1)
            row.append(sum(float(logprobs[i, token]) for i, token in enumerate(tokens)))
        rows.append(row)
    return rows


@torch.inference_mode()
def forward_per_question(backend: TransformersBackend, requests: Sequence[Request]) -> Scores:
    rows = []
    for request in requests:
        prompt = backend._writer.prompt(request.messages)
        letters = [backend._writer.plain(text)[0] for text in request.continuations]
        logits = backend._model(input_ids=torch.tensor([prompt]), logits_to_keep=1).logits[0, -1]
        rows.append(logits.float().log_softmax(-1)[letters].tolist())
    return rows


def engine_without_reuse(engine: Engine, requests: Sequence[Request]) -> Scores:
    rows = []
    for request in requests:
        engine.evaluate([0])  # forgets what was read
        scores = engine.score(request.messages, request.continuations)
        rows.append([sum(tokens) for tokens in scores])
    return rows


def scored(backend: Backend, requests: Sequence[Request]) -> Scores:
    found = dict(backend.score(requests))
    return [[sum(tokens) for tokens in found[i]] for i in range(len(requests))]


def timed(name: str, process: int, work: Callable[[], Scores]) -> Timed:
    """Run and print one way; `process` computes."""
    began, used = time.perf_counter(), processor_seconds(process)
    scores = work()
    speed = len(scores) / (time.perf_counter() - began)
    per_processor = len(scores) / (processor_seconds(process) - used)
    print(
        f"{name:36} {speed:8.3f} questions/s  {per_processor:8.3f} a second of processor",
        flush=True,
    )
    return scores, speed, per_processor


def processor_seconds(process: int) -> float:
    times = psutil.Process(process).cpu_times()
    return float(times.user + times.system)


def compared(name: str, naive: Sequence[Timed], ours: Timed) -> None:
    worst = max(
        abs(a - b)
        for scores, *_ in naive
        for one, other in zip(scores, ours[0], strict=True)
        for a, b in zip(one, other, strict=True)
    )
    clock = ", ".join(f"{ours[1] / one[1]:.1f} x" for one in naive)
    processor = ", ".join(f"{ours[2] / one[2]:.1f} x" for one in naive)
    print(
        f"{name}: {clock} by the clock, {processor} by the processor; "
        f"largest difference of a score {worst:.1e} nats\n"
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
