"""Whatever is wrong with a file: one clear line, and this process goes on."""

from __future__ import annotations

import contextlib
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from engine.small_gguf import SmallModel

from sparsedoctor.core.engine.child import ChildEngine
from sparsedoctor.core.engine.protocol import EngineSettings
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.gguf_header import read_header


def number(path: Path, key: str, value: int) -> None:
    """Overwrite a 32-bit number in the metadata."""
    data = path.read_bytes()
    at = data.index(key.encode()) + len(key) + 4
    path.write_bytes(data[:at] + struct.pack("<I", value) + data[at + 4 :])


def word(path: Path, old: bytes, new: bytes) -> None:
    """Overwrite the first `old`, of the same length, in the file."""
    data = path.read_bytes()
    assert len(old) == len(new)
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def text(content: bytes) -> bytes:
    """A text as GGUF writes it."""
    return struct.pack("<Q", len(content)) + content


def bytes_at(path: Path, at: int, new: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(new)


def cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "empty": lambda path: cut(path, 0),
    "only a magic": lambda path: cut(path, 4),
    "another magic": lambda path: bytes_at(path, 0, b"GGJT"),
    "an unknown version": lambda path: bytes_at(path, 4, struct.pack("<I", 77)),
    "too many tensors": lambda path: bytes_at(path, 8, struct.pack("<Q", 1 << 60)),
    "too many keys": lambda path: bytes_at(path, 16, struct.pack("<Q", 1 << 60)),
    "a key of impossible length": lambda path: bytes_at(path, 24, struct.pack("<Q", 1 << 62)),
    "cut in the vocabulary": lambda path: cut(path, 200_000),
    "cut in the weights": lambda path: cut(path, path.stat().st_size - 100_000),
    "a missing tensor": lambda path: word(path, b"blk.1.ffn_norm", b"blk.1.ffn_xxxx"),
    "a missing router": lambda path: word(path, b"blk.1.ffn_gate_inp", b"blk.1.ffn_gate_xxx"),
    "an unknown architecture": lambda path: word(path, text(b"llama"), text(b"lxxxx")),
    "too many layers": lambda path: number(path, "llama.block_count", 9),
    "no layers": lambda path: number(path, "llama.block_count", 0),
    "no heads": lambda path: number(path, "llama.attention.head_count", 0),
    "another width": lambda path: number(path, "llama.embedding_length", 72),
    "more experts used than there are": lambda path: number(path, "llama.expert_used_count", 5),
    "more experts than weights": lambda path: number(path, "llama.expert_count", 6),
    "an unknown tokenizer": lambda path: word(path, text(b"gpt2"), text(b"gptx")),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_gives_one_clear_line(moe: SmallModel, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "damaged.gguf"
    shutil.copy(moe.path, path)
    DAMAGE[damage](path)
    engine = ChildEngine(path, EngineSettings(context=256, threads=1))
    with pytest.raises(SparseDoctorError) as caught:
        engine.load()
    engine.close()
    assert "\n" not in str(caught.value)
    assert "damaged.gguf" in str(caught.value)
    assert len(str(caught.value)) < 600


def test_weights_that_are_no_numbers_are_found(moe: SmallModel, tmp_path: Path) -> None:
    path = tmp_path / "damaged.gguf"
    shutil.copy(moe.path, path)
    at = read_header(path).tensors["blk.2.attn_q.weight"].offset
    bytes_at(path, at, struct.pack("<f", float("nan")) * 64)
    engine = ChildEngine(path, EngineSettings(context=256, threads=1))
    with pytest.raises(SparseDoctorError, match="damaged"):
        engine.load()
    engine.close()


@pytest.mark.slow
def test_flipped_bytes_in_the_header_never_take_this_process(
    moe: SmallModel, tmp_path: Path
) -> None:
    """The child may refuse, crash or even load such a file: never more than an error here."""
    chance = random.Random(5)
    path = tmp_path / "damaged.gguf"
    for _ in range(40):
        shutil.copy(moe.path, path)
        for _ in range(3):
            bytes_at(path, chance.randrange(24, 1200), bytes([chance.randrange(256)]))
        engine = ChildEngine(path, EngineSettings(context=256, threads=1))
        with contextlib.suppress(SparseDoctorError):
            engine.load()
        engine.close()
