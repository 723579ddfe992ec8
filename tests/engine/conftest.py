"""Small models for the engine's tests, made in a second: random weights, the real vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from engine.small_gguf import SmallModel, write_small_gguf

from sparsedoctor.core.engine.child import ChildEngine
from sparsedoctor.core.engine.protocol import EngineSettings


@pytest.fixture(scope="session")
def moe(tmp_path_factory: pytest.TempPathFactory, smollm2_gguf: Path) -> SmallModel:
    """A small mixture-of-experts model in float32: 4 layers, 4 experts, 2 used."""
    path = tmp_path_factory.mktemp("models") / "small-moe.gguf"
    return write_small_gguf(path, smollm2_gguf, experts=4, experts_used=2)


@pytest.fixture(scope="session")
def dense(tmp_path_factory: pytest.TempPathFactory, smollm2_gguf: Path) -> SmallModel:
    """The same without experts."""
    path = tmp_path_factory.mktemp("models") / "small-dense.gguf"
    return write_small_gguf(path, smollm2_gguf, experts=0, experts_used=0)


@pytest.fixture
def engine(moe: SmallModel) -> Iterator[ChildEngine]:
    """An engine on the small model, closed at the end."""
    engine = ChildEngine(moe.path, EngineSettings(context=1024, threads=1))
    yield engine
    engine.close()
