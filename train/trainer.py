"""transformers' Trainer with the terms that supervise the routing.

Everything a training loop needs (accumulation, mixed precision, checkpoints, several processes)
stays with the library; this adds the terms to the loss, lets the keys of a step enter the
queues once, and measures the held-out loss per token.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.moe.health import LayerHealth, layer_health
from sparsedoctor.core.moe.supervision import RoutingSupervisor, Terms
from sparsedoctor.train.checkpoints import check_room_for_next, last_checkpoint, mark_complete
from sparsedoctor.train.data.batches import filled_tokens
from sparsedoctor.train.data.encode import IGNORED, Encoded
from sparsedoctor.train.learned import LearnedLogits
from sparsedoctor.train.processes import total

LOGGED = ("contrast", "route", "balance", "z", "agreement")


class ExpertTrainer(Trainer):  # type: ignore[misc]
    """Trains the experts of a model whose layers `supervisor` watches."""

    optimizer: Any
    control: Any

    def __init__(
        self,
        *,
        supervisor: RoutingSupervisor,
        router_rate: float,
        health_every: int,
        multiple: int = 1,
        **given: Any,
    ) -> None:
        """`multiple`: of what the number of tokens is that logits are computed of."""
        self.supervisor = supervisor
        self.router_rate = router_rate
        self.health_every = health_every
        self.health: list[LayerHealth] | None = None
        self.over = False  # the checkpoint that is resumed from is the end: take no step
        self._sums: dict[str, Tensor] = {}  # since the last line of the log
        self._summed_from = 0  # the step after which they begin
        super().__init__(**given)
        self.logits = LearnedLogits(self.model, multiple)
        self.add_callback(_Commit(supervisor))

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The language-model loss of the answers plus the weighted terms, each micro-step
        weighing as much as it has answer tokens."""
        inputs = dict(inputs)
        topics = inputs.pop("topic_ids", None)
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        counted = inputs["labels"] != IGNORED
        with self.supervisor.watching(), self.logits.of(inputs) as given:
            loss, outputs = super().compute_loss(model, given, True, num_items_in_batch)
        due = self._health_is_due()
        health = layer_health(self.supervisor, counted) if due else []
        terms = self.supervisor.terms(counted, topics)
        if due:
            self.health = self._with_accuracy(health)
        if num_items_in_batch is None:
            part = 1 / self.current_gradient_accumulation_steps
        else:  # of all micro-steps and processes
            part = terms.tokens / num_items_in_batch
        self._note(loss, terms, part, inputs)
        loss = loss + terms.total * part
        return (loss, outputs) if return_outputs else loss

    def training_loss(self) -> float | None:
        """Mean loss of the logged steps, those before a resumption included (nats per token);
        None before the first line."""
        lines = [line for line in self.state.log_history if "loss" in line]
        if not lines:
            return None
        begins = [0, *(line["step"] for line in lines)]
        parts = [line["loss"] * (line["step"] - b) for line, b in zip(lines, begins, strict=False)]
        return float(sum(parts) / max(begins[-1], 1))

    def create_optimizer(self, model: Any = None) -> Any:
        """AdamW with two learning rates: the experts', and that of router and projection."""
        if self.optimizer is None:
            routing: list[Any] = []
            experts: list[Any] = []
            for name, parameter in self.model.named_parameters():
                if parameter.requires_grad:
                    guides = "lora_router" in name or "lora_projection" in name
                    (routing if guides else experts).append(parameter)
            rate, decay = self.args.learning_rate, self.args.weight_decay
            groups = [
                {"params": experts, "lr": rate, "weight_decay": decay},
                {"params": routing, "lr": rate * self.router_rate, "weight_decay": 0.0},
            ]
            betas = (self.args.adam_beta1, self.args.adam_beta2)
            self.optimizer = torch.optim.AdamW(
                [group for group in groups if group["params"]], betas=betas
            )
        return self.optimizer

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Held-out loss per answer token (nats), over all processes."""
        model = self.model
        training = model.training
        model.eval()
        sums = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        for batch in self._own_part(self.eval_dataset if eval_dataset is None else eval_dataset):
            inputs = self._prepare_inputs(batch)
            inputs.pop("topic_ids", None)
            number = (inputs["labels"][:, 1:] != IGNORED).sum()
            autocast = self.compute_loss_context_manager()
            with torch.no_grad(), autocast, self.logits.of(inputs) as given:
                mean = model(**given).loss
            if number:
                sums += torch.stack((mean.double() * number, number.double()))
        model.train(training)
        sums = total(sums)
        loss = float(sums[0] / sums[1].clamp(min=1))
        require_finite("held-out loss", loss, self)
        metrics = {f"{metric_key_prefix}_loss": loss, "perplexity": math.exp(min(loss, 50.0))}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the terms since the last line, and the tokens they took, to the loss's line."""
        if "loss" in logs:
            require_finite("loss", logs["loss"], self)
        if "loss" in logs and self._sums:
            steps = max(self.state.global_step - self._summed_from, 1)
            sums = total(torch.stack([value.double() for value in self._sums.values()]))
            found = dict(zip(self._sums, sums.tolist(), strict=True))
            logs["tokens"] = found.pop("tokens")
            logs |= {n: value / steps / self.args.world_size for n, value in found.items()}
            self._sums = {}
        super().log(logs, start_time)

    def _note(
        self, loss: Tensor, terms: Terms, part: Tensor | float, inputs: dict[str, Any]
    ) -> None:
        if not self._sums:
            self._summed_from = self.state.global_step
        found = {name: getattr(terms, name).detach() * part for name in LOGGED}
        found |= {"lm_loss": loss.detach(), "tokens": filled_tokens(inputs)}
        for name, value in found.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value

    def _own_part(self, examples: Sequence[Encoded]) -> Iterator[dict[str, Any]]:
        """Batches of this process's part of `examples`.

        As many for every process, because sharded weights are gathered by all at once: a
        process with fewer examples repeats one of them with nothing counted.
        """
        world, batch = self.args.world_size, self.args.per_device_eval_batch_size
        own = list(examples[self.args.process_index :: world])
        if len(own) < math.ceil(len(examples) / world):
            first = examples[0]
            own.append(replace(first, labels=[IGNORED] * len(first.labels)))
        for begin in range(0, len(own), batch):
            yield self.data_collator(own[begin : begin + batch])

    def _with_accuracy(self, health: list[LayerHealth]) -> list[LayerHealth]:
        if not self.supervisor.agreement:
            return health
        mean = total(torch.stack(self.supervisor.agreement)) / self.supervisor.processes
        agreed = [round(value, 4) for value in mean.tolist()]
        return [
            replace(layer, contrast_accuracy=part)
            for layer, part in zip(health, agreed, strict=True)
        ]

    def _run_epoch(self, *args: Any, **given: Any) -> None:
        if self.over:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **given)

    def _ends(self) -> bool:
        """Whether the training is over with this step, and not only interrupted."""
        worse = [
            one.early_stopping_patience_counter >= one.early_stopping_patience
            for one in self.callback_handler.callbacks
            if isinstance(one, EarlyStoppingCallback)
        ]
        return self.state.global_step >= self.state.max_steps or any(worse)

    def _health_is_due(self) -> bool:
        every = self.health_every
        return bool(every) and (self.state.global_step + 1) % every == 0

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        run = Path(self.args.output_dir)
        if self.args.should_save:
            check_room_for_next(run)
        if not all(bool(p.isfinite().all()) for p in self.model.parameters() if p.requires_grad):
            require_finite("sum of the weights", math.nan, self)
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()  # each process writes its random state
        if self.args.should_save:
            mark_complete(run, self.state.global_step, last=self._ends())


def require_finite(name: str, value: float, trainer: Trainer) -> None:
    """Raise SparseDoctorError when a training has diverged."""
    if math.isfinite(value):
        return
    last = last_checkpoint(Path(trainer.args.output_dir))
    kept = f"; {last.name} was written before" if last else ""
    raise SparseDoctorError(
        f"the {name} is {value} at step {trainer.state.global_step}: the training has diverged"
        f"{kept}. Start again with a lower learning_rate or a longer warmup"
    )


class _Commit(TrainerCallback):  # type: ignore[misc]
    """Keys enter the queues after the optimiser's step, so before any checkpoint of it."""

    def __init__(self, supervisor: RoutingSupervisor) -> None:
        self._supervisor = supervisor

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        self._supervisor.commit()
