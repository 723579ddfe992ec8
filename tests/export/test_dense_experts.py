"""The layout `experts`: each file is that expert, in a llama.cpp that knows nothing of us."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_adapters import ATTENTION, make_adapter
from tiny_models import PROMPTS, make_tiny_model

from sparsedoctor.core.bundle import check_bundle
from sparsedoctor.core.gguf_header import read_header
from sparsedoctor.export.compare import difference
from sparsedoctor.export.gguf_file import data_sha256

Export = Callable[..., Path]
SCALE = 2.0  # alpha / rank of make_adapter
PLAIN = """
import json, sys
import llama_cpp, numpy
for path in json.loads(sys.argv[1]):
    model = llama_cpp.Llama(path, n_ctx=256, n_threads=1, logits_all=True, verbose=False,
                            type_k=0, type_v=0, flash_attn=False)
    tokens = model.tokenize(sys.argv[2].encode(), add_bos=False, special=True)
    model.eval(tokens)
    numpy.savez(path + ".npz", tokens=tokens, logits=model.scores[:len(tokens)])
assert "sparsedoctor" not in sys.modules
"""


def merged_logits(base: Path, adapter: Path, expert: int, tokens: list[int]) -> np.ndarray:
    """The dense base in transformers, its weights changed by hand: the shared pair, the pair of
    `expert` and the attention's, whichever the adapter has."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    stored = load_file(adapter / "adapter_model.safetensors")
    pairs = {name: torch.tensor(values) for name, values in stored.items()}
    with torch.no_grad():
        for number, layer in enumerate(model.model.layers):
            at = f"base_model.model.model.layers.{number}."
            for part in ("gate", "up", "down"):
                weight = getattr(layer.mlp, f"{part}_proj").weight
                a, b = pairs[f"{at}mlp.lora_A_{part}"], pairs[f"{at}mlp.lora_B_{part}"]
                weight += SCALE * b[expert] @ a[expert]
                if f"{at}mlp.lora_shared_A_{part}" in pairs:
                    shared = f"{at}mlp.lora_shared_"
                    weight += SCALE * pairs[f"{shared}B_{part}"] @ pairs[f"{shared}A_{part}"]
            for part in ATTENTION:
                lora = f"{at}self_attn.{part}.lora_"
                if f"{lora}A.weight" in pairs:
                    weight = getattr(layer.self_attn, part).weight
                    weight += SCALE * pairs[f"{lora}B.weight"] @ pairs[f"{lora}A.weight"]
        return np.asarray(model(torch.tensor([tokens])).logits[0])


@pytest.mark.parametrize(
    ("family", "model", "trained"),
    [
        ("llama", {}, {"shared_rank": 3, "attention_rank": 2}),
        ("mistral", {"tied": False, "head_dim": 32}, {"query": 128, "key": 64}),
        ("qwen2", {}, {"attention_rank": 2}),
        ("qwen3", {"tied": False}, {"shared_rank": 2}),
    ],
)
def test_every_file_gives_the_logits_of_its_merged_expert(
    tmp_path: Path, export: Export, family: Any, model: dict[str, Any], trained: dict[str, Any]
) -> None:
    pytest.importorskip("transformers", reason="needs sparsedoctor[train]")
    base = make_tiny_model(tmp_path / family, family, **model)
    adapter = make_adapter(tmp_path / "trained", base, family=family, experts=3, **trained)
    words = ("--layout", "experts", "--type", "f32")
    folder = export(*words, base=base, adapter=adapter, name="experts")
    routing = json.loads((folder / "routing.json").read_text())
    files = [str(folder / row["file"]) for row in routing["experts"]]
    command = [sys.executable, "-c", PLAIN, json.dumps(files), PROMPTS[3]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    computed = []
    for expert, file in enumerate(files):
        with np.load(f"{file}.npz") as found:
            tokens = found["tokens"].tolist()
            expected = merged_logits(base, adapter, expert, tokens)
            compared = difference(expected, found["logits"])
            computed.append(found["logits"])
        assert len(tokens) > 20
        assert compared.relative_error < 2e-3
        assert compared.agreement == 1.0
    assert difference(computed[0], computed[1]).relative_error > 0.05  # they are not alike


def test_the_routing_beside_them_says_what_the_mixture_would(export: Export, adapter: Path) -> None:
    folder = export("--layout", "experts", name="experts")
    routing = json.loads((folder / "routing.json").read_text())
    experts, routers = routing.pop("experts"), load_file(folder / routing.pop("routers"))
    assert check_bundle(routing) == ""  # the schema of a mixture's own keys
    assert routing["expert_used_count"] == 2
    assert [row["name"] for row in experts] == routing["expert_names"]
    for row in experts:
        path = folder / row["file"]
        assert row["tensors_sha256"] == data_sha256(path)
        assert "llama.expert_count" not in read_header(path).metadata
    stored = load_file(adapter / "adapter_model.safetensors")
    assert len(routers) == 2
    for layer in range(2):
        name = f"base_model.model.model.layers.{layer}.mlp.lora_router"
        np.testing.assert_array_equal(routers[f"layers.{layer}.router"], stored[name])
