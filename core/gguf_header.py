"""Read what a GGUF file says about itself, without trusting it.

    magic "GGUF" | version | tensor count | key count | key-value pairs | tensor table | data

Bounded in time and memory on any input: every count and length is checked against the bytes
that are there, so a damaged or hostile file gives a `SparseDoctorError`, never a crash or a hang.
Long arrays (the vocabulary) are skipped over unless asked for, which makes this some hundred
times faster than building every field. Format: the GGUF specification in ggml's docs/gguf.md.
"""

from __future__ import annotations

import mmap
import stat
import struct
from collections.abc import Collection
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from sparsedoctor.core.errors import SparseDoctorError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
_SHORT_ARRAY = 1024  # longer arrays are read only on request
_SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
# Far above any real model, low enough that reading a hostile header ends soon.
_MAX_NESTING = 3
_MAX_KEYS = 1 << 16
_MAX_TENSORS = 1 << 20
_MAX_ITEMS = 1 << 23  # strings or arrays in an array
_MAX_TEXT = 1 << 26  # bytes

# ggml type -> (name, values in a block, bytes of a block)
TENSOR_TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4),
    27: ("I64", 1, 8), 28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SkippedArray:
    """Stands for an array too long to be read unasked."""

    length: int


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One row of the tensor table. `shape` is in ggml's order: fastest dimension first."""

    name: str
    shape: tuple[int, ...]
    type_id: int
    offset: int  # bytes from the start of the file
    size: int  # bytes

    @property
    def type_name(self) -> str:
        return TENSOR_TYPES[self.type_id][0]


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    version: int
    metadata: dict[str, Any]
    tensors: dict[str, TensorInfo]
    data_offset: int  # bytes
    file_size: int  # bytes
    end: int  # bytes, of keys and tensor table; what follows up to `data_offset` is padding

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))


def read_header(path: Path, *, want: Collection[str] = ()) -> GGUFHeader:
    """Read the header of `path`; arrays longer than 1,024 only for the keys in `want`.

    Raises SparseDoctorError, in one line, for a file that is missing, not GGUF or damaged.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise SparseDoctorError(f"{path} is no file; give a GGUF model file")
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                raise SparseDoctorError(f"{path} is not a GGUF model file (it begins otherwise)")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                return _Parser(view, len(view), frozenset(want)).header()
    except FileNotFoundError:
        raise SparseDoctorError(f"there is no model file {path}") from None
    except OSError as error:
        raise SparseDoctorError(f"cannot read {path}: {error.strerror}") from error
    except _Damaged as error:
        raise SparseDoctorError(
            f"{path} is damaged: {error}; get or export the file again"
        ) from error


class _Damaged(Exception):
    pass


class _Parser:
    def __init__(self, view: mmap.mmap, size: int, want: frozenset[str]) -> None:
        self.view, self.size, self.want, self.at = view, size, want, 4

    def header(self) -> GGUFHeader:
        version = self.scalar("I")
        if version not in VERSIONS:
            raise _Damaged(f"GGUF version {version} is unknown")
        tensor_count, key_count = self.scalar("Q"), self.scalar("Q")
        # A key-value pair takes at least 13 bytes and a tensor row 24: more cannot be there.
        if key_count * 13 + tensor_count * 24 > self.size:
            raise _Damaged("it claims more entries than it has bytes")
        if key_count > _MAX_KEYS or tensor_count > _MAX_TENSORS:
            raise _Damaged(f"it claims {key_count} keys and {tensor_count} tensors")
        metadata: dict[str, Any] = {}
        for _ in range(key_count):
            key = self.string()
            if key in metadata:
                raise _Damaged(f"the key {key!r} occurs twice")
            metadata[key] = self.value(self.scalar("I"), key in self.want)
        rows = [self.tensor_row() for _ in range(tensor_count)]
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
            raise _Damaged(f"its alignment is {alignment!r}")
        end = self.at
        start = -(-end // alignment) * alignment
        tensors = {}
        for name, shape, type_id, offset in rows:
            size = _tensor_bytes(name, shape, type_id)
            if start + offset + size > self.size:
                raise _Damaged(f"it ends before the tensor {name!r} does (cut short?)")
            if name in tensors:
                raise _Damaged(f"the tensor {name!r} occurs twice")
            tensors[name] = TensorInfo(name, shape, type_id, start + offset, size)
        return GGUFHeader(version, metadata, tensors, start, self.size, end)

    def tensor_row(self) -> tuple[str, tuple[int, ...], int, int]:
        name, dimensions = self.string(), self.scalar("I")
        if not 1 <= dimensions <= 4:
            raise _Damaged(f"the tensor {name!r} has {dimensions} dimensions")
        shape = tuple(self.scalar("Q") for _ in range(dimensions))
        return name, shape, self.scalar("I"), self.scalar("Q")

    def value(self, kind: int, wanted: bool, nesting: int = 0) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self.array(wanted, nesting + 1)
        if kind not in _SCALARS:
            raise _Damaged(f"a value has the unknown type {kind}")
        return self.scalar(_SCALARS[kind])

    def array(self, wanted: bool, nesting: int) -> Any:
        kind, length = self.scalar("I"), self.scalar("Q")
        if nesting > _MAX_NESTING:
            raise _Damaged("arrays are nested too deeply")
        smallest = struct.calcsize(_SCALARS[kind]) if kind in _SCALARS else 8
        if length * smallest > self.size - self.at:
            raise _Damaged(f"an array claims {length} values, more than the file holds")
        if kind not in _SCALARS and length > _MAX_ITEMS:
            raise _Damaged(f"an array claims {length} texts")
        if length <= _SHORT_ARRAY or wanted:
            if kind in _SCALARS:
                return list(self.unpack(f"<{length}{_SCALARS[kind]}"))
            return [self.value(kind, wanted, nesting) for _ in range(length)]
        if kind in _SCALARS:
            self.skip(length * smallest)
        else:
            for _ in range(length):
                self.skip(self.scalar("Q")) if kind == _STRING else self.value(kind, False, nesting)
        return SkippedArray(length)

    def string(self) -> str:
        length = self.scalar("Q")
        start = self.at
        if length > _MAX_TEXT:
            raise _Damaged(f"a text claims {length} bytes")
        self.skip(length)
        return self.view[start : self.at].decode("utf-8", errors="replace")

    def scalar(self, code: str) -> Any:
        return self.unpack("<" + code)[0]

    def unpack(self, layout: str) -> tuple[Any, ...]:
        start = self.at
        self.skip(struct.calcsize(layout))
        return struct.unpack_from(layout, self.view, start)

    def skip(self, count: int) -> None:
        if count > self.size - self.at:
            raise _Damaged("its header ends too early (cut short?)")
        self.at += count


def _tensor_bytes(name: str, shape: tuple[int, ...], type_id: int) -> int:
    if type_id not in TENSOR_TYPES:
        raise _Damaged(f"the tensor {name!r} has the unknown type {type_id}")
    _, values, size = TENSOR_TYPES[type_id]
    if shape[0] % values:
        raise _Damaged(f"the tensor {name!r} has rows of {shape[0]}, not a multiple of {values}")
    return prod(shape) // values * size
