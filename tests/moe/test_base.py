"""A base that lacks weights is refused; transformers draws them at random."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file
from tiny_adapters import make_adapter
from tiny_models import make_tiny_model

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.moe.base import load_base
from sparsedoctor.export.cli import main
from sparsedoctor.train.memory import base_size


def test_a_folder_without_some_of_its_weights(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "base", "llama")
    file = folder / "model.safetensors"
    weights = load_file(file)
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    said = "lacks 1 of the model's weights, the first is model.layers.1.mlp.up_proj.weight"
    with pytest.raises(SparseDoctorError, match=said):
        load_base(str(folder))


def test_a_tied_output_layer_is_not_missing(tmp_path: Path) -> None:
    assert load_base(str(make_tiny_model(tmp_path / "base", "qwen2", tied=True))).model


def test_an_exported_mixture_is_no_base(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "base", "llama")
    adapter = make_adapter(tmp_path / "adapter", base)
    words = ["--adapter", str(adapter), "--base", str(base)]
    assert main([*words, "--output", str(tmp_path / "model.gguf")]) == 0
    for read in (load_base, base_size):  # training asks for the size first
        with pytest.raises(SparseDoctorError, match="mixture of experts already"):
            read(str(tmp_path / "model.gguf"))


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(SparseDoctorError, match=r"has no config\.json; it is no Hugging"):
        base_size(str(tmp_path))
