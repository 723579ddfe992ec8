"""A base model to export from: one view of a GGUF file and of a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.export.shape import ModelShape

Array = NDArray[np.float32]


class Base(Protocol):
    """Tensors go by their Hugging Face names and layout, whatever the source.

    A base holds open files; `close` them.
    """

    path: Path
    shape: ModelShape

    def tensor_shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a tensor, or None when there is none of this name."""
        ...

    def rows(self, name: str, start: int, stop: int) -> Array:
        """Rows `start` to `stop` of a tensor, float32. `[stop - start, ...]`"""
        ...

    def tokenizer_fields(self) -> dict[str, Any]:
        """The `tokenizer.*` keys of a GGUF file."""
        ...

    def general_fields(self) -> dict[str, Any]:
        """`general.*` keys worth keeping: name, licence, languages."""
        ...

    def rope_factors(self) -> Array | None:
        """llama.cpp's `rope_freqs.weight`, where the rotary scaling has one. `[head_dim / 2]`"""
        ...

    def close(self) -> None: ...


def open_base(path: Path) -> Base:
    """Open a GGUF file or a Hugging Face folder.

    Raises SparseDoctorError for what is neither, damaged, or a model that llama.cpp's
    mixture-of-experts graphs cannot represent; the text names the reason.
    """
    from sparsedoctor.export.gguf_base import GGUFBase
    from sparsedoctor.export.hf_base import HuggingFaceBase

    base: Base = HuggingFaceBase(path) if path.is_dir() else GGUFBase(path)
    try:
        check_tensors(base)
    except BaseException:
        base.close()
        raise
    return base


def read(base: Base, name: str) -> Array:
    """A whole tensor, float32."""
    shape = base.tensor_shape(name)
    assert shape is not None, name
    return base.rows(name, 0, shape[0])


def check_tensors(base: Base) -> None:
    """Refuse a base with a missing or mis-shaped tensor, by its name."""
    for name, expected in base.shape.tensor_shapes().items():
        found = base.tensor_shape(name)
        if found is None:
            raise SparseDoctorError(f"{base.path} lacks the tensor {name}; the base is incomplete")
        _compare(base, name, found, expected)
    for name, expected in base.shape.optional_shapes().items():
        found = base.tensor_shape(name)
        if found is not None:
            _compare(base, name, found, expected)


def _compare(base: Base, name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found != expected:
        raise SparseDoctorError(
            f"{base.path}: the tensor {name} is {list(found)}, its configuration "
            f"says {list(expected)}"
        )
