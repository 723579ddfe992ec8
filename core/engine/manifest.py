"""Is a model file what the export wrote? Its own sha256, checked once for each file.

The export notes the sha256 of everything from the first tensor to the end. Reading a large file
takes seconds, so a file that was found whole is remembered by its place, size and time of change.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from sparsedoctor.core.bundle import PREFIX
from sparsedoctor.core.engine.protocol import EngineError
from sparsedoctor.core.gguf_header import GGUFHeader
from sparsedoctor.core.paths import cache_dir

HASH_KEY = PREFIX + "file.tensors_sha256"
_CHUNK = 1 << 20  # bytes
_REMEMBERED = 256  # files


def check_manifest(path: Path, header: GGUFHeader) -> bool:
    """Whether the file's weights were compared with its manifest and are those that were exported.

    False for a file without manifest. Raises EngineError when they differ.
    """
    noted = header.metadata.get(HASH_KEY)
    if not isinstance(noted, str) or not noted.strip("0"):
        return False
    place, state = str(path.resolve()), _state(path, noted)
    seen = _seen()
    if seen.get(place) == state:
        return True
    if tensors_sha256(path, header) != noted:
        raise EngineError(
            f"{path} is damaged: its weights are not those that were exported (sha256 differs); "
            "export or fetch the file again"
        )
    _remember({**seen, place: state})
    return True


def tensors_sha256(path: Path, header: GGUFHeader) -> str:
    """sha256 of a GGUF file from its first tensor to its end."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(header.data_offset)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _state(path: Path, noted: str) -> list[Any]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino, noted]


def _cache() -> Path:
    return cache_dir() / "checked-models.json"


def _seen() -> dict[str, Any]:
    try:
        seen = json.loads(_cache().read_text())
    except (OSError, ValueError):
        return {}
    return seen if isinstance(seen, dict) else {}


def _remember(seen: dict[str, Any]) -> None:
    """Best effort: without it the file is only read again next time."""
    newest = dict(list(seen.items())[-_REMEMBERED:])
    partial = _cache().with_suffix(f".{os.getpid()}.part")
    with contextlib.suppress(OSError):
        partial.write_text(json.dumps(newest))
        partial.chmod(0o600)
        partial.replace(_cache())
