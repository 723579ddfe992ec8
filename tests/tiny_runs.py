"""Runs of a few steps on a tiny random model, for the tests of training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tiny_models import PROMPTS, make_tiny_model

from sparsedoctor.train.settings import Settings, build_settings

ANSWERS = (
    "Rest, drink enough water and see a doctor when the fever does not go down.",
    "Asthma makes breathing difficult and can cause a cough and shortness of breath.",
    "It usually lasts a week; see a doctor when there is chest pain.",
    "医生会问咳嗽持续了多久，是否发烧或疼痛。",
)


def write_data(path: Path, examples: int = 24) -> Path:
    """A file of short questions and answers in MedQuAD's fields, some with one subject."""
    lines = []
    for number in range(examples):
        lines.append(
            {
                "question": f"{PROMPTS[number % 4]} ({number})",
                "answer": f"{ANSWERS[(number // 2) % 4]} {number}",
                "focus": f"topic {number // 3}",
                "qtype": ("symptoms", "treatment", "causes")[number % 3],
            }
        )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def tiny_settings(folder: Path, **run: Any) -> Settings:
    """Settings of a run on a tiny Llama in `folder`; `run` overrides the run's section, and
    `supervision`, `data` and `experts` theirs."""
    base = folder / "base"
    if not base.exists():
        make_tiny_model(base, "llama", hidden=32, ffn=48, heads=2, kv_heads=1)
    data = folder / "data.jsonl"
    if not data.exists():
        write_data(data)
    sections = {name: run.pop(name, {}) for name in ("data", "experts", "supervision")}
    return build_settings(
        {
            "data": {"data": [str(data)], "max_tokens": 96, "held_out_fraction": 0.1}
            | sections["data"],
            "experts": {"rank": 2, "alpha": 4, "shared_rank": 2, "shared_alpha": 4}
            | sections["experts"],
            "supervision": {"queue_length": 12, "warmup_steps": 2, "queries": 16}
            | sections["supervision"],
            "run": {
                "base": str(base),
                "steps": 4,
                "batch": 2,
                "warmup": 1,
                "log_every": 1,
                "save_every": 2,
                "evaluate_every": 0,
                "health_every": 2,
                "threads": 1,
                "device": "cpu",
            }
            | run,
        }
    )


def state_of(model: Any) -> dict[str, torch.Tensor]:
    """Everything of a model that training changes: weights, queues, pointers, counters."""
    return {name: t.clone() for name, t in model.state_dict().items() if "lora_" in name}
