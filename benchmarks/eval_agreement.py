"""Does an exported file choose as the trained model does? Same questions, PyTorch and GGUF.

    python benchmarks/eval_agreement.py --adapter RUN/adapter --base BASE \
        --benchmark cmmlu-med --data PATH --output DIR [--limit 500] [--types f32 q8_0 q4_0]

Exports the adapter once for each type, scores every file and the PyTorch model in float32 by
option log-probability, and prints the share of questions on which both choose the same option.
Stopped at any moment, the same call goes on. Expected: at least 99 % in float32.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sparsedoctor.core.base_models import find_base
from sparsedoctor.core.errors import run_command
from sparsedoctor.export.mixture import ExportSettings, export_mixture
from sparsedoctor.export.types import FORMATS
from sparsedoctor.train.evaluate.backends.opening import ModelChoice, open_backend
from sparsedoctor.train.evaluate.benchmarks import find_benchmark, load_questions
from sparsedoctor.train.evaluate.comparing import read_run
from sparsedoctor.train.evaluate.journal import RESULT
from sparsedoctor.train.evaluate.running import run_benchmark
from sparsedoctor.train.evaluate.scoring import Settings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--base", required=True)
    parser.add_argument("--benchmark", default="cmmlu-med")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=500)
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument(
        "--types", nargs="+", choices=sorted(FORMATS), default=["f32", "q8_0", "q4_0"]
    )
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    reference = options.output / "pytorch"
    scored(
        options,
        ModelChoice(
            str(options.adapter),
            options.base,
            "transformers",
            threads=options.threads,
            dtype="float32",
        ),
        reference,
    )
    for name in options.types:
        file = options.output / f"{name}.gguf"
        if not file.is_file():
            export_mixture(
                ExportSettings(options.adapter, find_base(options.base), file, FORMATS[name])
            )
        scored(
            options,
            ModelChoice(str(file), kind="gguf", threads=options.threads),
            options.output / name,
        )
    print("\n| file | same option chosen | accuracy | PyTorch's | largest difference, nats |")
    print("|---|---|---|---|---|")
    for name in options.types:
        print(row(name, reference, options.output / name))
    return 0


def scored(options: argparse.Namespace, choice: ModelChoice, output: Path) -> None:
    """Run one model; what is answered already is not asked again."""
    if (output / RESULT).is_file():
        return
    benchmark = find_benchmark(options.benchmark)
    loaded = load_questions(benchmark, options.data, limit=options.limit)
    backend = open_backend(choice)
    try:
        run_benchmark(backend, benchmark, loaded, Settings(shots=options.shots), output)
    finally:
        backend.close()


def row(name: str, reference: Path, output: Path) -> str:
    ours, theirs = read_run(reference), read_run(output)
    pairs = [(ours.answers[key], theirs.answers[key]) for key in ours.answers]
    same = sum(a.chosen == b.chosen for a, b in pairs)
    # Sets of letters whose probability is almost nothing say nothing about the arithmetic.
    worst = max(
        abs(a.scores[letter] - b.scores[letter])
        for a, b in pairs
        for letter in a.scores
        if len(letter) == 1
    )
    accuracies = [run.result["accuracy"]["micro"] for run in (theirs, ours)]
    return (
        f"| {name} | {same} of {len(pairs)} ({100 * same / len(pairs):.1f} %) "
        f"| {100 * accuracies[0]:.2f} % | {100 * accuracies[1]:.2f} % | {worst:.3f} |"
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
