"""Random adapters, as sparsedoctor-train writes them. B is not zero: every expert differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from sparsedoctor.core.base_models import base_fingerprint

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


def make_adapter(
    folder: Path,
    base: Path,
    *,
    hidden: int = 64,
    ffn: int = 128,
    layers: int = 2,
    query: int = 64,
    key: int = 32,
    experts: int = 4,
    top_k: int = 2,
    rank: int = 4,
    shared_rank: int = 0,
    attention_rank: int = 0,
    size: float = 0.5,
    family: str = "llama",
    seed: int = 0,
    dtype: str = "float32",
    **settings: Any,
) -> Path:
    """Write an adapter for `base` into `folder`; the defaults fit `make_tiny_model`'s.

    `size` is how large an expert's change is beside a weight matrix of unit gain.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}

    def pair(name: str, out: int, inner: int, width: int, *stack: int) -> None:
        # With s = 2, B A has entries of about size / sqrt(inner).
        scale = (0.5 * size) ** 0.5
        down = scale * rng.standard_normal((*stack, width, inner)) / inner**0.5
        up = scale * rng.standard_normal((*stack, out, width)) / width**0.5
        a, b = (f"{name}.lora_A.weight", f"{name}.lora_B.weight")
        if "mlp" in name:
            head, _, projection = name.rpartition("_")
            a, b = f"{head}_A_{projection}", f"{head}_B_{projection}"
        tensors[a], tensors[b] = down.astype(dtype), up.astype(dtype)

    for layer in range(layers):
        at = f"base_model.model.model.layers.{layer}."
        for name, out, inner in (
            ("gate", ffn, hidden),
            ("up", ffn, hidden),
            ("down", hidden, ffn),
        ):
            pair(f"{at}mlp.lora_{name}", out, inner, rank, experts)
            if shared_rank:
                pair(f"{at}mlp.lora_shared_{name}", out, inner, shared_rank)
        router = rng.standard_normal((experts, hidden)) / hidden**0.5
        tensors[f"{at}mlp.lora_router"] = (2 * router).astype(dtype)
        if attention_rank:
            for name, out, inner in zip(
                ATTENTION, (query, key, key, hidden), (hidden, hidden, hidden, query), strict=True
            ):
                pair(f"{at}self_attn.{name}", out, inner, attention_rank)
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    adapted = ATTENTION if attention_rank else ()
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2.0 * rank,
        "target_modules": ["mlp", *adapted],
        "rank_pattern": dict.fromkeys(adapted, attention_rank),
        "alpha_pattern": dict.fromkeys(adapted, 2.0 * attention_rank),
        "base_model_name_or_path": str(base.name),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1))
    document = {
        "format_version": "1.0",
        "base": {
            "name": base.name,
            "sha256": base_fingerprint(base),
            "architecture": family,
            "hidden_size": hidden,
            "intermediate_size": ffn,
            "layers": layers,
        },
        "experts": experts,
        "top_k": top_k,
        "rank": rank,
        "alpha": 2.0 * rank,
        "shared_rank": shared_rank,
        "shared_alpha": 2.0 * (shared_rank or 1),
        "attention_rank": attention_rank,
        "attention_alpha": 2.0 * (attention_rank or 1),
        "training": {"steps": 0},
        "licences": ["CC BY 4.0"],
        **settings,
    }
    (folder / "sparsedoctor.json").write_text(json.dumps(document, indent=1))
    return folder
