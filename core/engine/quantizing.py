"""The quantiser's side in the child: one call of llama_model_quantize."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from typing import Any

import llama_cpp.llama_cpp as llama

from sparsedoctor.core.engine.native_log import NativeLog
from sparsedoctor.core.engine.protocol import EngineError

_PROGRESS = re.compile(r"^\[ *(\d+)/ *(\d+)\]")


def run_quantizer(
    request: dict[str, Any], data: bytes, log: NativeLog, send: Callable[..., None]
) -> dict[str, Any]:
    """Quantise as `quantize._request` says; tell progress. Raises EngineError."""
    parameters = llama.llama_model_quantize_default_params()
    parameters.ftype = request["type"]
    parameters.nthread = request["threads"]
    parameters.allow_requantize = False
    table = _importance(request["imatrix"], data)
    if len(table) > 1:
        parameters.imatrix = ctypes.cast(table, type(parameters.imatrix))

    def tell(line: str) -> None:
        if match := _PROGRESS.match(line):
            send({"at": int(match[1]), "of": int(match[2])})

    log.begin()
    log.on_line = tell
    code = llama.llama_model_quantize(
        request["source"].encode(), request["destination"].encode(), ctypes.byref(parameters)
    )
    log.on_line = lambda _: None
    if code != 0:
        why = log.complaint or f"code {code}"
        raise EngineError(f"llama.cpp cannot quantise {request['source']}: {why}")
    return {}


def _importance(rows: list[list[Any]], data: bytes) -> Any:
    """llama.cpp's table of importance; it ends with a row without name."""
    table = (llama.llama_model_imatrix_data * (len(rows) + 1))()
    values = ctypes.create_string_buffer(data, max(1, len(data)))
    at = ctypes.addressof(values)
    for row, (name, count) in zip(table, rows, strict=False):
        row.name, row.size = name.encode(), count
        row.data = ctypes.cast(at, ctypes.POINTER(ctypes.c_float))
        at += count * 4
    table.keep_alive = values
    return table
