"""Number formats of the exported weights, and which tensor gets which."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import cast

import numpy as np
from gguf import GGMLQuantizationType, LlamaFileType, quants
from numpy.typing import NDArray

Array = NDArray[np.float32]
_ONE_DIMENSIONAL = "F32"


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A choice of `--type`. `native` formats are written directly; the others go through a
    float32 file and llama.cpp's own quantiser."""

    name: str
    tensor: GGMLQuantizationType
    file_type: LlamaFileType
    native: bool = True


_Q, _F = GGMLQuantizationType, LlamaFileType
FORMATS = {
    fmt.name: fmt
    for fmt in (
        FileFormat("f32", _Q.F32, _F.ALL_F32),
        FileFormat("f16", _Q.F16, _F.MOSTLY_F16),
        FileFormat("bf16", _Q.BF16, _F.MOSTLY_BF16),
        FileFormat("q8_0", _Q.Q8_0, _F.MOSTLY_Q8_0),
        FileFormat("q4_0", _Q.Q4_0, _F.MOSTLY_Q4_0),
    )
}


def tensor_type(name: str, shape: tuple[int, ...], fmt: FileFormat) -> GGMLQuantizationType:
    """The format of one tensor: the chosen one for matrices whose rows fill whole blocks.

    The router stays float32: it is small, and a rounded router chooses other experts. Norms and
    biases stay float32 because llama.cpp adds and multiplies them in float32.
    """
    if len(shape) == 1 or name.endswith("ffn_gate_inp.weight"):
        return _Q.F32
    block, _ = quants.GGML_QUANT_SIZES[fmt.tensor]
    return fmt.tensor if shape[-1] % block == 0 else _Q.F16


def stored_bytes(shape: tuple[int, ...], kind: GGMLQuantizationType) -> int:
    """How many bytes a tensor takes."""
    block, size = quants.GGML_QUANT_SIZES[kind]
    return prod(shape) // int(block) * int(size)


def encode(values: Array, kind: GGMLQuantizationType) -> bytes:
    """`values` as they are stored. `[rows, columns]` or `[columns]`"""
    if kind is _Q.F32:
        return np.ascontiguousarray(values, dtype="<f4").tobytes()
    if kind is _Q.F16:
        return values.astype("<f2").tobytes()
    # gguf-py works row by row, so one long row is far faster than many short ones.
    return cast("NDArray[np.uint8]", quants.quantize(values.reshape(1, -1), kind)).tobytes()


def decode(raw: bytes, shape: tuple[int, ...], kind: GGMLQuantizationType) -> Array:
    """The inverse of `encode`, up to rounding. float32 of `shape`"""
    row = np.frombuffer(raw, np.uint8).reshape(1, -1)
    return cast(Array, quants.dequantize(row, kind)).reshape(shape)
