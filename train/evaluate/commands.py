"""The subcommands of `sparsedoctor-eval`: their options, and what they print."""

from __future__ import annotations

import argparse
import importlib.metadata
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparsedoctor.core.arguments import whole
from sparsedoctor.train.evaluate.answers import LEVELS
from sparsedoctor.train.evaluate.backends.opening import KINDS, ModelChoice, open_backend
from sparsedoctor.train.evaluate.benchmarks import (
    BENCHMARKS,
    Benchmark,
    find_benchmark,
    load_questions,
)
from sparsedoctor.train.evaluate.compatibility import MODES
from sparsedoctor.train.evaluate.downloading import download
from sparsedoctor.train.evaluate.journal import RESULT, write_json, write_text
from sparsedoctor.train.evaluate.running import run_benchmark
from sparsedoctor.train.evaluate.scoring import CANDIDATES, SCORINGS, Settings
from sparsedoctor.train.evaluate.summaries import combine_seeds, summary

Actions = Any  # argparse's type for subparsers is private


def version() -> str:
    return f"sparsedoctor-eval {importlib.metadata.version('sparsedoctor')}"


def add_run(actions: Actions) -> None:
    parser = actions.add_parser(
        "run",
        help="score one model on one benchmark",
        description="Score one model on one benchmark. Interrupted, the same call goes on.",
    )
    add = parser.add_argument
    add("--model", required=True, help="default, smollm2, a GGUF file, a folder, http://...")
    add("--benchmark", required=True, metavar="NAME", help=", ".join(BENCHMARKS))
    add("--data", required=True, type=Path, metavar="PATH", help="its folder, or its file")
    add("--output", required=True, type=Path, metavar="DIR", help="for result.json, answers.jsonl")
    add("--base", help="base of an adapter folder, where it is not found by itself")
    add("--backend", choices=KINDS, default="auto", help="default: by what --model is")
    add("--scoring", choices=SCORINGS, default="logprob")
    add("--candidates", choices=CANDIDATES, default="letter", help="what is scored")
    add("--level", choices=LEVELS, default="first-letter", help="of reading generated answers")
    add("--compatibility", choices=MODES, default="", help="a published script's rules")
    add("--shots", type=whole(0), default=0, metavar="N", help="examples before each question")
    add("--shots-from", type=Path, metavar="PATH", help="where examples come from")
    add(
        "--seed",
        type=_seeds,
        default=(0,),
        metavar="N[,N...]",
        help="of examples; several: a run each",
    )
    add("--limit", type=whole(1), metavar="N", help="a fixed sample of N questions")
    add("--max-tokens", type=whole(1), default=64, metavar="N", help="written at most")
    add("--template", help="prompt template of a transformers model or a server")
    add("--served-model", metavar="NAME", help="which model of a server")
    add("--context", type=whole(1), metavar="N", help="tokens, of a GGUF file")
    add("--threads", type=whole(1), metavar="N")
    add("--gpu-layers", type=whole(0), default=0, metavar="N", help="of a GGUF file")
    add("--exact", action="store_true", help="float32 keys and values, of a GGUF file (slower)")
    add("--dtype", default="auto", help="of a transformers model: float32, bfloat16, float16")
    add("--batch-tokens", type=whole(1), metavar="N", help="tokens in a batch (transformers)")
    add("--download", action="store_true", help="fetch missing files from where they are published")
    add("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(act=_run)


def add_benchmarks(actions: Actions) -> None:
    parser = actions.add_parser("benchmarks", help="the benchmarks, and where they are published")
    parser.set_defaults(act=_benchmarks)


def add_compare(actions: Actions) -> None:
    parser = actions.add_parser(
        "compare",
        help="a table of runs, with paired tests against the first",
        description="Make a table (Markdown, PNG) of runs, with paired tests against the first.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of runs")
    parser.add_argument("--output", type=Path, metavar="DIR", help="for compare.md, compare.png")
    parser.set_defaults(act=_compare)


def add_leaderboard(actions: Actions) -> None:
    parser = actions.add_parser(
        "leaderboard", help="runs beside published scores, each with source and protocol"
    )
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="folders of runs")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write it there")
    parser.set_defaults(act=_leaderboard)


def add_contamination(actions: Actions) -> None:
    parser = actions.add_parser(
        "contamination", help="which training rows share text with a benchmark"
    )
    parser.add_argument("--train", nargs="+", required=True, type=Path, metavar="FILE")
    parser.add_argument("--benchmark", required=True, metavar="NAME")
    parser.add_argument("--data", required=True, type=Path, metavar="PATH")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR")
    parser.add_argument("--n", type=whole(1), default=13, help="words of a shared run (13)")
    parser.set_defaults(act=_contamination)


def _run(options: argparse.Namespace) -> int:
    benchmark = find_benchmark(options.benchmark)
    if options.download:
        download(benchmark, options.data)
    scoring = _scoring_of(benchmark, options.scoring)
    loaded = load_questions(
        benchmark,
        options.data,
        options.shots_from,
        options.limit,
        with_reference=scoring == "loss",
    )
    settings = Settings(
        scoring=scoring,
        candidates=options.candidates,
        level=options.level,
        compatibility=options.compatibility,
        shots=options.shots,
        seed=options.seed[0],
        max_tokens=options.max_tokens,
    )
    backend = open_backend(
        ModelChoice(
            options.model,
            options.base,
            options.backend,
            options.template,
            options.served_model,
            options.context,
            options.threads,
            options.gpu_layers,
            options.dtype,
            options.batch_tokens,
            options.exact,
        )
    )
    try:
        results = []
        for seed in options.seed:
            several = len(options.seed) > 1
            output = options.output / f"seed-{seed}" if several else options.output
            seeded = replace(settings, seed=seed)
            results.append(
                run_benchmark(backend, benchmark, loaded, seeded, output, quiet=options.quiet)
            )
    finally:
        backend.close()
    result = results[0]
    if len(results) > 1:
        result = combine_seeds(results)
        write_json(options.output / RESULT, result)
    print(summary(result))
    print(f"written: {options.output / RESULT}")
    return 0


def _scoring_of(benchmark: Benchmark, scoring: str) -> str:
    """Open questions have no options to score: their reference is."""
    return "loss" if benchmark.open_ended and scoring.startswith("logprob") else scoring


def _benchmarks(options: argparse.Namespace) -> int:
    width = max(map(len, BENCHMARKS))
    for benchmark in BENCHMARKS.values():
        print(f"{benchmark.name:{width}}  {benchmark.language}  {benchmark.published}")
    return 0


def _compare(options: argparse.Namespace) -> int:
    from sparsedoctor.train.evaluate.comparing import compare

    print(compare(options.runs, options.output))
    return 0


def _leaderboard(options: argparse.Namespace) -> int:
    from sparsedoctor.train.evaluate.leaderboard import leaderboard

    text = leaderboard(options.runs)
    print(text)
    if options.output:
        write_text(options.output, text + "\n")
    return 0


def _contamination(options: argparse.Namespace) -> int:
    from sparsedoctor.train.evaluate.contamination import check_files

    benchmark = find_benchmark(options.benchmark)
    loaded = load_questions(benchmark, options.data)
    print(check_files(options.train, benchmark, loaded.questions, options.output, options.n))
    return 0


def _seeds(text: str) -> tuple[int, ...]:
    seed = whole(0, 2**32 - 1)
    return tuple(dict.fromkeys(seed(part) for part in text.split(",")))
