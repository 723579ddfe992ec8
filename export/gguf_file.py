"""Write a GGUF file block by block: whole or not at all.

The file grows under a temporary name beside its place and takes its own name only when it is
complete and on the disk. Blocks are computed by a few threads a little ahead of the writer, so
memory is a few blocks and not a model.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter

from sparsedoctor.core.bundle import PREFIX
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.files import clear_leavings, part_of
from sparsedoctor.core.gguf_header import read_header
from sparsedoctor.export.types import stored_bytes

HASH_KEY = PREFIX + "file.tensors_sha256"
HASH_BLANK = "0" * 64
_ALIGNMENT = 32
_HEADER_ALLOWANCE = 1 << 20  # bytes, beside the vocabulary
_CHUNK = 1 << 20

Block = Callable[[], bytes]
Progress = Callable[[int], None]  # bytes written since the last call


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """A tensor to be written: `blocks` give its bytes in order, each computed when called."""

    name: str
    shape: tuple[int, ...]  # slowest dimension first, as NumPy counts
    kind: GGMLQuantizationType
    blocks: Callable[[], Iterable[Block]]

    @property
    def size(self) -> int:
        """bytes"""
        return stored_bytes(self.shape, self.kind)


def write_gguf(
    path: Path,
    architecture: str,
    fields: dict[str, Any],
    tensors: Sequence[PlannedTensor],
    *,
    force: bool = False,
    threads: int = 2,
    progress: Progress = lambda _: None,
) -> None:
    """Write `path`. When `fields` has HASH_KEY, its value becomes the sha256 of the data.

    Raises SparseDoctorError when the file exists (without `force`), the disk is too small or the
    place cannot be written; then, and when interrupted, nothing is left or overwritten.
    """
    with replacing(path, force=force, need=file_bytes(fields, tensors)) as part:
        write_in_place(part, architecture, fields, tensors, threads=threads, progress=progress)


def write_in_place(
    path: Path,
    architecture: str,
    fields: dict[str, Any],
    tensors: Sequence[PlannedTensor],
    *,
    threads: int,
    progress: Progress,
) -> None:
    """As `write_gguf`, without any care for the file's place: for a name nobody else reads."""
    writer = GGUFWriter(path, architecture)
    for key, value in fields.items():
        if value != []:  # GGUF arrays cannot be empty
            writer.add_key_value(key, value, *_value_type(value))
    for tensor in tensors:
        writer.add_tensor_info(
            tensor.name, tensor.shape, np.dtype(np.float32), tensor.size, tensor.kind
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    digest = hashlib.sha256()
    with path.open("r+b") as file, computing(threads) as ahead:
        header = file.seek(0, os.SEEK_END)
        file.write(bytes(-file.tell() % _ALIGNMENT))
        for tensor in tensors:
            count = 0
            for data in ahead(tensor.blocks()):
                file.write(data)
                digest.update(data)
                count += len(data)
                progress(len(data))
            if count != tensor.size:
                raise AssertionError(f"{tensor.name}: {count} bytes of {tensor.size}")
            padding = bytes(-count % _ALIGNMENT)
            file.write(padding)
            digest.update(padding)
        if HASH_KEY in fields:
            _put_hash(file, header, digest.hexdigest())


def file_bytes(fields: dict[str, Any], tensors: Sequence[PlannedTensor]) -> int:
    """How many bytes a file will take, some too many."""
    text = sum(
        sum(len(str(item).encode()) + 8 for item in value) if isinstance(value, list) else 64
        for value in fields.values()
    )
    return text + _HEADER_ALLOWANCE + sum(tensor.size + _ALIGNMENT for tensor in tensors)


def data_sha256(path: Path) -> str:
    """sha256 of a GGUF file from its first tensor to its end."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(read_header(path).data_offset)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def seal(path: Path) -> None:
    """Put the sha256 of a file's data under HASH_KEY, when it has that key."""
    if HASH_KEY not in read_header(path).metadata:
        return
    digest = data_sha256(path)
    with path.open("r+b") as file:
        _put_hash(file, read_header(path).end, digest)


@contextlib.contextmanager
def replacing(path: Path, *, force: bool, need: int) -> Iterator[Path]:
    """A temporary name beside `path` that becomes `path` when the block ends well.

    `need` is what the disk must have free, in bytes.
    """
    check_place(path, force=force, need=need)
    part = part_of(path)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        _publish(part, path, force=force)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SparseDoctorError(
                f"the disk of {path.parent} is full; {path.name} was not written"
            ) from error
        raise SparseDoctorError(f"cannot write {path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _publish(part: Path, path: Path, *, force: bool) -> None:
    """Give `part` its name. What came there meanwhile is replaced with `force` only."""
    if not force:
        try:
            os.link(part, path)
            return
        except FileExistsError as error:
            raise _taken(path) from error
        except OSError as error:  # no hard links here: the moment between is all that is left
            if path.exists():
                raise _taken(path) from error
    part.replace(path)


def _taken(path: Path) -> SparseDoctorError:
    return SparseDoctorError(f"{path} exists already; --force replaces it")


def check_place(path: Path, *, force: bool, need: int) -> None:
    """Refuse a place that is taken, cannot be written or lacks `need` bytes; clear old leavings."""
    if path.is_dir():
        raise SparseDoctorError(f"{path} is a folder; give the name of a file")
    if os.path.lexists(path) and not force:  # a link that leads nowhere too
        raise _taken(path)
    if not path.parent.is_dir():
        raise SparseDoctorError(f"there is no folder {path.parent} to write {path.name} into")
    clear_leavings(path)
    check_disk(path.parent, need, path.name)


def check_disk(folder: Path, need: int, what: str) -> None:
    """Refuse when the disk of `folder` has fewer than `need` bytes free."""
    free = shutil.disk_usage(folder).free
    if need > free:
        raise SparseDoctorError(
            f"{what} needs {need / 1e6:.0f} MB, the disk of {folder} has {free / 1e6:.0f} MB free"
        )


@contextlib.contextmanager
def computing(threads: int) -> Iterator[Callable[[Iterable[Block]], Iterator[bytes]]]:
    """Gives a function that computes blocks in order, up to `threads` ahead of their use.

    One set of threads for a whole file: each new thread brings a heap of its own to fill.
    """
    waiting: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(threads) as pool:

        def ahead(blocks: Iterable[Block]) -> Iterator[bytes]:
            for block in blocks:
                waiting.append(pool.submit(block))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

        try:
            yield ahead
        finally:
            for future in waiting:
                future.cancel()


def _value_type(value: Any) -> tuple[GGUFValueType, GGUFValueType | None]:
    if isinstance(value, list):
        # Token kinds are signed in every file that llama.cpp itself writes.
        kind = GGUFValueType.INT32 if isinstance(value[0], int) else _value_type(value[0])[0]
        return GGUFValueType.ARRAY, kind
    if isinstance(value, bool):
        return GGUFValueType.BOOL, None
    if isinstance(value, int):
        return GGUFValueType.UINT32, None
    return (GGUFValueType.STRING if isinstance(value, str) else GGUFValueType.FLOAT32), None


def _put_hash(file: IO[bytes], header: int, digest: str) -> None:
    mark = HASH_KEY.encode() + (8).to_bytes(4, "little") + (64).to_bytes(8, "little")
    file.seek(0)
    head = file.read(header)
    at = head.find(mark)
    if at < 0:
        raise AssertionError(f"{HASH_KEY} is not in the header")
    file.seek(at + len(mark))
    file.write(digest.encode())
