"""An exported file computes what the trained model computes: float32, position by position."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_adapters import make_adapter
from tiny_models import PROMPTS, make_tiny_model

from sparsedoctor.core.engine.protocol import Engine
from sparsedoctor.export.base import open_base, read
from sparsedoctor.export.gguf_base import gguf_name
from sparsedoctor.export.gguf_file import write_gguf
from sparsedoctor.export.mixture import ExportSettings, export_mixture
from sparsedoctor.export.plan import ready_tensor
from sparsedoctor.export.rotary import interleave
from sparsedoctor.export.types import FORMATS

pytest.importorskip("torch", reason="the reference is PyTorch; install sparsedoctor[train]")
pytest.importorskip(
    "peft", reason="the adapter is loaded through PEFT; install sparsedoctor[train]"
)

from sparsedoctor.export.references import TorchReference, open_engine
from sparsedoctor.export.verify import THRESHOLDS, compare

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "llama": ({"family": "llama"}, {"shared_rank": 3}),
    "llama, untied, biases": ({"family": "llama", "tied": False, "bias": True}, {}),
    "llama, one key head": ({"family": "llama", "kv_heads": 1}, {"key": 16, "attention_rank": 2}),
    "llama, llama3 rope": ({"family": "llama", "rope_scaling": LLAMA3}, {}),
    "llama, linear rope": (
        {"family": "llama", "rope_scaling": {"rope_type": "linear", "factor": 4.0}},
        {},
    ),
    "mistral, wide heads": (
        {"family": "mistral", "tied": False, "head_dim": 32},
        {"query": 128, "key": 64, "attention_rank": 3},
    ),
    "qwen2, sharded bfloat16": (
        {"family": "qwen2", "shards": 3, "dtype": "bfloat16"},
        {"attention_rank": 2, "shared_rank": 2},
    ),
    "qwen2, yarn rope": ({"family": "qwen2", "rope_scaling": YARN}, {}),
    "qwen3, float16": ({"family": "qwen3", "dtype": "float16"}, {"shared_rank": 2}),
    "llama, sharing": ({"family": "llama"}, {"shared_rank": 3, "sharing": 0.4}),
    "qwen3, untied, attention": (
        {"family": "qwen3", "tied": False},
        {"attention_rank": 2, "experts": 3, "top_k": 3},
    ),
}


def exported(tmp_path: Path, base: Path, adapter: Path) -> Path:
    settings = ExportSettings(adapter, base, tmp_path / "model.gguf", FORMATS["f32"])
    return export_mixture(settings)


def open_file(path: Path) -> Engine:
    return open_engine(path, threads=1)


@pytest.mark.parametrize("case", CASES)
def test_a_float32_export_equals_the_pytorch_model(case: str, tmp_path: Path) -> None:
    model, trained = CASES[case]
    base = make_tiny_model(tmp_path / "base", **model)
    adapter = make_adapter(tmp_path / "adapter", base, family=model["family"], **trained)
    engine = open_file(exported(tmp_path, base, adapter))
    try:
        report = compare(engine, TorchReference(base, adapter), PROMPTS, THRESHOLDS["f32"])
    finally:
        engine.close()
    assert report.problems == ()
    assert report.difference.relative_error < 2e-3
    assert report.difference.agreement == 1.0
    assert report.same_tokens == len(PROMPTS)
    assert report.routing is not None
    assert report.routing.min() > 0.999


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_a_base_that_is_a_gguf_of_its_own_architecture(family: Any, tmp_path: Path) -> None:
    """As published: Qwen under its own name, rows as in the folder; Llama with rows permuted."""
    width = 128 if family == "qwen3" else 16  # transformers reads every Qwen3 GGUF as if of 128
    folder = make_tiny_model(tmp_path / "folder", family, head_dim=width)
    base = write_dense_gguf(folder, tmp_path / "base.gguf")
    adapter = make_adapter(
        tmp_path / "adapter", base, family=family, shared_rank=2, attention_rank=2,
        query=4 * width, key=2 * width,
    )  # fmt: skip
    engine = open_file(exported(tmp_path, base, adapter))
    try:
        report = compare(engine, TorchReference(base, adapter), PROMPTS, THRESHOLDS["f32"])
    finally:
        engine.close()
    assert report.problems == ()
    assert report.difference.agreement == 1.0


def write_dense_gguf(folder: Path, path: Path) -> Path:
    base = open_base(folder)
    shape = base.shape
    own = {
        "block_count": shape.layers, "context_length": shape.context,
        "embedding_length": shape.hidden, "feed_forward_length": shape.ffn,
        "attention.head_count": shape.heads, "attention.head_count_kv": shape.kv_heads,
        "attention.key_length": shape.head_dim, "attention.value_length": shape.head_dim,
        "attention.layer_norm_rms_epsilon": shape.norm_epsilon, "rope.freq_base": shape.rope_theta,
        "rope.dimension_count": shape.head_dim, "vocab_size": shape.vocab,
    }  # fmt: skip
    fields = {f"{shape.family}.{key}": value for key, value in own.items()}
    exact, tensors = FORMATS["f32"], []
    for name in shape.tensor_shapes() | shape.optional_shapes():
        values = read(base, name) if base.tensor_shape(name) else None
        heads = {"q_proj": shape.heads, "k_proj": shape.kv_heads}.get(name.split(".")[-2])
        if values is not None and heads and shape.family == "llama":
            values = interleave(values, heads)
        if values is not None:
            tensors.append(ready_tensor(gguf_name(name) or "", values, exact))
    write_gguf(path, shape.family, fields | base.tokenizer_fields(), tensors)
    base.close()
    return path


def test_smollm2_in_float32_equals_the_pytorch_model(smollm2_gguf: Path, tmp_path: Path) -> None:
    adapter = make_adapter(
        tmp_path / "adapter", smollm2_gguf, hidden=576, ffn=1536, layers=30, query=576, key=192,
        rank=8, shared_rank=4, size=0.3,
    )  # fmt: skip
    engine = open_file(exported(tmp_path, smollm2_gguf, adapter))
    try:
        report = compare(engine, TorchReference(smollm2_gguf, adapter), PROMPTS, THRESHOLDS["f32"])
    finally:
        engine.close()
    assert report.problems == ()
    assert report.difference.relative_error < 2e-3
    assert report.difference.agreement == 1.0


def test_a_file_of_another_adapter_is_not_the_same_model(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "base", "llama")
    ours = make_adapter(tmp_path / "ours", base, seed=1)
    other = make_adapter(tmp_path / "other", base, seed=2)
    engine = open_file(exported(tmp_path, base, ours))
    try:
        report = compare(engine, TorchReference(base, other), PROMPTS, THRESHOLDS["f32"])
    finally:
        engine.close()
    assert len(report.problems) >= 3
    assert report.difference.relative_error > 0.1
