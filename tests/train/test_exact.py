"""A run is a function of its settings: resumed, accumulated, recomputed or split, it stays one."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tiny_runs import state_of, tiny_settings

from sparsedoctor.train.checkpoints import last_checkpoint
from sparsedoctor.train.run import Loaded, prepare
from sparsedoctor.train.settings import Settings


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _train(settings: Settings, output: Path, resume: Path | None = None, stop: int = 0) -> Loaded:
    transformers.set_seed(settings.run.seed)
    loaded = prepare(settings, output)
    if stop:
        loaded.trainer.add_callback(_StopAt(stop))
    loaded.trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    return loaded


class _StopAt(transformers.TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            control.should_training_stop = True


def _equal(a: Any, b: Any, where: str = "") -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            _equal(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for place, (x, y) in enumerate(zip(a, b, strict=True)):
            _equal(x, y, f"{where}/{place}")
    else:
        assert a == b, where


@pytest.mark.parametrize("at", [2, 4])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path, at: int) -> None:
    """Weights, queue, pointers, counters, optimiser, scheduler and random states; dropout-like
    draws and the data's position included, across the end of an epoch."""
    settings = tiny_settings(
        tmp_path, steps=6, batch=4, accumulate=2, data={"held_out_fraction": 0.0}
    )  # 24 examples: 3 steps an epoch
    whole = _train(settings, tmp_path / "whole")
    draws = (random.random(), np.random.rand(), torch.rand(1))
    _train(settings, tmp_path / "cut", stop=at)
    checkpoint = last_checkpoint(tmp_path / "cut")
    assert checkpoint is not None
    assert checkpoint.name == f"checkpoint-{at}"
    again = _train(settings, tmp_path / "cut", resume=checkpoint)
    assert (random.random(), np.random.rand(), torch.rand(1)) == draws
    _equal(state_of(again.model), state_of(whole.model), "model")
    _equal(again.trainer.optimizer.state_dict(), whole.trainer.optimizer.state_dict(), "optimizer")
    _equal(again.trainer.lr_scheduler.state_dict(), whole.trainer.lr_scheduler.state_dict())
    queues = [name for name in state_of(whole.model) if "lora_queue" in name]
    assert {name.rpartition(".")[2] for name in queues} == {
        "keys", "labels", "pointer", "count", "ready_steps",
    }  # fmt: skip
    assert any(state_of(whole.model)[name].any() for name in queues if name.endswith("count"))


def test_the_control_a_run_resumed_without_its_queue_differs(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path, steps=6, supervision={"contrast_weight": 1.0})
    whole = _train(settings, tmp_path / "whole")
    transformers.set_seed(settings.run.seed)
    loaded = prepare(settings, tmp_path / "other")
    loaded.trainer.add_callback(_EmptyQueues(loaded.supervisor, at=3))
    loaded.trainer.train()
    same = [
        torch.equal(a, b)
        for a, b in zip(
            state_of(whole.model).values(), state_of(loaded.model).values(), strict=True
        )
    ]
    assert not all(same)


class _EmptyQueues(transformers.TrainerCallback):
    def __init__(self, supervisor: Any, at: int) -> None:
        self.supervisor, self.at = supervisor, at

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.at:
            for layer in self.supervisor.layers:
                layer.queue.count.zero_()


def _queues(loaded: Loaded) -> list[torch.Tensor]:
    return [buffer for layer in loaded.supervisor.layers for buffer in layer.queue.buffers()]


