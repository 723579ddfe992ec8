"""`verify`: says how far a file is from its model, with and without torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_adapters import make_adapter
from tiny_models import make_tiny_model

from sparsedoctor.export import verify_command
from sparsedoctor.export.cli import main
from sparsedoctor.export.compare import difference, routing_agreement

Export = Callable[..., Path]


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_command, "torch_is_installed", lambda: False)


@pytest.mark.usefixtures("without_torch")
def test_without_torch_a_float32_export_is_the_reference(
    export: Export, base: Path, adapter: Path, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    path = export()
    words = ["verify", str(path), "--adapter", str(adapter), "--base", str(base)]
    assert main([*words, "--positions"]) == 0
    told = capsys.readouterr().out
    assert "against float32.gguf" in told
    for fact in ("relative logit error", "KL divergence", "top-1 agreement", "routing agreement"):
        assert fact in told
    assert "the same model" in told
    assert list((home / "cache").glob("**/*.gguf")) == []  # the float32 file is gone again


@pytest.mark.usefixtures("without_torch")
def test_json_has_every_position_and_layer(
    export: Export, base: Path, adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = export("--type", "f32")
    capsys.readouterr()
    words = ["verify", str(path), "--adapter", str(adapter), "--base", str(base), "--json"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] is True
    assert len(report["by_position"]) == report["positions"] > 100
    assert set(report["by_position"][0]) == {"relative_error", "kl_divergence", "same_top1"}
    assert len(report["routing_agreement_by_layer"]) == 2
    assert report["top1_agreement"] == 1.0
    assert report["relative_error"] < 1e-5


@pytest.mark.usefixtures("without_torch")
def test_a_file_of_another_training_is_told_apart(
    export: Export, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = export()
    other = make_adapter(tmp_path / "other", base, seed=5)
    words = ["verify", str(path), "--adapter", str(other), "--base", str(base)]
    assert main(words) == 1
    assert "NOT the same" in capsys.readouterr().out


def test_against_a_named_file_with_own_prompts(
    export: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exact = export("--type", "f32", name="exact.gguf")
    rough = export("--type", "q4_0", name="rough.gguf")
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("What helps against a cold?\n\n头痛怎么办？\n")
    words = ["verify", str(rough), "--against", str(exact), "--prompts", str(prompts)]
    code = main(words)
    told = capsys.readouterr().out
    assert "2 prompts" in told
    assert code in (0, 1)
    assert main(["verify", str(exact), "--against", str(exact)]) == 0


BASES = ("relative", "blanks and 汉字", "link", "hub name", "home", "GGUF without an ending")


@pytest.mark.parametrize("place", BASES)
def test_the_base_may_be_given_as_any_path(
    place: str,
    export: Export,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("peft", reason="compares with PyTorch; install sparsedoctor[train]")
    name = place
    if place == "relative":
        monkeypatch.chdir(base.parent)
        name = base.name
    elif place == "link":
        (tmp_path / place).symlink_to(base, target_is_directory=True)
        name = str(tmp_path / place)
    elif place == "hub name":
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
        folder = tmp_path / "models--some--model"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text("abc")
        (folder / "snapshots").mkdir()
        base.rename(folder / "snapshots" / "abc")
        name = "some/model"
    elif place == "home":
        monkeypatch.setenv("HOME", str(base.parent))
        name = f"~/{base.name}"
    elif place.startswith("GGUF"):
        silent = make_adapter(tmp_path / "silent", base, size=0.0)
        words = ("--layout", "experts", "--type", "f32")
        dense = export(*words, adapter=silent, name="dense") / "expert-1.gguf"
        name = str(dense.rename(tmp_path / "base-as-one-file"))
        make_adapter(tmp_path / "adapter", Path(name))
    else:
        name = str(base.rename(tmp_path / place))
    adapter = tmp_path / "adapter"
    words = ("--adapter", str(adapter), "--base", name)
    path = tmp_path / "model.gguf"
    assert main([*words, "--output", str(path), "--type", "f32"]) == 0
    capsys.readouterr()
    assert main(["verify", str(path), *words]) == 0
    told = capsys.readouterr().out
    assert "against PyTorch" in told
    assert "same tokens for 8 of 8" in told


@pytest.mark.parametrize("torch", [True, False], ids=["torch", "no torch"])
def test_other_weights_are_accepted_on_request_as_by_the_export(
    torch: bool,
    export: Export,
    tmp_path: Path,
    adapter: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if torch:
        pytest.importorskip("peft", reason="needs sparsedoctor[train]")
    else:
        monkeypatch.setattr(verify_command, "torch_is_installed", lambda: False)
    other = make_tiny_model(tmp_path / "other", "llama", seed=7)
    path = export("--any-base", "--type", "f32", base=other)
    words = ["verify", str(path), "--adapter", str(adapter), "--base", str(other)]
    capsys.readouterr()
    assert main(words) == 2
    assert "sha256" in capsys.readouterr().err
    assert main([*words, "--any-base"]) == 0


def test_a_rounded_reference_is_refused(export: Export, capsys: pytest.CaptureFixture[str]) -> None:
    path = export()
    capsys.readouterr()
    assert main(["verify", str(path), "--against", str(path)]) == 2
    assert "holds rounded weights; compare with a float32 export" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "say what to compare with"),
        (["--against", "nowhere.gguf"], "there is no model file nowhere.gguf"),
        (["--against", "x", "--prompts", "nowhere.txt"], "cannot read the prompts"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(
    export: Export, words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = export()
    capsys.readouterr()
    assert main(["verify", str(path), *words]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert named in told[0]


def test_changed_weights_are_refused(
    export: Export, base: Path, adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = export()
    content = bytearray(path.read_bytes())
    content[-4000] ^= 255
    path.write_bytes(content)
    capsys.readouterr()
    words = ["verify", str(path), "--adapter", str(adapter), "--base", str(base)]
    assert main(words) == 2
    assert "sha256 differs" in capsys.readouterr().err


def test_the_difference_of_known_logits() -> None:
    reference = np.array([[0.0, 2.0, -2.0], [1.0, 0.0, 0.0]], np.float32)
    same = difference(reference, reference + 7)  # a constant changes nothing
    assert same.relative_error == pytest.approx(0, abs=1e-6)
    assert same.mean_kl == pytest.approx(0, abs=1e-9)
    assert same.agreement == 1.0
    other = difference(reference, np.array([[0.0, 1.0, -1.0], [0.0, 1.0, 0.0]], np.float32))
    assert other.relative_errors[0] == pytest.approx(0.5)
    assert other.agreement == 0.5
    p, q = np.exp([0, 2, -2]), np.exp([0, 1, -1])
    p, q = p / p.sum(), q / q.sum()
    assert other.kl[0] == pytest.approx(float((p * np.log(p / q)).sum()), rel=1e-6)


def test_routing_agrees_whatever_the_order() -> None:
    ours = np.array([[[0, 1]], [[2, 3]]], np.int32)
    theirs = np.array([[[1, 0]], [[3, 1]]], np.int32)
    np.testing.assert_allclose(routing_agreement(ours, theirs), [0.75])
