"""The table that tests the method: rows of one run, the same data, steps, order and scorer.

    python benchmarks/eval_table.py --track zh --base BASE --data SHARED_DATA --output DIR \
        [--steps 400] [--seeds 17 18 19] [--rates 1e-4 3e-4] [--limit 500] [--jobs 2]

    base                untouched
    dense-parameters    LoRA on the feed-forward projections, as many parameters as the experts
    dense-higher        the same with twice the alpha
    dense-active        as many parameters as one token's experts have
    moe                 LoRA-MoE without contrast
    moe-in-batch        with contrast and route, keys of the batch alone
    sparsedoctor        with contrast, route and the expert memory queue
    moe-frozen-router   LoRA-MoE whose router stays as it was drawn

More rows, by --rows, take apart what training does (`eval_table_rows.py`).
Training rows that hold a test question are left out first. With several --rates every row is
tuned alike: a quarter of the steps at each rate with the first seed, the rate with the lowest
held-out loss for all seeds. With --jobs 2 two rows are trained and scored beside each other, in
processes of --threads threads; what the others are tested against comes first. Every step is
skipped where its result is there already, so the same call goes on after an interruption.
TABLE.md is written again after every row. --limit and --loss-limit may grow to a multiple, or go:
the rows that are named then are scored on the further questions alone, without training again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import get_args

from eval_table_base import as_folder
from eval_table_data import clean_training
from eval_table_report import write_table
from eval_table_rows import MAIN_ROWS, REFERENCE, ROWS, SHAPE, TRACKS, Row, Track
from eval_table_training import TRAIN_FILE, train, tuned_rate

from sparsedoctor.core.base_models import base_fingerprint, find_base
from sparsedoctor.core.errors import SparseDoctorError, run_command
from sparsedoctor.train.evaluate.backends.opening import ModelChoice, open_backend
from sparsedoctor.train.evaluate.benchmarks import find_benchmark, load_questions
from sparsedoctor.train.evaluate.journal import RESULT, write_json
from sparsedoctor.train.evaluate.running import run_benchmark
from sparsedoctor.train.evaluate.scoring import Settings
from sparsedoctor.train.settings import Precision

SETTINGS = "settings.json"  # with what the table was begun
# These may differ when a table goes on.
_FREE = {"rows", "seeds", "jobs", "threads", "output", "data", "against"}


def main() -> int:
    options = arguments()
    track = TRACKS[options.track]
    output: Path = options.output
    same_table(options, track)
    files = clean_training(track, options.data, output / "data")
    rows = [row for row in ROWS if row.name in options.rows]
    options.base = as_folder(options.base, output / "weights")

    def tabled() -> None:
        # Rows of an earlier call with other --rows stand in the table too.
        titles = [(row.name, row.title) for row in ROWS]
        write_table(output, titles, [name for name, _ in track.benchmarks], options.against)

    for seed in options.seeds:  # the first one finds the rate of every row
        first = seed == options.seeds[0]
        todo = [row for row in urgent(rows, options.against) if first or row.name != "base"]
        work = partial(train_and_score, files=files, options=options)
        carry_out(work, [(row, seed) for row in todo], options.jobs, tabled)
    tabled()
    print((output / "TABLE.md").read_text(encoding="utf-8"))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--track", choices=sorted(TRACKS), required=True)
    add("--base", required=True, help="smollm2, a GGUF file or a folder")
    add("--steps", type=int, default=400)
    add("--batch", type=int, default=8)
    add("--max-tokens", type=int, default=512)
    add("--evaluations", type=int, default=4, help="of the held-out loss, in a training")
    add("--seeds", type=int, nargs="+", default=[17, 18, 19])
    add("--rates", type=float, nargs="+", default=[1e-4, 3e-4, 1e-3])
    add("--limit", type=int, help="questions of each benchmark; a fixed sample")
    add("--loss-limit", type=int, default=200, help="texts whose loss is measured")
    names = [row.name for row in ROWS]
    add("--against", choices=names, default=REFERENCE, help="the row the others are tested against")
    return parsed(parser)


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options, with those that every table of rows has."""
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with train/ and eval/")
    add("--output", type=Path, required=True)
    main = [row.name for row in MAIN_ROWS]
    more = f"instead of {' '.join(main)}"
    add("--rows", nargs="+", choices=[row.name for row in ROWS], default=main, help=more)
    add("--pack", action="store_true", help="several examples in a row of --max-tokens")
    add("--precision", choices=get_args(Precision), default="auto", help="of a training")
    add("--warmup", type=int, default=10, help="steps until the learning rate is reached")
    add("--warmup-steps", type=int, default=50, help="of contrast and route, without batch keys")
    add("--held-out-fraction", type=float, default=0.02, help="of the examples")
    add("--held-out-limit", type=int, default=64, help="of them, while training")
    add("--jobs", type=int, default=1, help="rows at the same time")
    add("--threads", type=int, help="of each; default: the processors, shared by the jobs")
    options = parser.parse_args()
    options.threads = options.threads or max(1, (os.cpu_count() or 1) // options.jobs)
    return options


def same_table(options: argparse.Namespace, track: Track, free: Sequence[str] = ()) -> None:
    """Keep the settings of a table and what its data are; refuse to go on with other ones.

    Options named in `free` may differ too, and rows may be added. Raises SparseDoctorError.
    """
    may_differ = _FREE.union(free)
    given = {name: value for name, value in vars(options).items() if name not in may_differ}
    given["sha256"] = data_hashes(options.data, track)
    given["base_sha256"] = base_fingerprint(find_base(options.base))
    given |= {"shape": list(SHAPE), "flags": {row.name: list(row.flags or ()) for row in ROWS}}
    given["dense"] = {row.name: [row.dense_rank, row.alpha] for row in ROWS if row.dense_rank}
    path = options.output / SETTINGS
    if not path.is_file():
        write_json(path, given)
        return
    begun = json.loads(path.read_text(encoding="utf-8"))
    before = dict(begun)
    for name in ("flags", "dense"):  # equal where both have a row; older tables lack the second
        rows, now = begun.get(name, {}), given[name]
        begun[name], given[name] = now | rows, rows | now
    begun.setdefault("base_sha256", given["base_sha256"])  # older tables name their base only
    begun.setdefault("precision", "auto")  # and had no other
    begun.setdefault("pack", False)
    begun.setdefault("held_out_fraction", 0.02)
    for name in ("limit", "loss_limit"):
        if grows(begun.get(name), given.get(name)):
            begun[name] = given[name]
    differing = [name for name in given if begun.get(name) != given[name]]
    if differing:
        raise SparseDoctorError(
            f"{options.output} holds a table of other settings ({', '.join(differing)}); "
            "its rows would not be comparable: choose another --output"
        )
    if begun != before:  # rows or questions were added, or the hash of the base
        write_json(path, begun)


def grows(before: int | None, now: int | None) -> bool:
    """Whether a sample of `now` questions (None: all) holds one of `before`, and more."""
    return before is not None and (now is None or (now > before and now % before == 0))


def data_hashes(data: Path, track: Track) -> dict[str, str]:
    """sha256 of every training file and benchmark; of a folder, of its files one after another."""
    benchmarks = (path for _, path in (*track.benchmarks, track.loss))
    hashes = {}
    for name in dict.fromkeys((*track.training, *benchmarks)):
        if not (data / name).exists():
            raise SparseDoctorError(f"there is no {data / name}; see docs/data.md")
        digest = hashlib.sha256()
        for file in sorted((data / name).rglob("*")) or [data / name]:
            if file.is_file():
                digest.update(file.read_bytes())
        hashes[name] = digest.hexdigest()
    return hashes


def urgent(rows: Sequence[Row], against: str) -> list[Row]:
    """The base and the reference first: a table that is stopped early can test what it has."""
    return sorted(rows, key=lambda row: row.name not in ("base", against))


def carry_out(
    work: Callable[..., None],
    todo: Sequence[tuple[object, ...]],
    jobs: int,
    after: Callable[[], None],
) -> None:
    """Call `work` with each row, its seed and what else, `jobs` at a time; `after` after each."""
    if jobs == 1:
        for one in todo:
            work(*one)
            after()
        return
    # The parent's threads are no child's, and each child starts with free memory.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, max_tasks_per_child=1) as pool:
        running = [pool.submit(work, *one) for one in todo]
        try:
            for future in as_completed(running):
                future.result()
                after()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def train_and_score(
    row: Row, seed: int, files: Sequence[Path], options: argparse.Namespace
) -> None:
    """One row and seed, in whatever process; nothing is done twice."""
    began = time.monotonic()
    folder = options.output / row.folder(seed)
    if row.name != "base":
        rate = tuned_rate(row, files, options)
        train(row, files, folder, options, seed=seed, rate=rate, steps=options.steps)
    score(row, folder, TRACKS[options.track], options)
    print(f"{row.name}, seed {seed}: {(time.monotonic() - began) / 60:.1f} minutes", flush=True)


def score(row: Row, folder: Path, track: Track, options: argparse.Namespace) -> None:
    """Score a row on every benchmark, and measure the loss on the authors' texts."""
    asked, dtype = Settings(), "float32"  # on a GPU too: bfloat16 makes ties between letters
    if track.form == "cloze":
        asked = Settings(scoring="logprob-pmi", candidates="cloze")
        dtype = options.precision
    name, path = track.loss
    todo = []
    for label, benchmark_name, data, settings, limit in (
        *((exam, exam, data, asked, options.limit) for exam, data in track.benchmarks),
        ("loss", name, path, Settings(scoring="loss"), options.loss_limit),
    ):
        benchmark = find_benchmark(benchmark_name)
        loaded = load_questions(
            benchmark,
            options.data / data,
            limit=limit,
            with_reference=settings.scoring == "loss",
        )
        if answered(folder / label) < len(loaded.questions):
            todo.append((benchmark, loaded, settings, folder / label))
    if not todo:
        return
    adapter = folder / "run" / "adapter"
    if row.name != "base" and not adapter.is_dir():
        raise SparseDoctorError(
            f"{folder} is trained, but its adapter is not at {adapter}: put it there, or delete "
            f"{folder / TRAIN_FILE} to have it trained again"
        )
    model = options.base if row.name == "base" else str(adapter)
    choice = ModelChoice(
        model,
        None if row.name == "base" else options.base,
        "transformers",
        threads=options.threads,
        dtype=dtype,
    )
    backend = open_backend(choice)
    try:
        for one in todo:
            run_benchmark(backend, *one, quiet=options.jobs > 1)
    finally:
        backend.close()


def answered(folder: Path) -> int:
    """How many questions the result in `folder` is of."""
    path = folder / RESULT
    return int(json.loads(path.read_text(encoding="utf-8"))["n"]) if path.is_file() else 0


if __name__ == "__main__":
    sys.exit(run_command(main))
