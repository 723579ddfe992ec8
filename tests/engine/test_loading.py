"""What is checked before llama.cpp sees a file: the header, the hash, the memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from engine.small_gguf import SmallModel, write_small_gguf

from sparsedoctor.core.bundle import RoutingMetadata, bundle_fields
from sparsedoctor.core.engine import loading, manifest
from sparsedoctor.core.engine.child import ChildEngine
from sparsedoctor.core.engine.loading import plan_loading
from sparsedoctor.core.engine.memory import context_that_fits, needed_bytes
from sparsedoctor.core.engine.protocol import EngineError, EngineSettings, Message, Notice, Sampling
from sparsedoctor.core.engine.threads import threads_beside
from sparsedoctor.core.gguf_header import read_header

METADATA = RoutingMetadata(
    format_version="1.0",
    base_name="small",
    base_sha256="0" * 64,
    expert_count=2,
    expert_used_count=1,
    rank=8,
    alpha=16.0,
    shared_rank=0,
    expert_names=("one", "two"),
    prompt_template="chatml",
    label="a small test model",
    licences=("Apache-2.0",),
)


@pytest.fixture
def signed(tmp_path: Path, smollm2_gguf: Path) -> Path:
    """A model whose header holds the sha256 of its weights, as the export writes it."""
    path = tmp_path / "signed.gguf"
    keys = {**bundle_fields(METADATA), manifest.HASH_KEY: "f" * 64}
    write_small_gguf(path, smollm2_gguf, experts=2, experts_used=1, extra=keys)
    digest = manifest.tensors_sha256(path, read_header(path))
    path.write_bytes(path.read_bytes().replace(b"f" * 64, digest.encode(), 1))
    return path


def test_the_hash_is_read_once_until_the_file_changes(
    signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    compute = manifest.tensors_sha256

    def counted(path: Path, header: Any) -> str:
        reads.append(path)
        return compute(path, header)

    monkeypatch.setattr(manifest, "tensors_sha256", counted)
    header = read_header(signed)
    assert manifest.check_manifest(signed, header)
    assert manifest.check_manifest(signed, header)
    assert len(reads) == 1
    os.utime(signed, ns=(1, 1))
    assert manifest.check_manifest(signed, header)
    assert len(reads) == 2


def test_one_flipped_bit_in_the_weights_is_found(signed: Path) -> None:
    header = read_header(signed)
    assert manifest.check_manifest(signed, header)
    with signed.open("r+b") as file:
        file.seek(header.data_offset + 5000)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 4]))
    with pytest.raises(EngineError, match="sha256 differs"):
        plan_loading(signed, EngineSettings())


def test_a_context_that_does_not_fit_is_refused_with_one_that_does(
    moe: SmallModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = read_header(moe.path)
    monkeypatch.setattr(loading, "available_bytes", lambda: needed_bytes(header, 1024, 256))
    with pytest.raises(EngineError, match=r"--context \d+") as caught:
        plan_loading(moe.path, EngineSettings(context=8192))
    fits = int(str(caught.value).split("--context ")[1].split()[0])
    assert fits == 1024
    assert plan_loading(moe.path, EngineSettings(context=fits)).context == fits


def test_without_a_setting_the_context_that_fits_is_taken_and_told(
    moe: SmallModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = read_header(moe.path)
    monkeypatch.setattr(loading, "available_bytes", lambda: needed_bytes(header, 2048, 256))
    plan = plan_loading(moe.path, EngineSettings())
    assert plan.context == 2048
    assert "2,048" in plan.notices[0]
    assert context_that_fits(header, 0, 256) == 0


def test_a_model_for_which_there_is_no_memory_is_refused(
    moe: SmallModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "available_bytes", lambda: 1 << 20)
    with pytest.raises(EngineError, match="memory"):
        plan_loading(moe.path, EngineSettings())


def test_a_context_beyond_the_model_is_cut_and_told(moe: SmallModel) -> None:
    engine = ChildEngine(moe.path, EngineSettings(context=100_000, threads=1))
    assert engine.load().context == 8192
    events = list(engine.generate([Message("user", "Hi")], Sampling(max_tokens=2)))
    engine.close()
    assert any(isinstance(event, Notice) and "8,192" in event.message for event in events)


@pytest.mark.parametrize(
    ("others", "cores", "most", "threads"),
    [
        (0.0, 2, 1, 1),
        (2.0, 2, 1, 1),
        (0.3, 8, 7, 7),
        (3.0, 8, 7, 5),
        (9.0, 8, 7, 1),
        (0.9, 2, 2, 1),
    ],
)
def test_busy_cores_are_left_to_others(others: float, cores: int, most: int, threads: int) -> None:
    assert threads_beside(others, cores, most) == threads


@pytest.mark.parametrize(
    "settings",
    [{"context": 3}, {"threads": 0}, {"batch": 0}, {"gpu_layers": -2}],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(EngineError, match=next(iter(settings))):
        EngineSettings(**settings)


@pytest.mark.parametrize(
    "sampling",
    [{"temperature": -1}, {"top_p": 1.5}, {"min_p": float("nan")}, {"seed": -1}, {"max_tokens": 0}],
)
def test_sampling_that_means_nothing_is_refused(sampling: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match=next(iter(sampling))):
        Sampling(**sampling)
