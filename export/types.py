"""Number formats of the exported weights, and which tensor gets which."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import cast

import numpy as np
from gguf import GGMLQuantizationType, LlamaFileType, quants
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A choice of `--type`. `native` formats are written directly; the others go through a
    float32 file and llama.cpp's own quantiser."""

    name: str
    tensor: GGMLQuantizationType
    file_type: LlamaFileType
    native: bool = True


_Q, _F = GGMLQuantizationType, LlamaFileType
_INSTEAD = {_Q.Q6_K: _Q.Q8_0, _Q.Q5_K: _Q.Q5_1, _Q.Q4_K: _Q.Q5_0}
FORMATS = {
    fmt.name: fmt
    for fmt in (
        FileFormat("f32", _Q.F32, _F.ALL_F32),
        FileFormat("f16", _Q.F16, _F.MOSTLY_F16),
        FileFormat("bf16", _Q.BF16, _F.MOSTLY_BF16),
        FileFormat("q8_0", _Q.Q8_0, _F.MOSTLY_Q8_0),
        FileFormat("q6_k", _Q.Q6_K, _F.MOSTLY_Q6_K, native=False),
        FileFormat("q5_k_m", _Q.Q5_K, _F.MOSTLY_Q5_K_M, native=False),
        FileFormat("q4_k_m", _Q.Q4_K, _F.MOSTLY_Q4_K_M, native=False),
        FileFormat("q4_0", _Q.Q4_0, _F.MOSTLY_Q4_0),
    )
}


def tensor_type(name: str, shape: tuple[int, ...], fmt: FileFormat) -> GGMLQuantizationType:
    """The format of one tensor: the chosen one for matrices whose rows fill whole blocks.

    The router stays float32: it is small, and a rounded router chooses other experts. Norms and
    biases stay float32 because llama.cpp adds and multiplies them in float32. Embedding and
    output keep 8 bits beside experts of 4: every token passes them.
    """
    if len(shape) == 1 or name.endswith("ffn_gate_inp.weight"):
        return _Q.F32
    kind = fmt.tensor
    if kind is _Q.Q4_0 and name in ("token_embd.weight", "output.weight"):
        kind = _Q.Q8_0
    return fitting_type(kind, shape[-1])


def fitting_type(kind: GGMLQuantizationType, columns: int) -> GGMLQuantizationType:
    """`kind`, or what llama.cpp's quantiser takes in its place for rows that do not fill blocks."""
    if columns % quants.GGML_QUANT_SIZES[kind][0] == 0:
        return kind
    instead = _INSTEAD.get(kind, _Q.F16)
    return instead if columns % quants.GGML_QUANT_SIZES[instead][0] == 0 else _Q.F16


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
