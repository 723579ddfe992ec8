"""A tiny model with experts, for tests of the layer inside a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tiny_models import Family, make_tiny_model

from sparsedoctor.core.moe.base import Base, load_base


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny_base(tmp_path: Path) -> Callable[..., Base]:
    """Loads a fresh tiny base of a family; the same weights every time."""

    def load(family: Family = "llama") -> Base:
        folder = tmp_path / family
        if not folder.exists():
            make_tiny_model(folder, family)
        return load_base(str(folder))

    return load
