"""The importance matrix: what enters each matrix in llama.cpp is what enters it in PyTorch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_adapters import make_adapter
from tiny_models import PROMPTS, make_tiny_model

from sparsedoctor.core.bundle import read_bundle
from sparsedoctor.core.engine.importance import importance
from sparsedoctor.core.engine.protocol import Message
from sparsedoctor.core.gguf_header import read_header
from sparsedoctor.export.adapter import Adapter
from sparsedoctor.export.base import open_base, read
from sparsedoctor.export.cli import main
from sparsedoctor.export.gguf_file import data_sha256
from sparsedoctor.export.merge import add_delta

Export = Callable[..., Path]
TALKS = [(Message("user", question), Message("assistant", "See a doctor.")) for question in PROMPTS]


class Watched:
    """PyTorch's model over the talks: mean squares of what enters attention and experts."""

    def __init__(self, base: Path, adapter: Path, talks: list[tuple[Message, ...]]) -> None:
        from sparsedoctor.export.references import TorchReference
        from sparsedoctor.train.evaluate.backends.transformers_tokens import PromptWriter

        reference = TorchReference(base, adapter)
        seen: dict[str, list[np.ndarray]] = {}
        for name, module in reference._model.named_modules():
            layer, _, part = name.rpartition(".layers.")[2].partition(".")
            if part in ("self_attn.q_proj", "self_attn.o_proj", "mlp"):

                def keep(_: Any, given: Any, at: str = f"{layer}.{part}") -> None:
                    seen.setdefault(at, []).append(given[0].detach().numpy()[0])

                module.register_forward_pre_hook(keep)
        writer = PromptWriter(reference._tokenizer, "chatml")
        chosen = [reference.evaluate(writer.prompt(talk)[:40]).experts for talk in talks]
        self.inputs = {name: np.concatenate(rows) for name, rows in seen.items()}
        self.chosen = np.concatenate(chosen)  # [tokens, layers, used]


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_the_table_is_what_pytorch_computes(family: Any, tmp_path: Path, export: Export) -> None:
    pytest.importorskip("peft", reason="the reference is PyTorch; install sparsedoctor[train]")
    base = make_tiny_model(tmp_path / family, family, head_dim=32)
    adapter = make_adapter(
        tmp_path / "trained", base, family=family, shared_rank=2, query=128, key=64
    )
    path = export("--type", "f32", base=base, adapter=adapter)
    steps: list[tuple[int, int]] = []
    table = importance(
        path, TALKS, most_tokens=40, threads=1, progress=lambda *step: steps.append(step)
    )
    assert steps[-1] == (len(TALKS), len(TALKS))
    header = read_header(path)
    assert len(table) == 2 * 7
    for name, values in table.items():
        shape = header.tensors[name].shape
        assert len(values) == shape[0] * (shape[2] if len(shape) == 3 else 1)
    watched = Watched(base, adapter, TALKS)
    opened = open_base(base)
    loaded = Adapter(adapter, opened.shape)

    def merged(layer: int, part: Any, expert: int) -> np.ndarray:
        weight = read(opened, f"model.layers.{layer}.mlp.{part}_proj.weight")
        weight = add_delta(weight, loaded.shared_delta(layer, part))
        return add_delta(weight, loaded.expert_delta(layer, part, expert))

    for layer in range(2):
        at = f"blk.{layer}."
        entered = watched.inputs[f"{layer}.self_attn.q_proj"]
        for name in ("attn_q", "attn_k", "attn_v"):
            close(table[f"{at}{name}.weight"], entered)
        close(table[f"{at}attn_output.weight"], watched.inputs[f"{layer}.self_attn.o_proj"])
        for expert in range(4):
            mine = (watched.chosen[:, layer] == expert).any(axis=1)
            x = watched.inputs[f"{layer}.mlp"][mine]
            for name in ("ffn_gate_exps", "ffn_up_exps"):
                close(table[f"{at}{name}.weight"].reshape(4, -1)[expert], x)
            gate = x @ merged(layer, "gate", expert).T
            inner = gate / (1 + np.exp(-gate)) * (x @ merged(layer, "up", expert).T)
            close(table[f"{at}ffn_down_exps.weight"].reshape(4, -1)[expert], inner)
    opened.close()


def close(found: np.ndarray, entered: np.ndarray) -> None:
    expected = np.square(entered, dtype=np.float64).mean(axis=0)
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=1e-3 * expected.mean())


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "talks.jsonl"
    rows = [{"question": text, "answer": "Rest."} for text in PROMPTS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("kind", ["q4_0", "q5_k_m"])
def test_an_export_with_importance_is_rounded_otherwise_and_says_so(
    kind: str, export: Export, texts: Path, tmp_path: Path
) -> None:
    plain = export("--type", kind, name="plain.gguf")
    path = export("--type", kind, "--importance", str(texts), name="weighed.gguf")
    before, after, bundle = read_header(plain), read_header(path), read_bundle(path)
    assert after.metadata["quantize.imatrix.dataset"] == "talks.jsonl"
    kinds = {name: info.type_name for name, info in after.tensors.items()}
    assert kinds["blk.0.ffn_gate_inp.weight"] == "F32"
    changed = [
        name for name, info in after.tensors.items()
        if _data(path, info) != _data(plain, before.tensors[name])
    ]  # fmt: skip
    assert {"blk.0.ffn_up_exps.weight", "blk.1.attn_q.weight"} <= set(changed)
    assert not any("ffn_gate_inp" in name or "norm" in name for name in changed)
    assert bundle is not None
    assert bundle.tensors_sha256 == data_sha256(path)
    assert list(tmp_path.glob(".*")) == []


def _data(path: Path, info: Any) -> bytes:
    with path.open("rb") as file:
        file.seek(info.offset)
        return file.read(info.size)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--type", "q8_0"], "changes nothing in q8_0"),
        (["--type", "q4_0", "--layout", "experts"], "for the layout moe alone"),
        (["--type", "q4_0", "--importance", "nowhere.jsonl"], "cannot read nowhere.jsonl"),
    ],
)
def test_importance_that_cannot_be_is_refused(
    words: list[str],
    named: str,
    base: Path,
    adapter: Path,
    texts: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "m.gguf"
    given = ["--adapter", str(adapter), "--base", str(base), "--output", str(output)]
    assert main([*given, "--importance", str(texts), *words]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert named in told[0]
    assert not output.exists()
