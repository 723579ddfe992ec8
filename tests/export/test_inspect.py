"""What a file says about itself: of ours, of others, damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sparsedoctor.export.cli import main

Export = Callable[..., Path]


def test_a_file_of_ours_tells_everything(
    export: Export, capsys: pytest.CaptureFixture[str]
) -> None:
    path = export("--label", "a model for a test")
    capsys.readouterr()
    assert main(["inspect", str(path), "--json", "--check"]) == 0
    file = json.loads(capsys.readouterr().out)
    assert file["architecture"] == "llama"
    assert (file["layers"], file["experts"], file["experts_used"]) == (2, 4, 2)
    assert file["formats"]["Q8_0"]["tensors"] == 15
    assert sum(row["bytes"] for row in file["formats"].values()) <= file["bytes"]
    assert file["hashes"]["tensors_match"] is True
    assert file["routing"]["label"] == "a model for a test"
    assert file["licences"] == ["CC BY 4.0"]
    assert {row["name"] for row in file["tensors"]} >= {"token_embd.weight"}


def test_plain_text_names_the_same_facts(
    export: Export, capsys: pytest.CaptureFixture[str]
) -> None:
    path = export()
    capsys.readouterr()
    assert main(["inspect", str(path), "--tensors"]) == 0
    told = capsys.readouterr().out
    for fact in ("llama", "4, 2 per token", "Q8_0", "CC BY 4.0", "base_sha256", "shared rank 3",
                 "blk.1.ffn_down_exps.weight", "expert 4", "chatml"):  # fmt: skip
        assert fact in told


def test_a_file_of_another_program_is_a_plain_model(
    smollm2_gguf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(smollm2_gguf)]) == 0
    told = capsys.readouterr().out
    assert "runs as a plain model" in told
    assert "49,152 tokens" in told
    assert main(["inspect", str(smollm2_gguf), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["routing"] is None


def test_changed_weights_are_noticed_by_check(
    export: Export, capsys: pytest.CaptureFixture[str]
) -> None:
    path = export()
    content = bytearray(path.read_bytes())
    content[-5000] ^= 1
    path.write_bytes(content)
    capsys.readouterr()
    assert main(["inspect", str(path), "--check"]) == 1
    assert "False" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"plain text", b"GGUF\x03\x00\x00\x00" + b"\xff" * 64])
def test_what_is_no_model_is_refused_in_one_line(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    assert main(["inspect", str(path)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
