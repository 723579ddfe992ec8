"""Names of models and bases lead to files, and a base is known by what is in it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from sparsedoctor.core.base_models import base_fingerprint, find_base
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.models import DEFAULT_FILE, default_model_path, find_model, list_models
from sparsedoctor.core.paths import models_dir


def test_the_default_model_is_missing_until_it_is_assembled() -> None:
    with pytest.raises(SparseDoctorError, match="sparsedoctor-export default"):
        find_model("default")
    default_model_path().write_bytes(b"GGUF")
    assert find_model("default") == models_dir() / DEFAULT_FILE


def test_a_model_is_found_by_path_by_name_and_by_name_without_ending(tmp_path: Path) -> None:
    mine = models_dir() / "mine.gguf"
    mine.write_bytes(b"GGUF")
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF")
    assert find_model(str(other)) == other
    assert find_model("mine.gguf") == find_model("mine") == mine
    assert list_models() == [mine]
    with pytest.raises(SparseDoctorError, match="there is no model nothing"):
        find_model("nothing")
    with pytest.raises(SparseDoctorError, match="there is no model"):
        find_model(str(tmp_path / "mine.gguf"))  # a path is never looked up in the folder
    with pytest.raises(SparseDoctorError, match="is a folder; give the GGUF file"):
        find_model(str(tmp_path))


def test_the_demonstration_base_is_found_without_being_imported(smollm2_gguf: Path) -> None:
    assert find_base("smollm2") == smollm2_gguf
    assert smollm2_gguf.suffix == ".gguf"


def test_a_base_of_the_hub_is_found_in_the_local_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(SparseDoctorError, match="no base model org/tiny"):
        find_base("org/tiny")
    folder = tmp_path / "models--org--tiny"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc123")
    snapshot = folder / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert find_base("org/tiny") == snapshot


def test_a_folder_is_known_by_its_weights_alone(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"one")
    (tmp_path / "b.safetensors").write_bytes(b"two")
    first = base_fingerprint(tmp_path)
    (tmp_path / "README.md").write_text("words")
    assert base_fingerprint(tmp_path) == first
    (tmp_path / "b.safetensors").write_bytes(b"twO")
    assert base_fingerprint(tmp_path) != first
    (tmp_path / "b.safetensors").write_bytes(b"two")
    (tmp_path / "b.safetensors").rename(tmp_path / "c.safetensors")
    assert base_fingerprint(tmp_path) != first


def test_a_file_is_known_by_its_sha256(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"content" * 1000)
    assert base_fingerprint(path) == hashlib.sha256(b"content" * 1000).hexdigest()


def test_a_folder_without_weights_is_no_base(tmp_path: Path) -> None:
    with pytest.raises(SparseDoctorError, match="no safetensors"):
        base_fingerprint(tmp_path)
