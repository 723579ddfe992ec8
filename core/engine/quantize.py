"""llama.cpp's own quantiser, in a process of its own.

quantize(Path("model-f32.gguf"), Path("model-q4.gguf"), "Q4_K_M")
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsedoctor.core.engine.channel import ChannelClosed, Frame
from sparsedoctor.core.engine.process import EngineProcess
from sparsedoctor.core.engine.protocol import EngineError
from sparsedoctor.core.files import part_of
from sparsedoctor.core.gguf_header import read_header

# llama.cpp's numbers for kinds of files (enum llama_ftype).
TYPES = {
    "F32": 0, "F16": 1, "BF16": 32, "Q8_0": 7, "Q6_K": 18, "Q5_K_M": 17, "Q5_K_S": 16,
    "Q5_0": 8, "Q5_1": 9, "Q4_K_M": 15, "Q4_K_S": 14, "Q4_0": 2, "Q4_1": 3, "IQ4_NL": 25,
    "IQ4_XS": 30, "Q3_K_L": 13, "Q3_K_M": 12, "Q3_K_S": 11, "Q2_K": 10,
}  # fmt: skip
_LOOK = 0.1  # seconds between two looks at `cancelled`

Progress = Callable[[int, int], None]  # tensors done, tensors in all


def quantize(
    source: Path,
    destination: Path,
    type_name: str,
    *,
    keep_router_float32: bool = True,
    imatrix: Mapping[str, NDArray[np.float32]] | None = None,
    threads: int = 0,
    progress: Progress = lambda done, whole: None,
    cancelled: threading.Event | None = None,
) -> None:
    """Write `source` (float32 or 16 bits) to `destination` with its weights in `type_name`.

    `imatrix` gives the importance of each input of a tensor, by tensor name; `[experts * inputs]`
    for a stack of experts. `threads` 0: all. llama.cpp leaves routers (`ffn_gate_inp`) as they
    are; with `keep_router_float32` a result in which one is not float32 is refused.

    Raises EngineError: unknown type, unreadable source, full disk, or when `cancelled` is set.
    Then, and after Ctrl-C, `destination` is as it was. An existing file is replaced.
    """
    if type_name not in TYPES:
        raise EngineError(f"there is no type {type_name!r}; choose one of {', '.join(TYPES)}")
    read_header(source)
    if source.resolve() == destination.resolve():
        raise EngineError(f"{source} cannot be quantised onto itself; name another output file")
    partial = part_of(destination)
    request, data = _request(source, partial, type_name, imatrix or {}, threads)
    process = EngineProcess()
    try:
        _follow(process, request, data, progress, cancelled)
        if keep_router_float32:
            _refuse_other_router(partial)
        partial.replace(destination)
    except EngineError as error:
        if "iostream" not in str(error):  # the C++ library's word for a write that failed
            raise
        raise EngineError(
            f"the disk of {destination.parent} is full; {destination.name} was not written"
        ) from error
    except OSError as error:
        raise EngineError(f"cannot write {destination}: {error.strerror}") from error
    finally:
        process.end()
        process.release()
        partial.unlink(missing_ok=True)


def _request(
    source: Path,
    partial: Path,
    type_name: str,
    imatrix: Mapping[str, NDArray[np.float32]],
    threads: int,
) -> tuple[dict[str, Any], bytes]:
    arrays = {name: np.asarray(values, dtype="<f4").ravel() for name, values in imatrix.items()}
    request = {
        "do": "quantize",
        "number": 0,
        "source": str(source),
        "destination": str(partial),
        "type": TYPES[type_name],
        "threads": threads,
        "imatrix": [[name, len(values)] for name, values in arrays.items()],
    }
    return request, b"".join(values.tobytes() for values in arrays.values())


def _follow(
    process: EngineProcess,
    request: dict[str, Any],
    data: bytes,
    progress: Progress,
    cancelled: threading.Event | None,
) -> None:
    try:
        process.channel.send(request, data)
        while True:
            while not process.channel.ready(_LOOK):
                if cancelled is not None and cancelled.is_set():
                    raise EngineError("the quantisation was cancelled; nothing was written")
            message = _checked(process.channel.receive())
            if "done" in message:
                return
            progress(message["at"], message["of"])
            if cancelled is not None and cancelled.is_set():
                raise EngineError("the quantisation was cancelled; nothing was written")
    except ChannelClosed:
        how = process.how_it_ended()
        raise EngineError(f"the quantiser ended early: {how}; nothing was written") from None


def _checked(frame: Frame) -> dict[str, Any]:
    message, _ = frame
    if "error" in message:
        raise EngineError(message["error"])
    return message


def _refuse_other_router(path: Path) -> None:
    for name, tensor in read_header(path).tensors.items():
        if name.endswith(".ffn_gate_inp.weight") and tensor.type_name != "F32":
            raise EngineError(
                f"the router {name} is {tensor.type_name} in the result, not float32; "
                "quantise from a file whose routers are float32"
            )
