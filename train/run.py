"""A training run, from settings to the finished adapter."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import EarlyStoppingCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.files import ADAPTER, RUN_FILE
from sparsedoctor.core.in_use import in_use
from sparsedoctor.core.moe.adapter import adapter_state, save_adapter
from sparsedoctor.core.moe.adapter_description import AdapterDescription, BaseShape
from sparsedoctor.core.moe.base import Base, load_base, load_tokenizer
from sparsedoctor.core.moe.peft_layer import attach_experts, expert_layers
from sparsedoctor.core.moe.supervision import RoutingSupervisor
from sparsedoctor.train.checkpoints import (
    check_disk_space,
    disk_errors,
    ends_training,
    keep_only_until,
    sound_checkpoint,
    step_of,
    take_along,
)
from sparsedoctor.train.data.batches import collate
from sparsedoctor.train.interrupt import StopOnSignal
from sparsedoctor.train.machine import Machine
from sparsedoctor.train.material import Material, choose_examples, encode_material
from sparsedoctor.train.memory import (
    Memory,
    base_size,
    check_memory,
    free_memory,
    peak_memory,
    predict_memory,
    resident_memory,
    restart_peak,
)
from sparsedoctor.train.processes import check_launch, gather, process_count, total
from sparsedoctor.train.progress import (
    HEALTH_FILE,
    LOG_FILE,
    Health,
    Progress,
    drop_lines_after,
    duration,
)
from sparsedoctor.train.provenance import read_run_file, write_run_file
from sparsedoctor.train.report.choices import write_choices
from sparsedoctor.train.report.page import write_report
from sparsedoctor.train.router_input import about_routers, suit_routers
from sparsedoctor.train.settings import RunSettings, Settings
from sparsedoctor.train.trainer import ExpertTrainer

INTERRUPTED = 130  # the exit code of a run that Ctrl-C ended


def start_run(settings: Settings, output: Path) -> int:
    """Train from the beginning into the new folder `output`; returns the exit code."""
    if process_rank() == 0:
        _refuse_another_run(output)
    return _run(settings, output)


def resume_run(output: Path) -> int:
    """Continue a run from its last whole checkpoint, or from the start when it has none."""
    settings, record = read_run_file(output)
    if (output / ADAPTER).exists():
        raise SparseDoctorError(f"{output} is finished; its adapter is {output / ADAPTER}")
    first = process_rank() == 0
    with in_use(output, "training") if first else contextlib.nullcontext():
        checkpoint = sound_checkpoint(output, tell=print if first else lambda _: None)
        return _run(settings, output, checkpoint, record)


def _run(
    settings: Settings,
    output: Path,
    resumed_from: Path | None = None,
    record: dict[str, Any] | None = None,
) -> int:
    """`record` is what the run noted when it began; None for one that begins now."""
    _quieten()
    if settings.run.threads:
        torch.set_num_threads(settings.run.threads)
    transformers.set_seed(settings.run.seed)
    loaded = prepare(settings, output)
    if record and record.get("base_sha256", loaded.base.sha256) != loaded.base.sha256:
        raise SparseDoctorError(
            f"{loaded.base.path} is not the base this run began with (sha256 "
            f"{str(record['base_sha256'])[:12]}); put that one there again, or start a new run"
        )
    with contextlib.ExitStack() as stack:
        if process_rank() == 0:
            if record is None:
                stack.enter_context(in_use(output, "training"))
                _refuse_another_run(output)  # may have begun while this one read its data
            stack.enter_context(disk_errors(output))
            if record is None:
                write_run_file(output, settings, loaded.base.sha256)
            else:
                _go_back_to(output, resumed_from)
            print(loaded.introduction(), flush=True)
        loaded.trainer.accelerator.wait_for_everyone()
        return _train_and_finish(loaded, settings, output, resumed_from)


def _refuse_another_run(output: Path) -> None:
    if (output / RUN_FILE).exists():
        raise SparseDoctorError(
            f"{output} holds a run already; continue it with --resume {output}, "
            "or name another folder"
        )


def _go_back_to(output: Path, checkpoint: Path | None) -> None:
    """Let the run's folder be as it was when `checkpoint` was written; None: at the start.

    Only when every process has chosen it: they look at the same folders."""
    keep_only_until(output, checkpoint)
    if checkpoint:
        take_along(output, checkpoint)
    for name in (LOG_FILE, HEALTH_FILE):
        drop_lines_after(output / name, step_of(checkpoint) if checkpoint else 0)


def _train_and_finish(
    loaded: Loaded, settings: Settings, output: Path, resumed_from: Path | None
) -> int:
    began = time.monotonic()
    trainer = loaded.trainer
    first = process_rank() == 0
    trainer.over = resumed_from is not None and ends_training(resumed_from, settings.run.steps)
    if trainer.over and first:
        print("every step is done; the adapter is written", flush=True)
    with StopOnSignal() as stop:
        trainer.add_callback(stop)
        trainer.train(resume_from_checkpoint=str(resumed_from) if resumed_from else None)
    steps = trainer.state.global_step
    done = steps - (step_of(resumed_from) if resumed_from else 0)
    if stop.asked and steps < settings.run.steps and not trainer.over:
        print(f"stopped at step {steps}; continue with: sparsedoctor-train --resume {output}")
        return INTERRUPTED
    if first:
        peak = peak_memory(cuda=loaded.machine.cuda)  # of the training alone
        print(f"memory: predicted {loaded.memory.total >> 20:,} MiB, peak {peak >> 20:,} MiB")
    if first or trainer.is_fsdp_enabled:
        write_choices(
            output,
            loaded.model,
            loaded.supervisor,
            loaded.material.held_out,
            pad_id=loaded.base.tokenizer.pad_token_id or 0,
            batch=settings.run.batch,
            writes=first,
        )
    state = adapter_state(loaded.model)
    if first:
        description = describe(loaded, settings)
        precision = getattr(torch, settings.run.adapter_precision)
        save_adapter(loaded.model, output / ADAPTER, description, dtype=precision, state=state)
        taken = f"{done} steps in {duration(time.monotonic() - began)}"
        if resumed_from:
            taken += f", {steps} in all"
        if steps < settings.run.steps:
            taken += f"; stopped there, {settings.run.patience} measurements were no better"
        print(f"{taken}; adapter: {output / ADAPTER}")
        print(f"report: {write_report(output)}")
    return 0


@dataclass(frozen=True, slots=True)
class Loaded:
    """Everything a run needs, ready for its first step."""

    base: Base
    model: Any  # PEFT's model
    material: Material
    trainer: ExpertTrainer
    supervisor: RoutingSupervisor
    machine: Machine
    memory: Memory
    router_part: float  # of the router's start and rate, by what the routers read

    def introduction(self) -> str:
        """What a person should know before the first step."""
        trained, everything = trainable(self.model)
        material = self.material
        left_out = f"; {material.too_long:,} left out, too long" if material.too_long else ""
        return (
            f"{self.base.name}: {trained:,} of {everything:,} parameters are trained "
            f"({trained / everything:.2%})\n"
            f"{len(material.encoded.examples):,} examples, {material.tokens:,} tokens, "
            f"{material.learned:,} of them learned; "
            f"{len(material.held_out):,} examples held out{left_out}\n{self.memory.text()}"
            f"{about_routers(self.router_part)}"
        )


def prepare(settings: Settings, output: Path) -> Loaded:
    """Read the data, load the base, attach the experts and build the trainer."""
    run = settings.run
    check_launch()
    machine = Machine.of(run)
    examples = choose_examples(settings.data, run.seed)  # first: wrong data show at once
    tokenizer = load_tokenizer(run.base)
    material = encode_material(examples, settings.data, tokenizer)
    if run.patience and not material.held_out:
        raise SparseDoctorError("patience needs held-out examples; raise held_out_fraction")
    size = base_size(run.base)
    resident = resident_memory(cuda=machine.cuda)  # with the libraries that reading it loads
    predict = partial(
        predict_memory,
        base=size,
        half=machine.half,
        eager=machine.eager,
        resident=resident,
        learned=material.most_learned,
    )
    memory = check_memory(settings, predict, free_memory(cuda=machine.cuda) + resident)
    base = load_base(
        run.base,
        machine.dtype,
        four_bit=run.four_bit,
        attention=machine.attention,
        tokenizer=tokenizer,
    )
    restart_peak(cuda=machine.cuda)
    queue = settings.supervision.queue_length if settings.supervision.contrastive else None
    model = attach_experts(base.model, settings.experts, queue)
    layers = expert_layers(model)
    router_part = suit_routers(model, layers, material.encoded.examples[0].input_ids)
    if run.freeze_router:
        for layer in layers:
            layer.router.requires_grad_(False)
    supervisor = RoutingSupervisor(
        layers,
        settings.supervision,
        processes=process_count(),
        rank=process_rank(),
        total=total,
        gather=gather,
    )
    _make_room(output, model, run)
    pad = base.tokenizer.pad_token_id or 0
    health = Health(output)
    callbacks: list[Any] = [Progress(output), health]
    if run.patience:
        callbacks.append(EarlyStoppingCallback(run.patience))
    trainer = ExpertTrainer(
        model=model,
        args=training_arguments(run, output, bool(material.held_out), cuda=machine.cuda),
        data_collator=partial(collate, pad_id=pad, multiple=machine.multiple),
        train_dataset=material.training,
        eval_dataset=material.held_out or None,
        callbacks=callbacks,
        supervisor=supervisor,
        router_rate=run.router_rate * router_part,
        health_every=run.health_every,
        multiple=machine.multiple,
    )
    health.trainer = trainer
    for printer in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(printer)
    return Loaded(base, model, material, trainer, supervisor, machine, memory, router_part)


def training_arguments(
    run: RunSettings, output: Path, measured: bool, *, cuda: bool
) -> TrainingArguments:
    """Our settings in the library's words."""
    evaluates = measured and run.evaluate_every > 0
    return TrainingArguments(
        output_dir=str(output),
        max_steps=run.steps,
        per_device_train_batch_size=run.batch,
        per_device_eval_batch_size=run.batch,
        gradient_accumulation_steps=run.accumulate,
        learning_rate=run.learning_rate,
        lr_scheduler_type=run.schedule,
        warmup_steps=run.warmup,
        weight_decay=run.weight_decay,
        max_grad_norm=run.clip,
        seed=run.seed,
        data_seed=run.seed,
        logging_strategy="steps",
        logging_steps=min(run.log_every, run.steps),  # a short run has a line as well
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=run.save_every,
        save_total_limit=run.keep + 1 if evaluates else run.keep,  # with the best one
        eval_strategy="steps" if evaluates else "no",
        eval_steps=run.evaluate_every or None,
        load_best_model_at_end=evaluates,
        metric_for_best_model="loss" if evaluates else None,
        greater_is_better=False,
        restore_callback_states_from_checkpoint=bool(run.patience),
        gradient_checkpointing=run.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        use_cpu=not cuda,
        remove_unused_columns=False,
        label_names=["labels"],
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,
        report_to=["tensorboard"] if _tensorboard() else [],
        disable_tqdm=True,
    )


