"""One tiny model with its adapter and its export, for the tests that compare backends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_adapters import make_adapter
from tiny_models import make_tiny_model


@dataclass(frozen=True)
class TinyModel:
    base: Path  # a Hugging Face folder
    adapter: Path
    gguf: Path  # base and adapter merged, float32


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """A random Qwen2 with experts, as a folder with an adapter and as one exported file."""
    from sparsedoctor.export.mixture import ExportSettings, export_mixture
    from sparsedoctor.export.types import FORMATS

    root = tmp_path_factory.mktemp("tiny")
    base = make_tiny_model(root / "base", "qwen2")
    adapter = make_adapter(root / "adapter", base, family="qwen2")
    settings = ExportSettings(adapter, base, root / "model.gguf", FORMATS["f32"])
    return TinyModel(base, adapter, export_mixture(settings))
