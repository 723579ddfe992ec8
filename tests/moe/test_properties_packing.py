"""Packed rows and padded rows of the same conversations are the same training step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import make_tiny_model
from transformers import AutoModelForCausalLM

from sparsedoctor.core.moe.peft_layer import attach_experts, expert_layers
from sparsedoctor.core.moe.settings import ExpertSettings, SupervisionSettings
from sparsedoctor.core.moe.supervision import RoutingSupervisor
from sparsedoctor.train.data.batches import Packed, collate, pack
from sparsedoctor.train.data.encode import IGNORED, Encoded


def _examples() -> list[Encoded]:
    torch.manual_seed(1)
    made = []
    for length, topic in ((11, "a"), (7, "b"), (4, None), (9, "a"), (13, "b")):
        ids = torch.randint(5, 400, (length,)).tolist()
        made.append(Encoded(ids, [IGNORED] * 2 + ids[2:], topic))
    return made


def _model(folder: Path, family: Any) -> Any:
    base = AutoModelForCausalLM.from_pretrained(
        make_tiny_model(folder, family), dtype=torch.float32, attn_implementation="sdpa"
    )
    torch.manual_seed(2)
    settings = ExpertSettings(experts=4, top_k=2, rank=3, alpha=16, shared_rank=2)
    model = attach_experts(base, settings, 16)
    for name, parameter in model.named_parameters():
        if "lora_B" in name or "shared_B" in name or "lora_router" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def _step(model: Any, rows: list[Encoded | Packed]) -> tuple[dict[str, float], dict[str, Any]]:
    """Losses, gradients and the queues after one step on `rows`."""
    layers = expert_layers(model)
    supervisor = RoutingSupervisor(
        layers, SupervisionSettings(queue_length=16, queries=512, warmup_steps=0, z_weight=0.01)
    )
    batch = collate(rows, pad_id=0)
    labels, topics = batch.pop("labels"), batch.pop("topic_ids")
    for _ in range(2):  # the second time, the queues hold what the first put there
        model.zero_grad()
        with supervisor.watching():
            loss = model(**batch, labels=labels).loss
        terms = supervisor.terms(labels != IGNORED, topics)
        (loss + terms.total).backward()
        supervisor.commit()
    values = {name: float(value.detach()) for name, value in terms._asdict().items()}
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    found |= {n: b.float() for n, b in model.named_buffers() if "lora_queue" in n}
    return {"loss": float(loss.detach()), **values}, found


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_a_packed_step_equals_a_padded_one(tmp_path: Path, family: Any) -> None:
    examples = _examples()
    packed = pack(examples, 24)
    order = [example for row in packed for example in row.examples]
    assert len(packed) < len(examples)
    padded_values, padded = _step(_model(tmp_path / "one", family), list(order))
    packed_values, found = _step(_model(tmp_path / "two", family), list(packed))
    assert packed_values == pytest.approx(padded_values, rel=1e-4, abs=1e-6)
    assert padded_values["contrast"] > 0
    assert found.keys() == padded.keys()
    for name, expected in padded.items():
        torch.testing.assert_close(
            found[name], expected, rtol=1e-2, atol=1e-5 + 1e-3 * float(expected.abs().max()),
            msg=lambda text, name=name: f"{name}: {text}",
        )  # fmt: skip
