"""Read safetensors row by row, without mapping the file.

The library's reader maps whole files, which counts every page it has touched as this process's
memory, and NumPy knows no bfloat16. An export must hold one block of rows at a time, so this
reads exactly those bytes. Format: 8 bytes header length, a JSON header, the data.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from sparsedoctor.core.errors import SparseDoctorError

Array = NDArray[np.float32]
_ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_MAX_HEADER = 100_000_000  # bytes, the library's own bound


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a safetensors file. `offset` counts bytes from the start of the file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int


class SafetensorsFile:
    """An open safetensors file. Raises SparseDoctorError when it is damaged.

    Tensors come as float32 whatever they are stored as.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY)
            self.size = os.fstat(self._fd).st_size
        except OSError as error:
            raise SparseDoctorError(f"cannot read {path}: {error.strerror}") from error
        try:
            self.entries = self._header()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self.close()
            raise SparseDoctorError(
                f"{path} is damaged ({error}); it is no safetensors file or was cut short"
            ) from error

    def __enter__(self) -> SafetensorsFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self, name: str) -> Array:
        """The whole tensor, float32, in its own shape."""
        entry = self.entries[name]
        return self._values(name, 0, prod(entry.shape)).reshape(entry.shape)

    def rows(self, name: str, start: int, stop: int) -> Array:
        """Rows `start` to `stop` of the first dimension, float32. `[stop - start, ...]`"""
        shape = self.entries[name].shape
        width = prod(shape[1:])
        return self._values(name, start * width, stop * width).reshape(stop - start, *shape[1:])

    def _values(self, name: str, start: int, stop: int) -> Array:
        entry = self.entries[name]
        item = _ITEM_BYTES.get(entry.dtype)
        if item is None:
            raise SparseDoctorError(
                f"{self.path}: the tensor {name} has the type {entry.dtype}; "
                "only float32, float16, bfloat16 and float64 weights can be read"
            )
        raw = _pread(self._fd, (stop - start) * item, entry.offset + start * item, self.path)
        if entry.dtype == "BF16":  # the upper half of a float32
            return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        kind = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}[entry.dtype]
        return np.frombuffer(raw, kind).astype(np.float32)

    def _header(self) -> dict[str, Entry]:
        if self.size < 8:
            raise ValueError("it is shorter than a header")
        (length,) = struct.unpack("<Q", os.pread(self._fd, 8, 0))
        if length > min(self.size - 8, _MAX_HEADER):
            raise ValueError("its header claims more bytes than there are")
        table = json.loads(os.pread(self._fd, length, 8))
        table.pop("__metadata__", None)
        data = 8 + length
        entries = {}
        for name, row in table.items():
            shape = tuple(int(size) for size in row["shape"])
            begin, end = (int(at) for at in row["data_offsets"])
            if min(shape, default=0) < 0 or not 0 <= begin <= end <= self.size - data:
                raise ValueError(f"the tensor {name} lies outside the file")
            item = _ITEM_BYTES.get(row["dtype"])
            if item is not None and end - begin != prod(shape) * item:
                raise ValueError(f"the tensor {name} has {end - begin} bytes for {list(shape)}")
            entries[name] = Entry(str(row["dtype"]), shape, data + begin)
        return entries


def _pread(fd: int, count: int, offset: int, path: Path) -> bytes:
    parts = []
    while count > 0:  # one call returns 2 GiB at most
        part = os.pread(fd, min(count, 1 << 30), offset)
        if not part:
            raise SparseDoctorError(f"{path} ended while it was read; was it changed?")
        parts.append(part)
        count -= len(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