def test_gradient_checkpointing_changes_nothing(tmp_path: Path) -> None:
    plain = _train(tiny_settings(tmp_path), tmp_path / "plain")
    again = _train(tiny_settings(tmp_path, gradient_checkpointing=True), tmp_path / "again")
    for a, b in zip(_queues(plain), _queues(again), strict=True):
        assert torch.equal(a, b)  # counts and pointers too: nothing entered twice
    for (name, a), (_, b) in zip(
        state_of(plain.model).items(), state_of(again.model).items(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6, msg=name)


def test_accumulated_micro_steps_are_one_step(tmp_path: Path) -> None:
    """4 rows at once and 2 times 2 rows, of different numbers of answer tokens: the same
    gradient of text, contrast, route and z, and the same keys enter the queue in the same order.
    (The balance term is of each micro-step, and so are the keys of a batch; both are off here.)"""
    supervision = {
        "balance_weight": 0.0,
        "contrast_weight": 0.1,
        "route_weight": 0.1,
        "z_weight": 0.1,
        "queries": 512,
        "queue_length": 8,
        "batch_keys": False,
    }
    gradients, queues, lines = [], [], []
    for batch, accumulate in ((4, 1), (2, 2)):
        settings = tiny_settings(
            tmp_path, supervision=supervision, steps=2, batch=batch, accumulate=accumulate
        )
        transformers.set_seed(settings.run.seed)
        loaded = prepare(settings, tmp_path / f"run{batch}")
        kept = _KeepGradients()
        loaded.trainer.add_callback(kept)
        loaded.trainer.train()
        gradients.append(kept.gradients)
        queues.append(_queues(loaded))
        log = (tmp_path / f"run{batch}" / "log.jsonl").read_text().splitlines()
        lines.append(json.loads(log[-1]))
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-3, atol=1e-6, msg=name)
    for a, b in zip(*queues, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-2)  # keys are bfloat16
    assert lines[0]["contrast"] > 0
    for name in ("loss", "lm_loss", "contrast", "route", "z", "agreement"):
        assert lines[1][name] == pytest.approx(lines[0][name], rel=1e-4), name


def test_balance_is_of_each_micro_step_and_keys_enter_once_a_step(tmp_path: Path) -> None:
    """A micro-step weighs as much as it has answer tokens."""
    settings = tiny_settings(
        tmp_path, supervision={"balance_weight": 1.0, "queue_length": 99}, steps=1, accumulate=3
    )
    transformers.set_seed(settings.run.seed)
    loaded = prepare(settings, tmp_path / "run")
    seen = []
    of_pass = loaded.supervisor.terms

    def spy(*given: Any) -> Any:
        terms = of_pass(*given)
        seen.append((float(terms.balance.detach()), int(terms.tokens)))
        return terms

    loaded.supervisor.terms = spy  # type: ignore[method-assign]
    loaded.trainer.train()
    assert len({tokens for _, tokens in seen}) == len(seen) == 3  # no two micro-steps alike
    everything = sum(tokens for _, tokens in seen)
    mean = sum(balance * tokens for balance, tokens in seen) / everything
    line = json.loads((tmp_path / "run" / "log.jsonl").read_text())
    assert line["balance"] == pytest.approx(mean, abs=2e-6)
    assert line["loss"] == pytest.approx(line["lm_loss"] + mean, rel=1e-3)
    for layer in loaded.supervisor.layers:
        assert layer.queue is not None
        assert int(layer.queue.count.sum()) == sum(min(tokens, 16) for _, tokens in seen)


class _KeepGradients(transformers.TrainerCallback):
    def __init__(self) -> None:
        self.gradients: dict[str, torch.Tensor] = {}

    def on_pre_optimizer_step(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        self.gradients = {
            name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None
        }


@pytest.mark.parametrize("term", ["balance", "contrast", "route"])
def test_a_term_can_be_switched_off(tmp_path: Path, term: str) -> None:
    """Off, the run is the run without it; on, the weights differ."""
    off = {"balance_weight": 0.0, "contrast_weight": 0.0, "route_weight": 0.0}
    without = _train(tiny_settings(tmp_path, supervision=off), tmp_path / "without")
    on = off | {f"{term}_weight": 0.5}
    with_it = _train(tiny_settings(tmp_path, supervision=on), tmp_path / "with")
    assert all(layer.queue is None for layer in without.supervisor.layers)
    shared = state_of(without.model)
    changed = [name for name, t in state_of(with_it.model).items()
               if name in shared and not torch.equal(t, shared[name])]  # fmt: skip
    assert changed


def test_the_frozen_base_and_a_frozen_router_stay_as_they_were(tmp_path: Path) -> None:
    loaded = _train(tiny_settings(tmp_path, freeze_router=True, steps=3), tmp_path / "run")
    transformers.set_seed(loaded.trainer.args.seed)
    fresh = prepare(tiny_settings(tmp_path, freeze_router=True, steps=3), tmp_path / "fresh")
    before, after = fresh.model.state_dict(), loaded.model.state_dict()
    same = {name: torch.equal(before[name], after[name]) for name in before}
    assert all(same[name] for name in same if "lora_" not in name or "lora_router" in name)
    assert not all(same[name] for name in same if "lora_B_gate" in name)
