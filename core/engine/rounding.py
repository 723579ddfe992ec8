"""What llama.cpp makes of weights in one of its number formats: ggml's own rounding, in place.

Only ggml's base library is loaded, which computes and prints nothing by itself, so unlike the
engine this needs no process of its own.
"""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from gguf import GGMLQuantizationType, quants
from numpy.typing import NDArray

from sparsedoctor.core.engine.protocol import EngineError

Array = NDArray[np.float32]


def rounded(values: Array, kind: GGMLQuantizationType) -> Array:
    """`values` `[rows, columns]` written as `kind` and read again. float32, the same shape

    Raises EngineError when columns do not fill whole blocks of `kind`.
    """
    rows, columns = values.shape
    block, size = quants.GGML_QUANT_SIZES[kind]
    if columns % block:
        raise EngineError(f"rows of {columns} do not fill blocks of {block} ({kind.name})")
    source = np.ascontiguousarray(values, dtype=np.float32)
    raw = np.zeros((rows, columns // block * size), dtype=np.uint8)
    written = _ggml().ggml_quantize_chunk(
        int(kind),
        source.ctypes.data_as(ctypes.c_void_p),
        raw.ctypes.data_as(ctypes.c_void_p),
        0,
        rows,
        columns,
        None,
    )
    assert written == raw.nbytes, (written, raw.nbytes)
    return cast(Array, quants.dequantize(raw, kind)).reshape(rows, columns)


@cache
def _ggml() -> Any:
    spec = importlib.util.find_spec("llama_cpp")
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        for file in sorted(Path(folder, "lib").glob("*ggml-base*")):
            library = ctypes.CDLL(str(file))
            library.ggml_quantize_chunk.restype = ctypes.c_size_t
            library.ggml_quantize_chunk.argtypes = [
                ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p,
                ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p,
            ]  # fmt: skip
            return library
    raise EngineError("llama-cpp-python has no ggml library in its place; install it again")
