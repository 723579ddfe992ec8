"""Does the method earn its parts? Nine rows at equal data, order and steps, by held-out loss.

    python benchmarks/train_rows.py --data SHARED_DATA --output DIR [--steps 150] \
        [--seeds 17] [--rates 5e-4 1e-3 2e-3 4e-3]

Trains the rows of the design's table (`eval_table.ROWS`: base, dense LoRA parameter-matched and
active-matched, LoRA-MoE without contrast, with contrast in the batch, with contrast, route and
queue, with a frozen random router, and two with the shared pair) on MedQuAD's training file.
Every row has the same tuning budget: a quarter of the steps at each rate, the rate with the
lowest loss on topics held out of the training file wins. The table's losses are of another file,
eval/medquad_dev.jsonl.gz, per answer token; differences between rows are paired by question, with
95 % intervals from 10,000 bootstrap samples of questions. The curve over steps follows.

Whatever is there already is not done again, so the same call goes on after an interruption.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from eval_table import ROWS, Row, train, tuned_rate
from numpy.typing import NDArray
from peft import PeftModel

from sparsedoctor.core.errors import SparseDoctorError, run_command
from sparsedoctor.core.moe.adapter import load_adapter
from sparsedoctor.core.moe.base import Base, load_base
from sparsedoctor.train.checkpoints import write_atomically
from sparsedoctor.train.data.batches import collate
from sparsedoctor.train.data.encode import IGNORED, encode_all, template_for
from sparsedoctor.train.data.formats import read_examples
from sparsedoctor.train.material import draw

LOSSES = "losses.json"  # of a row and seed: [summed loss, tokens] of every held-out answer
COMPARED = (  # is the first better than the second?
    ("sparsedoctor", "dense-parameters"),
    ("sparsedoctor", "moe"),
    ("sparsedoctor", "moe-in-batch"),
    ("sparsedoctor", "moe-frozen-router"),
    ("sparsedoctor-shared", "dense-parameters"),
    ("sparsedoctor-shared", "moe-shared"),
)
Losses = NDArray[np.float64]  # [questions, 2]: summed loss in nats, answer tokens


def main() -> int:
    options = arguments()
    training = options.data / "train" / "medquad_train.jsonl.gz"
    measured = options.data / "eval" / "medquad_dev.jsonl.gz"
    for path in (training, measured):
        if not path.is_file():
            raise SparseDoctorError(f"there is no file {path}; see docs/data.md")
    options.output.mkdir(parents=True, exist_ok=True)
    rows = [row for row in ROWS if not options.rows or row.name in options.rows]
    found: dict[str, list[Losses]] = {}
    for row in rows:
        rate = tuned_rate(row, [training], options)
        for seed in options.seeds if row.name != "base" else options.seeds[:1]:
            folder = options.output / row.name / f"seed-{seed}"
            if row.name != "base":
                train(row, [training], folder, options, seed=seed, rate=rate, steps=options.steps)
            found.setdefault(row.name, []).append(held_out(row, folder, measured, options))
        text = table(rows, found, options)
        write_atomically(options.output / "ROWS.md", text)
    print((options.output / "ROWS.md").read_text(encoding="utf-8"))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and eval/")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--seeds", type=int, nargs="+", default=[17])
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-4, 1e-3, 2e-3, 4e-3])
    parser.add_argument("--rows", nargs="+", choices=[row.name for row in ROWS])
    parser.add_argument("--questions", type=int, default=200, help="held-out ones; 0 for all")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def held_out(row: Row, folder: Path, data: Path, options: argparse.Namespace) -> Losses:
    """Loss and tokens of every held-out answer, measured once and kept beside the row."""
    path = folder / LOSSES
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(options.threads)
        base = load_base(options.base)
        model = base.model if row.name == "base" else _adapted(row, base, folder / "run/adapter")
        losses = answer_losses(model.eval(), base, data, options)
        write_atomically(path, json.dumps(losses) + "\n")
    return np.asarray(json.loads(path.read_text(encoding="utf-8")), dtype=np.float64)


@torch.no_grad()
def answer_losses(
    model: Any, base: Base, data: Path, options: argparse.Namespace
) -> list[list[float]]:
    """`[summed loss, tokens]` of each answer, one question at a time."""
    examples = draw(read_examples(data), options.questions, seed=0)
    template = template_for(base.tokenizer)
    losses = []
    for encoded in encode_all(examples, base.tokenizer, options.max_tokens, template).examples:
        inputs = collate([encoded], pad_id=0)
        del inputs["topic_ids"]
        tokens = int((inputs["labels"][:, 1:] != IGNORED).sum())
        losses.append([float(model(**inputs).loss) * tokens, float(tokens)])
    return losses


def table(rows: Sequence[Row], found: dict[str, list[Losses]], options: argparse.Namespace) -> str:
    """The rows so far, the differences that matter, and the curve over steps, as Markdown."""
    lines = [
        f"Held-out loss on medquad_dev ({options.steps} steps of {options.batch} answers, "
        f"{len(options.seeds)} seed(s))",
        "",
        "| row | learning rate | parameters | loss | perplexity |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        if row.name in found:
            done = _trained(options.output / row.name / f"seed-{options.seeds[0]}")
            loss = float(np.mean([_mean(one) for one in found[row.name]]))
            lines.append(
                f"| {row.title} | {done.get('rate', '')} | {done.get('parameters', '')} "
                f"| {loss:.4f} | {math.exp(loss):.3f} |"
            )
    lines += ["", "| difference in loss | mean | 95 % interval |", "|---|---|---|"]
    for better, worse in COMPARED:
        if better in found and worse in found:
            mean, low, high = paired_difference(found[better], found[worse])
            lines.append(f"| {better} - {worse} | {mean:+.4f} | {low:+.4f} to {high:+.4f} |")
    return "\n".join([*lines, "", *_curves(rows, options), ""])


def paired_difference(first: list[Losses], second: list[Losses]) -> tuple[float, float, float]:
    """Mean and 95 % interval of first - second in nats per token, questions drawn together for
    both and over all seeds."""
    a, b = np.mean(first, axis=0), np.mean(second, axis=0)  # tokens are the same in all
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(a), size=(10_000, len(a)))
    differences = (a[drawn, 0].sum(axis=1) - b[drawn, 0].sum(axis=1)) / a[drawn, 1].sum(axis=1)
    low, high = np.percentile(differences, (2.5, 97.5))
    return _mean(a) - _mean(b), float(low), float(high)


def _curves(rows: Sequence[Row], options: argparse.Namespace) -> list[str]:
    """Loss over steps on the topics held out of the training file."""
    lines = ["| row | " + "loss after steps on held-out topics |", "|---|---|"]
    for row in rows:
        run = options.output / row.name / f"seed-{options.seeds[0]}" / "run"
        points = _points(run)
        if points:
            shown = ", ".join(f"{step}: {loss:.4f}" for step, loss in points)
            lines.append(f"| {row.title} | {shown} |")
    return lines


def _points(run: Path) -> list[tuple[int, float]]:
    if (run / "log.jsonl").is_file():
        logged = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        return [(line["step"], line["held_out_loss"]) for line in logged if "held_out_loss" in line]
    states = sorted(run.glob("checkpoint-*/trainer_state.json"), key=lambda p: p.stat().st_mtime)
    if not states:
        return []
    history = json.loads(states[-1].read_text())["log_history"]
    return [(line["step"], line["eval_loss"]) for line in history if "eval_loss" in line]


def _adapted(row: Row, base: Base, adapter: Path) -> Any:
    if row.dense_rank:
        return PeftModel.from_pretrained(base.model, str(adapter))
    return load_adapter(base, adapter)


def _trained(folder: Path) -> dict[str, Any]:
    path = folder / "train.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _mean(losses: Losses) -> float:
    return float(losses[:, 0].sum() / losses[:, 1].sum())


if __name__ == "__main__":
    sys.exit(run_command(main))
