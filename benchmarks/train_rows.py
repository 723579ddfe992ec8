"""Does the method earn its parts? Its rows at equal data, order and steps, by held-out loss.

    python benchmarks/train_rows.py --data SHARED_DATA --output DIR [--steps 150] [--jobs 2] \
        [--seeds 17] [--rates 5e-4 1e-3 2e-3] [--rows base dense-parameters moe sparsedoctor]

Trains rows of `eval_table_rows.ROWS` (unless others are named: the base, three dense LoRAs, and
LoRA-MoE without contrast, with contrast in the batch, with contrast, route and queue, and with a
frozen random router) on MedQuAD's training file without what the
held-out file asks too. Every row has the same tuning budget: with the first seed it is trained in
full at each rate, and the rate with the lowest loss on topics held out of the training file
counts, for the other seeds too. The table's losses are of another file,
eval/medquad_dev.jsonl.gz, per answer token; differences between rows are paired by question, and
their intervals draw topics (`train_rows_table.py`).

Each training leaves DIR/ROW/seed-N/rate-R/measured.json: the loss on held-out topics over the
steps, the loss of every held-out answer, what its experts attend to. What has it is not trained
again, so the same call goes on after an interruption, also where these files are all that is left,
and rates, rows and seeds can be added; ROWS.md is written again after every training.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from eval_table import carry_out, parsed, same_table, urgent
from eval_table_base import as_folder
from eval_table_data import clean_training
from eval_table_rows import REFERENCE, ROWS, Row, Track
from eval_table_training import TRAIN_FILE, train
from peft import PeftModel
from train_rows_table import MEASURED, best_rate, table

from sparsedoctor.core.errors import SparseDoctorError, run_command
from sparsedoctor.core.moe.adapter import load_adapter
from sparsedoctor.core.moe.base import Base, load_base
from sparsedoctor.core.moe.peft_layer import expert_layers
from sparsedoctor.core.moe.settings import SupervisionSettings
from sparsedoctor.core.moe.supervision import RoutingSupervisor
from sparsedoctor.train.data.batches import collate
from sparsedoctor.train.data.encode import IGNORED, encode_all, template_for
from sparsedoctor.train.data.example import Example
from sparsedoctor.train.data.formats import read_examples
from sparsedoctor.train.data.split import topic_of
from sparsedoctor.train.evaluate.journal import write_json, write_text
from sparsedoctor.train.learned import LearnedLogits
from sparsedoctor.train.material import draw
from sparsedoctor.train.report.choices import choices_of_rows
from sparsedoctor.train.report.specialisation import specialisation

MEDQUAD = Track(
    ("train/medquad_train.jsonl.gz",),
    (("medquad", "eval/medquad_dev.jsonl.gz"),),
    ("medquad", "eval/medquad_dev.jsonl.gz"),
)


def main() -> int:
    options = arguments()
    same_table(options, MEDQUAD, free=("rates",))
    wanted = [row for row in ROWS if row.name in options.rows]
    rows = urgent(wanted, REFERENCE)
    topics = [topic_of(example) for example in asked(options)]

    def tabled() -> None:
        write_text(options.output / "ROWS.md", table(options.output, topics))

    for seed in options.seeds:
        todo = [one for one in trainings(rows, seed, options) if not place(*one, options).is_file()]
        if todo:
            training = clean_training(MEDQUAD, options.data, options.output / "data")
            options.base = as_folder(options.base, options.output / "weights")
            work = partial(train_and_measure, files=training, options=options)
            carry_out(work, todo, options.jobs, tabled)
    tabled()
    print((options.output / "ROWS.md").read_text(encoding="utf-8"))
    return 0


def trainings(
    rows: Sequence[Row], seed: int, options: argparse.Namespace
) -> list[tuple[Row, int, float]]:
    """Rows at the rates that are trained with `seed`: all with the first, then the best one."""
    first = seed == options.seeds[0]
    found = []
    for row in rows:
        if row.name == "base":
            rates = options.rates[:1]
        else:
            rates = options.rates if first else [best_rate(options.output / row.name)]
        found += [(row, seed, rate) for rate in rates]
    return found


def place(row: Row, seed: int, rate: float, options: argparse.Namespace) -> Path:
    """The file that a training leaves."""
    folder: Path = options.output / row.folder(seed)
    return (folder if row.name == "base" else folder / f"rate-{rate:g}") / MEASURED


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--base", default="smollm2")
    add("--steps", type=int, default=150)
    add("--batch", type=int, default=6)
    add("--max-tokens", type=int, default=256)
    add("--evaluations", type=int, default=3, help="of the held-out loss, in a training")
    add("--seeds", type=int, nargs="+", default=[17])
    add("--rates", type=float, nargs="+", default=[5e-4, 1e-3, 2e-3])
    add("--questions", type=int, default=200, help="of the held-out file; 0 for all")
    return parsed(parser)


def train_and_measure(
    row: Row, seed: int, rate: float, files: list[Path], options: argparse.Namespace
) -> None:
    """Train and measure one row; what is done is not done again."""
    began = time.monotonic()
    folder = place(row, seed, rate, options).parent
    found: dict[str, Any] = {"title": row.title}
    if row.name != "base":
        train(row, files, folder, options, seed=seed, rate=rate, steps=options.steps)
        found |= json.loads((folder / TRAIN_FILE).read_text(encoding="utf-8"))
        found["curve"] = curve(folder / "run")
    torch.set_num_threads(options.threads)
    base = load_base(options.base)
    model = base.model if row.name == "base" else adapted(row, base, folder / "run" / "adapter")
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    found |= measure_answers(model.eval(), base, options)
    write_json(folder / MEASURED, found)
    minutes = (time.monotonic() - began) / 60
    print(f"{row.name}, seed {seed}, rate {rate:g}: {minutes:.1f} minutes", flush=True)


@torch.no_grad()
def measure_answers(model: Any, base: Base, options: argparse.Namespace) -> dict[str, Any]:
    """Of the held-out answers, one question at a time: "losses", `[summed loss in nats, tokens]`
    of each, and, where the model has experts, "specialisation", what these attend to."""
    template = template_for(base.tokenizer)
    supervisor = RoutingSupervisor(expert_layers(model), SupervisionSettings())
    logits = LearnedLogits(model)
    losses, chosen, subjects = [], [], []
    data = encode_all(asked(options), base.tokenizer, options.max_tokens, template)
    if data.too_long:
        raise SparseDoctorError(
            f"{len(data.too_long)} of the held-out questions do not fit {options.max_tokens} "
            "tokens; raise --max-tokens"
        )
    for encoded in data.examples:
        whole = collate([encoded], pad_id=0)
        del whole["topic_ids"]
        whole = {n: v.to(model.device) if torch.is_tensor(v) else v for n, v in whole.items()}
        counted = whole["labels"] != IGNORED
        with supervisor.watching(), logits.of(whole) as inputs:
            loss = float(model(**inputs).loss)
        tokens = int((whole["labels"][:, 1:] != IGNORED).sum())
        losses.append([round(loss * tokens, 4), tokens])
        if encoded.topic is not None and supervisor.layers:
            subjects.append(encoded.topic)
            chosen.append(
                [choices_of_rows(each.routing, counted)[0] for each in supervisor.records()]
            )
    return {"losses": losses, "specialisation": attended(subjects, chosen)}


def asked(options: argparse.Namespace) -> list[Example]:
    """The held-out questions whose answers are measured, in their order."""
    return draw(read_examples(options.data / MEDQUAD.loss[1]), options.questions, seed=0)


def curve(run: Path) -> list[list[float]]:
    """`[step, held-out loss]` of a run, of experts or of a dense LoRA."""
    states = sorted(run.glob("checkpoint-*/trainer_state.json"), key=lambda p: p.stat().st_mtime)
    history = json.loads(states[-1].read_text(encoding="utf-8"))["log_history"]
    return [[line["step"], round(line["eval_loss"], 4)] for line in history if "eval_loss" in line]


def attended(subjects: Sequence[str], chosen: Sequence[Any]) -> dict[str, float] | None:
    """How many bits an answer's experts say about its subject, and what chance gives."""
    found = specialisation(tuple(subjects), np.array(chosen)) if chosen else None
    if found is None:
        return None
    return {
        "bits": round(found.mean, 4),
        "shuffled": round(found.baseline, 4),
        "shuffled_95": round(found.baseline_high, 4),
        "p": round(found.p_value, 4),
        "answers": sum(found.examples),
        "subjects": len(found.topics),
    }


def adapted(row: Row, base: Base, adapter: Path) -> Any:
    """The base with a row's adapter."""
    if row.dense_rank:
        return PeftModel.from_pretrained(base.model, str(adapter))
    return load_adapter(base, adapter)


if __name__ == "__main__":
    sys.exit(run_command(main))