def describe(loaded: Loaded, settings: Settings) -> AdapterDescription:
    """What the adapter says about itself."""
    config = loaded.base.model.config
    state = loaded.trainer.state
    held_out = [line["eval_loss"] for line in state.log_history if "eval_loss" in line]
    loss = loaded.trainer.training_loss()
    summary = {
        "data": [Path(name).name for name in settings.data.data],
        "examples": len(loaded.material.encoded.examples),
        "steps": state.global_step,
        "rows_per_step": settings.run.batch * settings.run.accumulate * process_count(),
        "learning_rate": settings.run.learning_rate,
        "seed": settings.run.seed,
        "training_loss": None if loss is None else round(loss, 4),
        "held_out_loss_first": round(held_out[0], 4) if held_out else None,
        "held_out_loss": round(state.best_metric, 4) if state.best_metric else None,
        "best_step": state.best_global_step or state.global_step,
        "supervision": settings.to_json()["supervision"],
    }
    return AdapterDescription(
        base=BaseShape(
            name=loaded.base.name,
            sha256=loaded.base.sha256,
            architecture=config.model_type,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            layers=config.num_hidden_layers,
        ),
        experts=settings.experts,
        training=summary,
        licences=settings.data.licences,
    )


def process_rank() -> int:
    """Which of several processes this is; 0 prints and writes."""
    return int(os.environ.get("RANK", "0"))


def _make_room(output: Path, model: Any, run: RunSettings) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SparseDoctorError(f"cannot create {output}: {error.strerror}") from error
    trained = [p for p in model.parameters() if p.requires_grad]
    weights = sum(p.numel() * p.element_size() for p in trained)
    queues = sum(layer.queue.bytes for layer in expert_layers(model) if layer.queue is not None)
    one = 3 * weights + queues  # weights and the two moments of AdamW
    check_disk_space(output, (run.keep + 3) * one)  # with the best one and a new one


def _tensorboard() -> bool:
    return importlib.util.find_spec("tensorboard") is not None


def _quieten() -> None:
    """The libraries' notes are not for the person who trains."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message="Could not find a config file")


def trainable(model: Any) -> tuple[int, int]:
    """(trainable, all) parameters."""
    parameters: Sequence[Any] = list(model.parameters())
    return (
        sum(p.numel() for p in parameters if p.requires_grad),
        sum(p.numel() for p in parameters),
    )
