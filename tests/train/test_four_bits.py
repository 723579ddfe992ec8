"""A base whose weights bitsandbytes keeps in 4 bits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_models import make_tiny_model
from tiny_runs import tiny_settings

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.moe.adapter import load_adapter
from sparsedoctor.core.moe.base import load_base
from sparsedoctor.core.moe.peft_layer import attach_experts, expert_layers
from sparsedoctor.core.moe.settings import ExpertSettings
from sparsedoctor.train.run import start_run

pytest.importorskip("bitsandbytes", reason="a 4-bit base needs bitsandbytes")
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    ),
]


def _make_base(folder: Path) -> None:
    """Weights as wide as a block of bitsandbytes, 64, or a multiple."""
    make_tiny_model(folder / "base", "llama", hidden=128, ffn=256, heads=2, kv_heads=1)


def test_experts_on_four_bits_begin_at_the_base(tmp_path: Path) -> None:
    _make_base(tmp_path)
    base = load_base(str(tmp_path / "base"), four_bit=True)
    ids = torch.arange(24).view(2, 12).to(base.model.device)
    with torch.no_grad():
        logits = base.model(ids).logits
        whole = load_base(str(tmp_path / "base")).model(ids.cpu()).logits
        model = attach_experts(base.model, ExpertSettings(), None)
        assert torch.equal(model(ids).logits, logits)
    assert not torch.allclose(logits.cpu(), whole, atol=1e-3)  # four bits are not exact
    assert type(expert_layers(model)[0].base_layer.gate_proj).__name__ == "Linear4bit"


@pytest.mark.parametrize("device", DEVICES)
def test_a_base_in_four_bits_trains(tmp_path: Path, device: str) -> None:
    _make_base(tmp_path)
    settings = tiny_settings(
        tmp_path, device=device, steps=30, save_every=30, learning_rate=5e-3, four_bit=True
    )
    run = tmp_path / "run"
    assert start_run(settings, run) == 0
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert sum(losses[-5:]) < sum(losses[:5])
    load_adapter(load_base(settings.run.base), run / "adapter")  # of the same base, unrounded


def test_a_gguf_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "base.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(SparseDoctorError, match="is a GGUF file; a 4-bit base is made of"):
        load_base(str(file), four_bit=True)
