"""A Hugging Face folder as a base: `config.json`, safetensors in one file or many, a tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.export.rope_scaling import llama3_factors, rope_fields
from sparsedoctor.export.safetensors_file import SafetensorsFile
from sparsedoctor.export.shape import FAMILIES, ModelShape
from sparsedoctor.export.tokenizer import tokenizer_fields

Array = NDArray[np.float32]


class HuggingFaceBase:
    """See `base.Base`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = read_config(path)
        self._files = _open_files(path)
        self._placed = {name: file for file in self._files for name in file.entries}
        try:
            if not self._placed:
                raise SparseDoctorError(f"{path} holds no safetensors weights")
            self.shape = model_shape(self.config, path, tied="lm_head.weight" not in self._placed)
            self._refuse_unknown()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for file in self._files:
            file.close()

    def tensor_shape(self, name: str) -> tuple[int, ...] | None:
        file = self._placed.get(name)
        return file.entries[name].shape if file else None

    def rows(self, name: str, start: int, stop: int) -> Array:
        return self._placed[name].rows(name, start, stop)

    def tokenizer_fields(self) -> dict[str, Any]:
        return tokenizer_fields(self.path, self.shape.vocab)

    def general_fields(self) -> dict[str, Any]:
        name = str(self.config.get("_name_or_path") or self.path.resolve().name)
        return {"general.name": name.rstrip("/").rpartition("/")[2]}

    def rope_factors(self) -> Array | None:
        return llama3_factors(self.config, self.shape.head_dim)

    def _refuse_unknown(self) -> None:
        """A weight that the exported graph has no place for would be dropped in silence."""
        known = set(self.shape.tensor_shapes()) | set(self.shape.optional_shapes())
        if self.shape.tied:
            known.add("lm_head.weight")
        for name in self._placed:
            if name not in known and not name.endswith("rotary_emb.inv_freq"):
                raise SparseDoctorError(
                    f"{self.path}: the tensor {name} has no place in llama.cpp's "
                    f"{self.shape.gguf_architecture} graph; this base cannot be exported"
                )


def read_config(path: Path) -> dict[str, Any]:
    """`config.json` of a Hugging Face folder."""
    file = path / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SparseDoctorError(f"{path} has no config.json; it is no Hugging Face model") from None
    except (OSError, ValueError) as error:
        raise SparseDoctorError(f"cannot read {file}: {error}") from error
    if not isinstance(config, dict):
        raise SparseDoctorError(f"{file} is no JSON object")
    return config


def model_shape(config: dict[str, Any], path: Path, *, tied: bool) -> ModelShape:
    """The sizes in a `config.json`. `tied` says whether the weights lack an output projection.

    Raises SparseDoctorError for a family or a setting that cannot be represented, by its name.
    """
    family = config.get("model_type")
    if family not in FAMILIES:
        raise SparseDoctorError(
            f"{path} is a {family or 'nameless'} model; "
            "experts can be exported on Llama, Mistral, SmolLM2, Qwen2/2.5 and Qwen3"
        )
    if "quantization_config" in config:
        raise SparseDoctorError(f"{path} is quantised; give the base in bfloat16, float16 or GGUF")
    if config.get("hidden_act", "silu") not in ("silu", "swish"):
        raise SparseDoctorError(
            f"{path} uses the activation {config['hidden_act']}; llama.cpp's experts use silu"
        )
    try:
        hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        context = int(config["max_position_embeddings"])
        window = config.get("sliding_window")
        if window and (family == "mistral" or config.get("use_sliding_window")):
            # llama.cpp's graphs attend to everything; up to the window that is the same.
            context = min(context, int(window))
        tied_by_config = bool(config.get("tie_word_embeddings", False))
        if tied and not tied_by_config:
            raise SparseDoctorError(f"{path} lacks the tensor lm_head.weight; it is incomplete")
        return ModelShape(
            family=family,
            hidden=hidden,
            ffn=int(config["intermediate_size"]),
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=int(config.get("head_dim") or hidden // heads),
            vocab=int(config["vocab_size"]),
            context=context,
            norm_epsilon=float(config["rms_norm_eps"]),
            rope_theta=rope_theta(config),
            tied=tied_by_config,
            rope=rope_fields(config, path),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SparseDoctorError(
            f"{path / 'config.json'} is incomplete ({type(error).__name__}: {error})"
        ) from error


def rope_theta(config: dict[str, Any]) -> float:
    """The base frequency; transformers 5 writes it among `rope_parameters`."""
    nested = config.get("rope_parameters") or {}
    return float(nested.get("rope_theta") or config.get("rope_theta") or 10000.0)


def _open_files(path: Path) -> list[SafetensorsFile]:
    index = path / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(
                set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            )
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise SparseDoctorError(f"cannot read {index}: {error}") from error
    else:
        names = ["model.safetensors"]
    files: list[SafetensorsFile] = []
    try:
        for name in names:
            if not (path / name).is_file():
                raise SparseDoctorError(f"{path} lacks {name}; the base is incomplete")
            files.append(SafetensorsFile(path / name))
    except BaseException:
        for file in files:
            file.close()
        raise
    return files
