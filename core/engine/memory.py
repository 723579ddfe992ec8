"""How much memory a model will take, and how much there is.

The estimate is on the safe side: the file's tensors, the keys and values of every token of the
context (16 bits each, 32 in `exact` engines), the buffers of one batch, and the process itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil

from sparsedoctor.core.gguf_header import GGUFHeader, SkippedArray

_PROCESS = 160 << 20  # bytes: interpreter, numpy, llama.cpp
_CGROUP = Path("/sys/fs/cgroup")


def needed_bytes(header: GGUFHeader, context: int, batch: int, exact: bool = False) -> int:
    """Bytes to load the model of `header` with `context` tokens and batches of `batch`."""
    return _fixed_bytes(header, batch) + context * bytes_per_token(header, batch, exact)


def context_that_fits(header: GGUFHeader, free: int, batch: int, exact: bool = False) -> int:
    """The largest context, in steps of 256 tokens, whose need is within `free` bytes; may be 0."""
    room = free - _fixed_bytes(header, batch)
    return max(0, room // max(1, bytes_per_token(header, batch, exact)) // 256 * 256)


def bytes_per_token(header: GGUFHeader, batch: int, exact: bool = False) -> int:
    """Keys and values of one token in all layers, and its column of the attention mask."""
    layers, width = _number(header, "block_count", 1), _number(header, "embedding_length", 0)
    heads = max(1, _number(header, "attention.head_count", 1))
    kv_heads = _number(header, "attention.head_count_kv", heads)
    key = _number(header, "attention.key_length", width // heads)
    value = _number(header, "attention.value_length", width // heads)
    return layers * kv_heads * (key + value) * (4 if exact else 2) + batch * 4


def available_bytes() -> int:
    """Memory that can be taken now, within the limit of a container where there is one."""
    free = int(psutil.virtual_memory().available)
    limit, used = _cgroup("memory.max"), _cgroup("memory.current")
    if limit is None or used is None:
        return free
    # The page cache is given back when memory is short.
    cached = _cgroup_statistic("inactive_file") + _cgroup_statistic("active_file")
    return min(free, max(0, limit - used + cached))


def _fixed_bytes(header: GGUFHeader, batch: int) -> int:
    tensors = sum(tensor.size for tensor in header.tensors.values())
    width = _number(header, "embedding_length", 0)
    inner = _number(header, "feed_forward_length", 0)
    used = max(1, _number(header, "expert_used_count", 1))
    vocabulary = _number(header, "vocab_size", 0) or _vocabulary(header)
    # llama.cpp holds one batch of logits twice: in its graph and as output.
    return tensors + batch * (2 * vocabulary + 8 * width + 4 * used * inner) * 4 + _PROCESS


def _vocabulary(header: GGUFHeader) -> int:
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, SkippedArray):
        return tokens.length
    return len(tokens) if isinstance(tokens, list) else 0


def _number(header: GGUFHeader, name: str, default: int) -> int:
    """A number of the architecture; the largest where each layer has its own."""
    value: Any = header.metadata.get(f"{header.architecture}.{name}", default)
    if isinstance(value, list):
        value = max((item for item in value if isinstance(item, int)), default=default)
    return value if isinstance(value, int) and value >= 0 else default


def _cgroup(name: str) -> int | None:
    try:
        text = (_CGROUP / name).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _cgroup_statistic(name: str) -> int:
    try:
        lines = (_CGROUP / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0)
