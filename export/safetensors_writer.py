"""Write safetensors shard by shard and block by block, as `gguf_file` writes a GGUF file."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gguf import GGMLQuantizationType

from sparsedoctor.export.gguf_file import PlannedTensor, Progress, computing

_CODES = {
    GGMLQuantizationType.F32: "F32",
    GGMLQuantizationType.F16: "F16",
    GGMLQuantizationType.BF16: "BF16",
}
SHARD_BYTES = 4_000_000_000


def write_shards(
    folder: Path,
    tensors: Sequence[PlannedTensor],
    *,
    threads: int,
    progress: Progress,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write `tensors` into `folder` with the names and the index that Hugging Face expects."""
    shards = list(_split(tensors, shard_bytes))
    placed: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        if len(shards) == 1:
            name = "model.safetensors"
        _write(folder / name, shard, threads, progress)
        placed |= {tensor.name: name for tensor in shard}
    if len(shards) > 1:
        size = sum(tensor.size for tensor in tensors)
        index = {"metadata": {"total_size": size}, "weight_map": placed}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def _split(tensors: Sequence[PlannedTensor], limit: int) -> Iterator[list[PlannedTensor]]:
    shard: list[PlannedTensor] = []
    size = 0
    for tensor in tensors:
        if shard and size + tensor.size > limit:
            yield shard
            shard, size = [], 0
        shard.append(tensor)
        size += tensor.size
    yield shard


def _write(path: Path, tensors: list[PlannedTensor], threads: int, progress: Progress) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for tensor in tensors:
        header[tensor.name] = {
            "dtype": _CODES[tensor.kind],
            "shape": list(tensor.shape),
            "data_offsets": [at, at + tensor.size],
        }
        at += tensor.size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file, computing(threads) as ahead:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors:
            for data in ahead(tensor.blocks()):
                file.write(data)
                progress(len(data))
