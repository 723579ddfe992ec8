"""A micro-step whose answers are short: what the logits of questions cost.

    python benchmarks/short_answers.py --json [--base BASE] [--rows 4] [--asked 130] [--answered 14]

The forward and backward pass of a base with four experts, on rows of questions and answers:
  all        logits of every token
  columns    of the columns that hold an answer, by transformers' `logits_to_keep` alone
  learned    of the learned tokens: what `sparsedoctor-train` does
Rows differ in length, so that answers stand in different columns. The ways take turns within each
repetition, a ratio is the median of those within one repetition, and the last line holds them all.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from eval_table_base import as_folder
from torch import nn

from sparsedoctor.core.errors import run_command
from sparsedoctor.core.moe.base import load_base
from sparsedoctor.core.moe.peft_layer import attach_experts
from sparsedoctor.core.moe.settings import ExpertSettings
from sparsedoctor.train.data.batches import collate
from sparsedoctor.train.data.encode import IGNORED, Encoded
from sparsedoctor.train.learned import LearnedLogits
from sparsedoctor.train.machine import Machine
from sparsedoctor.train.settings import RunSettings

WAYS = ("all", "columns", "learned")
DTYPES = ("float32", "bfloat16")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--base", default="smollm2")
    add("--rows", type=int, default=4)
    add("--asked", type=int, default=130, help="tokens of the longest question; half: the shortest")
    add("--answered", type=int, default=14, help="tokens of an answer")
    add("--rounds", type=int, default=5)
    add("--threads", type=int)
    add("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    add("--json", action="store_true", help="one line, last")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    found = {}
    with TemporaryDirectory() as folder:
        base = as_folder(options.base, Path(folder) / "base")
        for dtype in options.dtypes:
            found[dtype] = measure(base, dtype, options)
    if options.json:
        print(json.dumps(found))
    return 0


def measure(base: str, dtype: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """By way: median seconds, and the median ratio to "all"."""
    machine = Machine.of(RunSettings(device="cpu", precision=dtype))
    loaded = load_base(base, machine.dtype, attention=machine.attention).model
    batch = rows(options, loaded.config.vocab_size)
    model = attach_experts(loaded, ExpertSettings(experts=4, top_k=2, rank=8), None).train()
    steps = ways(model, batch)
    rounds: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(options.rounds + 1):
        for way in WAYS:
            began = time.perf_counter()
            steps[way]()
            if number:  # the first one warms up
                rounds[way].append(time.perf_counter() - began)
    found = {}
    for way in WAYS:
        ratios = [one / whole for one, whole in zip(rounds[way], rounds["all"], strict=True)]
        seconds, ratio = statistics.median(rounds[way]), statistics.median(ratios)
        found[way] = {"seconds": round(seconds, 3), "of_all": round(ratio, 3)}
        print(f"{dtype}, {way}: {seconds:.2f} s, {ratio:.2f} of all logits", flush=True)
    return found


def rows(options: argparse.Namespace, vocabulary: int) -> dict[str, Any]:
    draw = random.Random(0)
    examples = []
    for row in range(options.rows):
        asked = options.asked - row * options.asked // (2 * max(options.rows - 1, 1))
        ids = [draw.randrange(100, vocabulary) for _ in range(asked + options.answered)]
        examples.append(Encoded(ids, [IGNORED] * asked + ids[asked:], None))
    batch = collate(examples, pad_id=0)
    del batch["topic_ids"]
    return batch


def ways(model: Any, batch: dict[str, Any]) -> dict[str, Callable[[], None]]:
    layer: nn.Module = model.get_output_embeddings()
    whole_rows = dict(layer._forward_pre_hooks)  # what `load_base` adds
    logits = LearnedLogits(model)
    learned_hooks = dict(layer._forward_pre_hooks)
    first = int((batch["labels"] != IGNORED).any(dim=0).int().argmax())
    keep = batch["labels"].shape[1] - first + 1
    columns = {**batch, "labels": batch["labels"][:, -keep:], "logits_to_keep": keep}

    def step(given: dict[str, Any], hooks: dict[int, Any]) -> None:
        layer._forward_pre_hooks.clear()
        layer._forward_pre_hooks.update(hooks)
        model.zero_grad()
        model(**given).loss.backward()

    def learned() -> None:
        with logits.of(batch) as given:
            step(given, learned_hooks)

    return {
        "all": lambda: step(batch, whole_rows),
        "columns": lambda: step(columns, {}),
        "learned": learned,
    }


if __name__ == "__main__":
    sys.exit(run_command(main))
