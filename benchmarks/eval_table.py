"""The table that tests the method: seven rows, one run, the same data, steps, order and scorer.

    python benchmarks/eval_table.py --track zh --base BASE --data SHARED_DATA --output DIR \
        [--steps 400] [--seeds 17 18 19] [--rates 1e-3 2e-3] [--limit 500]

    1 base                untouched
    2 dense-parameters    LoRA on the feed-forward projections, as many parameters as the experts
    3 dense-active        the same with as many as one token uses
    4 moe                 LoRA-MoE without contrast
    5 moe-in-batch        with contrast and route, keys of the batch alone
    6 sparsedoctor        with contrast, route and the expert memory queue
    7 moe-frozen-router   LoRA-MoE whose router stays as it was drawn
    4s, 6s                rows 4 and 6 with half of their rank in a pair that every token shares

Training rows that hold a test question are left out first. With several --rates every row is
tuned alike: a quarter of the steps at each rate with the first seed, the rate with the lowest
held-out loss for all seeds. Every step is skipped where its result is there already, so the same
call goes on after an interruption. TABLE.md is written again after every row.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from eval_table_report import write_table

from sparsedoctor.core.errors import SparseDoctorError, run_command
from sparsedoctor.train.data.formats import read_examples
from sparsedoctor.train.data.overlap import exclude_overlap
from sparsedoctor.train.evaluate.backends.opening import ModelChoice, open_backend
from sparsedoctor.train.evaluate.benchmarks import find_benchmark, load_questions
from sparsedoctor.train.evaluate.journal import RESULT
from sparsedoctor.train.evaluate.running import run_benchmark
from sparsedoctor.train.evaluate.scoring import Settings

EXPERTS, TOP_K, RANK = 4, 2, 8
NO_CONTRAST = ("--contrast-weight", "0", "--route-weight", "0")
SHARED = ("--rank", str(RANK // 2), "--shared-rank", str(EXPERTS * RANK // 2))
TRAIN_FILE = "train.json"  # what a finished training left: seconds, memory, held-out loss


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    title: str
    dense_rank: int = 0  # a dense LoRA of this rank
    flags: tuple[str, ...] | None = None  # of sparsedoctor-train


ROWS = (
    Row("base", "untouched base"),
    Row("dense-parameters", "dense LoRA, as many parameters", dense_rank=EXPERTS * RANK),
    Row("dense-active", "dense LoRA, as many active", dense_rank=TOP_K * RANK),
    Row("moe", "LoRA-MoE without contrast", flags=NO_CONTRAST),
    Row("moe-in-batch", "LoRA-MoE, contrast within the batch", flags=("--queue-length", "0")),
    Row("sparsedoctor", "SparseDoctor: contrast, route, queue", flags=()),
    Row(
        "moe-frozen-router",
        "LoRA-MoE, random frozen router",
        flags=(*NO_CONTRAST, "--freeze-router"),
    ),
    Row("moe-shared", "LoRA-MoE without contrast, shared pair", flags=(*NO_CONTRAST, *SHARED)),
    Row("sparsedoctor-shared", "SparseDoctor, shared pair", flags=SHARED),
)


@dataclass(frozen=True, slots=True)
class Track:
    """A language: what is learned, what is scored, whose loss is measured. Below the data."""

    training: tuple[str, ...]
    benchmarks: tuple[tuple[str, str], ...]  # (name, path)
    loss: tuple[str, str]


TRACKS = {
    "zh": Track(
        (
            "train/cn_exam_train.jsonl.gz",
            "train/huatuo_instructions.jsonl.gz",
            "train/cmtmedqa_multiturn.jsonl.gz",
        ),
        (
            ("cmmlu-med-apollo", "eval/cmmlu"),
            ("cmexam", "eval/cmexam_dev.csv"),
            ("medqa-zh", "eval/medqa_zh_test.jsonl.gz"),
        ),
        ("cmexam", "eval/cmexam_dev.csv"),
    ),
    "en": Track(
        ("train/en_exam_train.jsonl.gz", "train/medquad_train.jsonl.gz"),
        (("mmlu-med", "eval/mmlu_med_test.jsonl.gz"), ("medmcqa", "eval/medmcqa_dev.jsonl.gz")),
        ("medquad", "eval/medquad_dev.jsonl.gz"),
    ),
}


def main() -> int:
    options = arguments()
    track = TRACKS[options.track]
    output: Path = options.output
    output.mkdir(parents=True, exist_ok=True)
    files = clean_training(track, options.data, output / "data")
    rows = [row for row in ROWS if not options.rows or row.name in options.rows]
    for row in rows:
        rate = tuned_rate(row, files, options)
        for seed in options.seeds if row.name != "base" else options.seeds[:1]:
            folder = output / row.name / f"seed-{seed}"
            if row.name != "base":
                train(row, files, folder, options, seed=seed, rate=rate, steps=options.steps)
            score(row, folder, track, options)
            names = [name for name, _ in track.benchmarks]
            write_table(output, [(r.name, r.title) for r in rows], names)
    print((output / "TABLE.md").read_text(encoding="utf-8"))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--track", choices=sorted(TRACKS), required=True)
    parser.add_argument("--base", required=True, help="smollm2, a GGUF file or a folder")
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and eval/")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--seeds", type=int, nargs="+", default=[17, 18, 19])
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-3])
    parser.add_argument("--rows", nargs="+", choices=[row.name for row in ROWS])
    parser.add_argument("--limit", type=int, help="questions of each benchmark; a fixed sample")
    parser.add_argument("--loss-limit", type=int, default=200, help="texts whose loss is measured")
    parser.add_argument("--held-out-limit", type=int, default=64, help="examples, while training")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def clean_training(track: Track, data: Path, folder: Path) -> list[Path]:
    """The training files without the rows that hold a test question, as JSON lines."""
    folder.mkdir(exist_ok=True)
    cleaned = [folder / Path(name).name.removesuffix(".gz") for name in track.training]
    if all(path.is_file() for path in cleaned):
        return cleaned
    evaluation = [data / path for _, path in track.benchmarks]
    # A folder of subjects stands for its test files.
    evaluation = [path / "test" if path.is_dir() else path for path in evaluation]
    for name, target in zip(track.training, cleaned, strict=True):
        source = data / name
        if not source.is_file():
            raise SparseDoctorError(f"there is no training file {source}; see docs/data.md")
        overlap = exclude_overlap(read_examples(source), evaluation)
        print(f"{source.name}: {overlap.report()}")
        left_out = {excluded.example.line for excluded in overlap.excluded}
        with gzip.open(source, "rt", encoding="utf-8") as file:
            lines = [line for number, line in enumerate(file, 1) if number not in left_out]
        target.write_text("".join(lines), encoding="utf-8")
    return cleaned


def tuned_rate(row: Row, files: Sequence[Path], options: argparse.Namespace) -> float:
    """The learning rate with the lowest held-out loss after a quarter of the steps."""
    if row.name == "base" or len(options.rates) == 1:
        return float(options.rates[0])
    losses = {}
    for rate in options.rates:
        folder = options.output / row.name / f"rate-{rate:g}"
        steps = max(1, options.steps // 4)
        train(row, files, folder, options, seed=options.seeds[0], rate=rate, steps=steps)
        losses[rate] = json.loads((folder / TRAIN_FILE).read_text())["held_out_loss"]
    print(f"{row.name}: held-out loss by rate {losses}")
    return float(min(losses, key=lambda rate: losses[rate]))


def train(
    row: Row,
    files: Sequence[Path],
    folder: Path,
    options: argparse.Namespace,
    *,
    seed: int,
    rate: float,
    steps: int,
) -> None:
    """Train into `folder` in a process of its own, unless that is done."""
    if (folder / TRAIN_FILE).is_file():
        return
    run = folder / "run"
    common = {
        "--base": options.base,
        "--steps": steps,
        "--batch": options.batch,
        "--max-tokens": options.max_tokens,
        "--learning-rate": rate,
        "--seed": seed,
        "--evaluate-every": max(1, steps // 4),
        "--save-every": max(1, steps // 4),
        "--held-out-limit": getattr(options, "held_out_limit", 64),  # train_rows.py has none
        "--threads": options.threads,
    }
    flags = [str(part) for pair in common.items() for part in pair]
    data = ["--data", *map(str, files)]
    tools = Path(sys.executable).parent
    if row.dense_rank:
        dense = [sys.executable, str(Path(__file__).with_name("eval_table_dense.py"))]
        command = [*dense, "--rank", str(row.dense_rank), "--output", str(run), *flags, *data]
    elif (run / "run.json").is_file():
        command = [str(tools / "sparsedoctor-train"), "--resume", str(run)]
    else:
        shape = ["--experts", str(EXPERTS), "--top-k", str(TOP_K), "--rank", str(RANK)]
        own = [*shape, *(row.flags or ())]
        command = [str(tools / "sparsedoctor-train"), "--output", str(run), *flags, *own, *data]
    print(f"training {folder.relative_to(options.output)}", flush=True)
    began = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SparseDoctorError(
            f"training stopped with code {process.returncode}; call this again to go on"
        )
    done = {
        "row": asdict(row),
        "seed": seed,
        "rate": rate,
        "steps": steps,
        "seconds": round(time.monotonic() - began, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_bytes": usage.ru_maxrss * 1024,
        **trained(run / "adapter"),
    }
    (folder / TRAIN_FILE).write_text(json.dumps(done, indent=2) + "\n", encoding="utf-8")


def trained(adapter: Path) -> dict[str, object]:
    """The held-out loss and the number of trained parameters of a finished adapter."""
    from safetensors import safe_open

    for name in ("sparsedoctor.json", "dense.json"):
        if (adapter / name).is_file():
            document = json.loads((adapter / name).read_text(encoding="utf-8"))
    with safe_open(str(adapter / "adapter_model.safetensors"), framework="np") as file:
        sizes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    parameters = 0
    for shape in sizes:
        count = 1
        for length in shape:
            count *= length
        parameters += count
    return {"held_out_loss": document["training"]["held_out_loss"], "parameters": parameters}


def score(row: Row, folder: Path, track: Track, options: argparse.Namespace) -> None:
    """Score a row on every benchmark, and measure the loss on the authors' texts."""
    exams = [(name, path, Settings()) for name, path in track.benchmarks]
    name, path = track.loss
    todo = [
        (folder / label, benchmark, data, settings, limit)
        for label, benchmark, data, settings, limit in (
            *((exam, exam, data, settings, options.limit) for exam, data, settings in exams),
            ("loss", name, path, Settings(scoring="loss"), options.loss_limit),
        )
        if not (folder / label / RESULT).is_file()
    ]
    if not todo:
        return
    if row.name == "base":
        choice = ModelChoice(options.base, kind="transformers", threads=options.threads)
    else:
        adapter = str(folder / "run" / "adapter")
        choice = ModelChoice(adapter, options.base, "transformers", threads=options.threads)
    backend = open_backend(choice)
    try:
        for output, benchmark_name, data, settings, limit in todo:
            benchmark = find_benchmark(benchmark_name)
            loaded = load_questions(
                benchmark,
                options.data / data,
                limit=limit,
                with_reference=settings.scoring == "loss",
            )
            run_benchmark(backend, benchmark, loaded, settings, output)
    finally:
        backend.close()


if __name__ == "__main__":
    sys.exit(run_command(main))
