"""Routing metadata: what is written is read again, and nothing else passes for it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFWriter
from jsonschema import Draft202012Validator

from sparsedoctor.core.bundle import (
    PREFIX,
    SCHEMA,
    RoutingMetadata,
    bundle_fields,
    check_bundle,
    read_bundle,
)
from sparsedoctor.core.errors import SparseDoctorError

METADATA = RoutingMetadata(
    format_version="1.0",
    base_name="SmolLM2-135M-Instruct",
    base_sha256="ab" * 32,
    expert_count=2,
    expert_used_count=2,
    rank=8,
    alpha=16.0,
    sharing=0.25,
    shared_rank=4,
    expert_names=("心脏", "skin"),
    prompt_template="chatml",
    label="small demonstration model",
    licences=("CC BY 4.0", "Apache-2.0"),
    training={"steps": 100, "data": "MedQuAD"},
    evaluation={"held_out_loss": 2.5},
    profile={
        "data": {"name": "a set", "examples": 4, "tokens": 90},
        "topics": [
            {"name": "heart", "examples": 2, "tokens": 40, "shares": [0.75, 0.25], "favours": 0},
            {"name": "skin", "examples": 2, "tokens": 50, "shares": [0.5, 0.5], "favours": None},
        ],
        "baseline": {
            "information": 0.1, "shuffled_mean": 0.01, "shuffled_95": 0.02, "shuffles": 100,
        },
        "utilisation": [[0.5, 0.5]],
        "entropy": [0.69],
    },
    base_architecture="llama",
    shared_alpha=8.0,
    attention_rank=2,
    tensors_sha256="0" * 64,
)  # fmt: skip

Written = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(fields: dict[str, Any]) -> Path:
        path = tmp_path / "model.gguf"
        writer = GGUFWriter(path, "llama")
        for key, value in fields.items():
            if isinstance(value, list):
                writer.add_array(key, value)
            elif isinstance(value, str):
                writer.add_string(key, value)
            elif isinstance(value, int):
                writer.add_uint32(key, value)
            else:
                writer.add_float32(key, value)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


def test_what_is_written_is_read_again(written: Written) -> None:
    assert read_bundle(written(bundle_fields(METADATA))) == METADATA


def test_another_programs_file_has_none(written: Written, smollm2_gguf: Path) -> None:
    assert read_bundle(written({"general.name": "x"})) is None
    assert read_bundle(smollm2_gguf) is None


def test_the_schema_itself_is_valid() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_a_new_minor_version_and_unknown_keys_are_read(written: Written) -> None:
    fields = bundle_fields(replace(METADATA, format_version="1.7")) | {PREFIX + "mood": "good"}
    found = read_bundle(written(fields))
    assert found is not None
    assert found.format_version == "1.7"


def test_a_new_major_version_is_refused_by_name(written: Written) -> None:
    with pytest.raises(SparseDoctorError, match=r"version '2\.0'.*reads 1\.0.*update"):
        read_bundle(written(bundle_fields(replace(METADATA, format_version="2.0"))))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rank": "eight"}, "rank"),
        ({"expert_count": 3}, "2 names for 3 experts"),
        ({"expert_used_count": 5}, "more experts used"),
        ({"base.sha256": "short"}, "base.sha256"),
        ({"training": "not JSON"}, "no JSON"),
        ({"training": "[1]"}, "training"),
        ({"profile": '{"topics": 1}'}, "profile"),
        ({"expert_names": "one"}, "expert_names"),
        ({"label": 7}, "label"),
    ],
)
def test_damage_is_named_in_one_line(written: Written, changes: dict[str, Any], named: str) -> None:
    fields = bundle_fields(METADATA) | {PREFIX + key: value for key, value in changes.items()}
    with pytest.raises(SparseDoctorError, match="damaged routing metadata") as refusal:
        read_bundle(written(fields))
    assert named in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("key", SCHEMA["required"][1:])
def test_a_missing_key_is_named(written: Written, key: str) -> None:
    fields = bundle_fields(METADATA)
    del fields[PREFIX + key]
    with pytest.raises(SparseDoctorError, match=f"{key}"):
        read_bundle(written(fields))


@pytest.mark.timeout(120)  # a hang fails here
def test_five_hundred_damaged_metadata_blocks_neither_crash_nor_hang(written: Written) -> None:
    path = written(bundle_fields(METADATA))
    original = path.read_bytes()
    begin = original.index(PREFIX.encode())
    rng = random.Random(5)
    refused = 0
    for _ in range(500):
        data = bytearray(original)
        for _ in range(rng.choice((1, 1, 3))):
            at = rng.randrange(begin, len(data))
            if rng.random() < 0.7:
                data[at] = rng.choice(b'{}[]",:0189-eE\x00\xff x')
            else:
                del data[at : at + rng.randrange(1, 30)]
        path.write_bytes(bytes(data))
        try:
            found = read_bundle(path)
            assert found is None or isinstance(found, RoutingMetadata)
        except SparseDoctorError as error:
            refused += "\n" not in str(error)
    assert 100 < refused < 500


def test_checking_says_nothing_about_a_good_one() -> None:
    keys = {key.removeprefix(PREFIX): value for key, value in bundle_fields(METADATA).items()}
    tables = {name: getattr(METADATA, name) for name in ("training", "evaluation", "profile")}
    assert check_bundle(keys | tables) == ""
