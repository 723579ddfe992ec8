"""Scaled rotary embeddings, as llama.cpp is told of them.

`linear` and `yarn` are keys of the file; Llama 3's scaling is a tensor of factors by which each
frequency is divided. Others (`dynamic`, `longrope`) change with the length of the text, which
llama.cpp's graphs do not, and are refused.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsedoctor.core.errors import SparseDoctorError

_YARN_DEFAULTS = {"beta_fast": 32.0, "beta_slow": 1.0}


def scaling_of(config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The kind of scaling and its settings. transformers 5 calls them `rope_parameters`."""
    settings = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return str(settings.get("rope_type") or settings.get("type") or "default"), settings


def rope_fields(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """llama.cpp's `rope.*` keys for a Hugging Face `config.json`, without their prefix."""
    kind, settings = scaling_of(config)
    if float(config.get("partial_rotary_factor") or 1.0) != 1.0:
        raise SparseDoctorError(f"{path} rotates a part of each head; llama.cpp's graph all of it")
    if kind == "default":
        return {}
    if kind == "linear":
        return {"scaling.type": "linear", "scaling.factor": float(settings["factor"])}
    if kind == "llama3" and config.get("model_type") != "qwen3":
        return {}  # a tensor instead: llama3_factors
    if kind == "yarn":
        strange = {"mscale", "mscale_all_dim", "attention_factor"} & {
            key for key, value in settings.items() if value is not None
        }
        strange |= {k for k, v in _YARN_DEFAULTS.items() if (settings.get(k) or v) != v}
        if strange or settings.get("truncate") is False:
            raise SparseDoctorError(
                f"{path} sets {', '.join(sorted(strange)) or 'truncate'} of yarn rope scaling, "
                "which is not carried over"
            )
        original = settings.get("original_max_position_embeddings")
        return {
            "scaling.type": "yarn",
            "scaling.factor": float(settings["factor"]),
            "scaling.original_context_length": int(original or config["max_position_embeddings"]),
        }
    raise SparseDoctorError(
        f"{path} uses the rope scaling {kind}, which llama.cpp cannot represent for this family"
    )


def llama3_factors(config: dict[str, Any], head_dim: int) -> NDArray[np.float32] | None:
    """By what Llama 3's scaling divides each frequency, or None for another kind. `[head_dim / 2]`

    Long wavelengths are divided by `factor`, short ones left alone, and between the two bounds
    the division is blended, as published with Llama 3.1.
    """
    kind, settings = scaling_of(config)
    if kind != "llama3":
        return None
    theta = float(settings.get("rope_theta") or config.get("rope_theta") or 10000.0)
    factor, low, high = (
        float(settings[name]) for name in ("factor", "low_freq_factor", "high_freq_factor")
    )
    original = float(settings["original_max_position_embeddings"])
    wavelength = 2 * math.pi * theta ** (np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    smooth = np.clip((original / wavelength - low) / (high - low), 0.0, 1.0)
    return (1.0 / ((1.0 - smooth) / factor + smooth)).astype(np.float32)
