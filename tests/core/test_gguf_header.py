"""The header reader: right on real files, bounded and in plain words on everything else."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter

from sparsedoctor.core.bundle import read_bundle
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.gguf_header import SkippedArray, read_header


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A GGUF file with every kind of value, our own keys and a few tensors."""
    path = tmp_path_factory.mktemp("small") / "small.gguf"
    writer = GGUFWriter(path, "llama")
    for kind in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"):
        getattr(writer, f"add_{kind}")(f"test.{kind}", 7)
    writer.add_float32("test.float32", 0.5)
    writer.add_float64("test.float64", 0.25)
    writer.add_bool("test.bool", True)
    writer.add_string("test.text", "头痛 and headache")
    writer.add_array("test.numbers", [1, 2, 3])
    writer.add_array("test.words", [f"word {n}" for n in range(2000)])
    writer.add_string("sparsedoctor.format_version", "1.0")
    writer.add_array("sparsedoctor.expert_names", ["a", "b"])
    writer.add_tensor("token_embd.weight", np.ones((8, 32), np.float32))
    writer.add_tensor("blk.0.ffn_gate_exps.weight", np.ones((2, 4, 32), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


@pytest.fixture
def written(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "file.gguf"
        path.write_bytes(content)
        return path

    return write


Written = Callable[[bytes], Path]


def test_every_kind_of_value_is_read(small: bytes, written: Written) -> None:
    header = read_header(written(small))
    assert header.architecture == "llama"
    for kind in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"):
        assert header.metadata[f"test.{kind}"] == 7
    assert header.metadata["test.float32"] == 0.5
    assert header.metadata["test.float64"] == 0.25
    assert header.metadata["test.bool"] is True
    assert header.metadata["test.text"] == "头痛 and headache"
    assert header.metadata["test.numbers"] == [1, 2, 3]


def test_long_arrays_are_read_only_on_request(small: bytes, written: Written) -> None:
    path = written(small)
    assert read_header(path).metadata["test.words"] == SkippedArray(2000)
    wanted = read_header(path, want=["test.words"]).metadata["test.words"]
    assert wanted == [f"word {n}" for n in range(2000)]


def test_it_agrees_with_gguf_py_on_the_real_base(smollm2_gguf: Path) -> None:
    ours, theirs = read_header(smollm2_gguf), GGUFReader(smollm2_gguf)
    assert ours.data_offset == theirs.data_offset
    assert list(ours.tensors) == [tensor.name for tensor in theirs.tensors]
    for tensor in theirs.tensors:
        info = ours.tensors[tensor.name]
        assert info.shape == tuple(int(size) for size in tensor.shape)
        assert info.type_name == tensor.tensor_type.name
        assert (info.offset, info.size) == (tensor.data_offset, tensor.n_bytes)
    for key, field in theirs.fields.items():
        value = ours.metadata.get(key)
        if value is not None and not isinstance(value, SkippedArray):
            assert value == pytest.approx(field.contents())


@pytest.mark.parametrize("content", [b"", b"G", b"GGU", b"not a model\n" * 50, b"\x00" * 4096])
def test_what_is_no_gguf_is_said_to_be_none(content: bytes, written: Written) -> None:
    with pytest.raises(SparseDoctorError, match="not a GGUF model file"):
        read_header(written(content))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(SparseDoctorError, match="there is no model file"):
        read_header(tmp_path / "none.gguf")
    with pytest.raises(SparseDoctorError, match="is no file"):
        read_header(tmp_path)


def test_every_truncation_is_noticed(small: bytes, written: Written) -> None:
    """Cut anywhere, also inside the data: the reader says damaged and nothing else."""
    for length in [*range(4, 400), *range(400, len(small) - 1, 997)]:
        with pytest.raises(SparseDoctorError, match="damaged"):
            read_header(written(small[:length]))


def test_a_future_version_is_named(small: bytes, written: Written) -> None:
    with pytest.raises(SparseDoctorError, match="GGUF version 9 is unknown"):
        read_header(written(small[:4] + struct.pack("<I", 9) + small[8:]))


@pytest.mark.parametrize("at", [8, 16])
def test_absurd_counts_are_refused_at_once(small: bytes, written: Written, at: int) -> None:
    for count in (10**6, 2**40, 2**63, 2**64 - 1):
        content = small[:at] + struct.pack("<Q", count) + small[at + 8 :]
        with pytest.raises(SparseDoctorError, match="more entries than it has bytes"):
            read_header(written(content))


def test_bytes_that_are_no_utf8_do_not_stop_the_reader(small: bytes, written: Written) -> None:
    content = small.replace(b"and headache", b"\xff\xfe\xfd headache")
    assert "headache" in read_header(written(content)).metadata["test.text"]


def mutations(original: bytes, header: int, count: int) -> Iterator[bytes]:
    """Damaged copies: flipped bits, wild numbers, cut, doubled and swapped stretches."""
    rng = random.Random(20261122)
    numbers = [0, 1, 7, 0x7FFFFFFF, 0xFFFFFFFF, 2**40, 2**63 - 1, 2**64 - 1]
    for _ in range(count):
        data = bytearray(original)
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(4, header)
            match rng.randrange(6):
                case 0:
                    data[at] ^= 1 << rng.randrange(8)
                case 1:
                    data[at : at + 8] = struct.pack("<Q", rng.choice(numbers))
                case 2:
                    data[at : at + 4] = struct.pack("<I", rng.randrange(20))
                case 3:
                    del data[at : at + rng.randrange(1, 40)]
                case 4:
                    data[at:at] = data[at : at + rng.randrange(1, 40)]
                case 5:
                    data[at : at + 8] = rng.randbytes(8)
        yield bytes(data)


def fuzz(original: bytes, header: int, count: int, written: Written) -> int:
    """How many damaged copies were refused, in one line. Other exceptions fail the test."""
    refused = 0
    for content in mutations(original, header, count):
        path = written(content)
        try:
            check_consistent(read_header(path, want=("test.words",)))
            read_bundle(path)
        except SparseDoctorError as error:
            refused += "\n" not in str(error)
    return refused


def check_consistent(header: Any) -> None:
    for info in header.tensors.values():
        assert 0 <= info.offset <= info.offset + info.size <= header.file_size


@pytest.mark.timeout(120)  # a hang fails here
def test_eight_hundred_damaged_headers_neither_crash_nor_hang_the_reader(
    small: bytes, written: Written
) -> None:
    header = read_header(written(small)).data_offset
    refused = fuzz(small, header, 800, written)
    assert 200 < refused <= 800


def test_a_damaged_metadata_block_of_ours_is_refused_in_one_line(
    small: bytes, written: Written
) -> None:
    at = small.index(b"sparsedoctor.format_version")
    refused = fuzz(small[:at] + small[at:], at + 200, 200, written)
    assert refused > 50


def test_names_of_a_hostile_file_cannot_smuggle_lines_into_the_message(
    small: bytes, written: Written
) -> None:
    content = small
    for key in (b"test.uint32", b"test.uint16"):
        content = content.replace(key, b"x\nerror: no")
    with pytest.raises(SparseDoctorError) as refusal:
        read_header(written(content))
    assert "occurs twice" in str(refusal.value)
    assert "\n" not in str(refusal.value)
