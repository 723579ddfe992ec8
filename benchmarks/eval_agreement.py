"""Does an exported file choose as the trained model does? Same questions, PyTorch and GGUF.

    python benchmarks/eval_agreement.py --adapter RUN/adapter --base BASE \
        --benchmark cmmlu-med --data PATH --output DIR [--limit 500] [--types f32 q8_0 q4_0]

Exports the adapter once for each type, scores every file and the PyTorch model in float32 by
option log-probability, and prints the share of questions on which both choose the same option,
with the questions on which they do not. The float32 file is computed with float32 keys and values
("f32"), and once more with the half-precision ones that chatting uses ("f32-chat").
Stopped at any moment, the same call goes on. Expected: at least 99 % in float32.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sparsedoctor.core.base_models import find_base
from sparsedoctor.core.errors import run_command
from sparsedoctor.export.mixture import ExportSettings, export_mixture
from sparsedoctor.export.types import FORMATS
from sparsedoctor.train.evaluate.backends.opening import ModelChoice, open_backend
from sparsedoctor.train.evaluate.benchmarks import find_benchmark, load_questions
from sparsedoctor.train.evaluate.comparing import read_run
from sparsedoctor.train.evaluate.journal import RESULT, Answer
from sparsedoctor.train.evaluate.running import run_benchmark
from sparsedoctor.train.evaluate.scoring import Settings

CHAT = "-chat"  # the same file as a chat computes with it
Pairs = Sequence[tuple[Answer, Answer]]  # PyTorch's answer and the file's


def main() -> int:
    options = arguments()
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
        kind = name.removesuffix(CHAT)
        file = options.output / f"{kind}.gguf"
        if not (options.output / name / RESULT).is_file() and not file.is_file():
            export_mixture(
                ExportSettings(options.adapter, find_base(options.base), file, FORMATS[kind])
            )
        choice = ModelChoice(str(file), kind="gguf", threads=options.threads, exact=name == "f32")
        scored(options, choice, options.output / name)
    print("\n| file | same option chosen | accuracy | PyTorch's | difference of scores, nats |")
    print("|---|---|---|---|---|")
    for name in options.types:
        print(row(name, reference, options.output / name))
    for name in options.types:
        told = differing(paired(reference, options.output / name))
        if told:
            print(f"\n{name}, where the choices differ (PyTorch's lead for its choice):\n{told}")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--base", required=True)
    parser.add_argument("--benchmark", default="cmmlu-med")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=500)
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument(
        "--types",
        nargs="+",
        choices=sorted([*FORMATS, f"f32{CHAT}"]),
        default=["f32", f"f32{CHAT}", "q8_0", "q4_0"],
    )
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


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


def paired(reference: Path, output: Path) -> Pairs:
    """What both answered: a file may have been asked a smaller sample."""
    ours, theirs = read_run(reference), read_run(output)
    return [
        (ours.answers[key], theirs.answers[key]) for key in ours.answers if key in theirs.answers
    ]


def row(name: str, reference: Path, output: Path) -> str:
    pairs = paired(reference, output)
    same = sum(a.chosen == b.chosen for a, b in pairs)
    # Sets of letters whose probability is almost nothing say nothing about the arithmetic.
    apart = sorted(
        abs(a.scores[letter] - b.scores[letter])
        for a, b in pairs
        for letter in a.scores
        if len(letter) == 1
    )
    theirs, ours = (sum(answer.correct for answer in run) for run in zip(*pairs, strict=True))
    count = len(pairs)
    return (
        f"| {name} | {same} of {count} ({100 * same / count:.1f} %) "
        f"| {100 * ours / count:.1f} % | {100 * theirs / count:.1f} % "
        f"| {apart[len(apart) // 2]:.1e} in the middle, {apart[-1]:.1e} at most |"
    )


def differing(pairs: Pairs) -> str:
    """Each question on which the choices differ, closest first: how far PyTorch's choice lies
    before the file's, in PyTorch's own scores, in nats."""
    leads = sorted(
        (a.scores[a.chosen] - a.scores[b.chosen], a.id)
        for a, b in pairs
        if a.chosen and b.chosen and a.chosen != b.chosen
    )
    return "\n".join(f"  {identity}: {lead:.5f} nats" for lead, identity in leads)


if __name__ == "__main__":
    sys.exit(run_command(main))
