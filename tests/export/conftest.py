"""A tiny base, an adapter for it, and ways to export them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_adapters import make_adapter
from tiny_models import make_tiny_model

from sparsedoctor.export.cli import main

Export = Callable[..., Path]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "base", "llama")


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    return make_adapter(tmp_path / "adapter", base, shared_rank=3, attention_rank=2)


@pytest.fixture
def export(tmp_path: Path, base: Path, adapter: Path) -> Export:
    """Runs the command; the path it wrote."""

    def run(
        *more: str, base: Path = base, adapter: Path = adapter, name: str = "model.gguf"
    ) -> Path:
        output = tmp_path / name
        words = ["--adapter", str(adapter), "--base", str(base), "--output", str(output)]
        assert main([*words, *more]) == 0
        return output

    return run
