"""Train an ordinary LoRA on the feed-forward projections, as the rows to compare with.

    python benchmarks/eval_table_dense.py --rank 32 --output RUN --base BASE --data FILE ... [...]

The same data, order, rows in a step, schedule and optimiser as `sparsedoctor-train` with the same
settings; only what is trained differs: PEFT's LoRA on gate, up and down of every layer. Goes on
from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
import transformers
from eval_table_rows import ALPHA
from peft import LoraConfig, get_peft_model
from transformers import Trainer
from transformers.trainer_utils import get_last_checkpoint

from sparsedoctor.core.errors import run_command
from sparsedoctor.core.moe.base import load_base
from sparsedoctor.train.data.batches import collate
from sparsedoctor.train.learned import LearnedLogits
from sparsedoctor.train.machine import Machine
from sparsedoctor.train.material import choose_examples, encode_material
from sparsedoctor.train.run import training_arguments
from sparsedoctor.train.settings import DataSettings, Precision, RunSettings
from sparsedoctor.train.trainer import ExpertTrainer


class DenseTrainer(Trainer):  # type: ignore[misc]
    """transformers' Trainer; the held-out loss is measured as for the experts."""

    evaluate = ExpertTrainer.evaluate
    _own_part = ExpertTrainer._own_part

    def __init__(self, multiple: int, **given: Any) -> None:
        super().__init__(**given)
        self.logits = LearnedLogits(self.model, multiple)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *rest: Any, **more: Any) -> Any:
        inputs = {name: value for name, value in inputs.items() if name != "topic_ids"}
        with self.logits.of(inputs) as given:
            return super().compute_loss(model, given, *rest, **more)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--alpha", type=int, default=ALPHA, help="default: the experts'")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--base", required=True)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--pack", action="store_true")
    parser.add_argument("--precision", choices=get_args(Precision), default="auto")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--evaluate-every", type=int, default=50)
    parser.add_argument("--save-every", type=int, default=50)
    parser.add_argument("--held-out-fraction", type=float, default=0.02)
    parser.add_argument("--held-out-limit", type=int, default=64)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    run = RunSettings(
        base=options.base,
        steps=options.steps,
        batch=options.batch,
        precision=options.precision,
        learning_rate=options.learning_rate,
        warmup=options.warmup,
        seed=options.seed,
        evaluate_every=options.evaluate_every,
        save_every=options.save_every,
        threads=options.threads,
    )
    data = DataSettings(
        data=tuple(options.data),
        max_tokens=options.max_tokens,
        pack=options.pack,
        held_out_fraction=options.held_out_fraction,
        held_out_limit=options.held_out_limit,
    )
    train_dense(run, data, options.rank, options.alpha, options.output)
    return 0


def train_dense(run: RunSettings, data: DataSettings, rank: int, alpha: int, output: Path) -> None:
    """Train and write `output`/adapter: PEFT's files and dense.json with the held-out loss."""
    transformers.utils.logging.set_verbosity_error()
    warnings.filterwarnings("ignore", category=FutureWarning)  # the libraries', to their own users
    if run.threads:
        torch.set_num_threads(run.threads)
    transformers.set_seed(run.seed)
    machine = Machine.of(run)
    examples = choose_examples(data, run.seed)
    base = load_base(run.base, machine.dtype, attention=machine.attention)
    material = encode_material(examples, data, base.tokenizer)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=["gate_proj", "up_proj", "down_proj"],
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(base.model, config)
    pad = base.tokenizer.pad_token_id
    trainer = DenseTrainer(
        multiple=machine.multiple,
        model=model,
        args=training_arguments(run, output, bool(material.held_out), cuda=machine.cuda),
        data_collator=partial(collate, pad_id=pad or 0, multiple=machine.multiple),
        train_dataset=material.training,
        eval_dataset=material.held_out or None,
    )
    checkpoint = get_last_checkpoint(str(output)) if output.is_dir() else None
    trainer.train(resume_from_checkpoint=checkpoint)
    adapter = output / "adapter"
    model.save_pretrained(str(adapter))
    summary = {"rank": rank, "training": {"held_out_loss": trainer.state.best_metric}}
    (adapter / "dense.json").write_text(json.dumps(summary) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run_command(main))
