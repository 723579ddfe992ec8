"""The default model: assembled once, kept while it is right, made again when it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_adapters import make_adapter
from tiny_models import make_tiny_model

from sparsedoctor.core.bundle import read_bundle
from sparsedoctor.core.models import default_model_path, find_model
from sparsedoctor.export import default_model
from sparsedoctor.export.cli import main


@pytest.fixture
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny base and adapter in the place of those that ship."""
    base = make_tiny_model(tmp_path / "base", "llama")
    folder = make_adapter(tmp_path / "default_adapter", base)
    monkeypatch.setattr(default_model, "default_adapter", lambda: folder)
    monkeypatch.setattr(default_model, "find_base", lambda name: base)
    return folder


def test_it_is_assembled_once_and_kept(adapter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["default"]) == 0
    path = find_model("default")
    assert "assembled" in capsys.readouterr().out
    bundle = read_bundle(path)
    assert bundle is not None
    assert "demonstration" in bundle.label
    assert "no medical advice" in bundle.label
    before = path.stat().st_mtime_ns
    assert main(["default"]) == 0
    assert "already there" in capsys.readouterr().out
    assert path.stat().st_mtime_ns == before
    assert main(["default", "--force"]) == 0
    assert path.stat().st_mtime_ns > before

    # A damaged file and one of another adapter are made again.
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])
    assert main(["default"]) == 0
    assert path.read_bytes() == whole
    make_adapter(adapter, adapter.parent / "base", seed=9)
    assert main(["default"]) == 0
    assert path.read_bytes() != whole


def test_without_an_adapter_it_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(default_model, "__file__", str(tmp_path / "default_model.py"))
    assert main(["default"]) == 2
    told = capsys.readouterr().err
    assert "no default adapter" in told
    assert len(told.strip().splitlines()) == 1
    assert not default_model_path().exists()
