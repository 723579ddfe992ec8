"""The file itself: merged weights, metadata, the same bytes again, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader
from safetensors.numpy import load_file
from tiny_adapters import make_adapter
from tiny_models import CHAT_TEMPLATE, make_tiny_model

from sparsedoctor.core.bundle import read_bundle
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.gguf_header import read_header
from sparsedoctor.export.adapter import Adapter
from sparsedoctor.export.base import open_base, read
from sparsedoctor.export.cli import main
from sparsedoctor.export.mixture import ExportSettings, export_mixture
from sparsedoctor.export.types import FORMATS, decode


def export(tmp_path: Path, base: Path, adapter: Path, fmt: str = "f32", name: str = "m") -> Path:
    return export_mixture(ExportSettings(adapter, base, tmp_path / f"{name}.gguf", FORMATS[fmt]))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "base", "llama")


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    return make_adapter(tmp_path / "adapter", base, shared_rank=3, attention_rank=2)


def tensor(path: Path, name: str) -> np.ndarray:
    """As float32."""
    found = next(tensor for tensor in GGUFReader(path).tensors if tensor.name == name)
    shape = tuple(int(size) for size in reversed(found.shape))
    return decode(found.data.tobytes(), shape, found.tensor_type)


@pytest.mark.parametrize("projection", ["gate", "up", "down"])
def test_every_expert_is_the_base_with_both_its_pairs(
    tmp_path: Path, base: Path, adapter: Path, projection: str
) -> None:
    weights = load_file(base / "model.safetensors")
    pairs = load_file(adapter / "adapter_model.safetensors")
    stack = tensor(export(tmp_path, base, adapter), f"blk.1.ffn_{projection}_exps.weight")
    at = "base_model.model.model.layers.1.mlp.lora_"
    for expert in range(4):
        expected = (
            weights[f"model.layers.1.mlp.{projection}_proj.weight"].astype(np.float64)
            + 2.0 * pairs[f"{at}shared_B_{projection}"] @ pairs[f"{at}shared_A_{projection}"]
            + 2.0 * pairs[f"{at}B_{projection}"][expert] @ pairs[f"{at}A_{projection}"][expert]
        )
        np.testing.assert_allclose(stack[expert], expected, rtol=1e-5, atol=1e-6)


def test_query_rows_are_interleaved_head_by_head(tmp_path: Path, base: Path) -> None:
    adapter = make_adapter(tmp_path / "plain", base)
    plain = load_file(base / "model.safetensors")["model.layers.0.self_attn.q_proj.weight"]
    written = tensor(export(tmp_path, base, adapter), "blk.0.attn_q.weight")
    half = 8  # of a head of 16
    for head in range(4):
        for row in range(half):
            first, second = 16 * head + 2 * row, 16 * head + 2 * row + 1
            np.testing.assert_array_equal(written[first], plain[16 * head + row])
            np.testing.assert_array_equal(written[second], plain[16 * head + row + half])


def test_a_gguf_base_gives_the_same_tensors_as_its_folder(tmp_path: Path, base: Path) -> None:
    """Export without a change makes a mixture; its attention, read back, is the folder's."""
    silent = make_adapter(tmp_path / "silent", base, size=0.0)
    header = read_header(export(tmp_path, base, silent))
    assert header.architecture == "llama"
    folder = open_base(base)
    written = tensor(tmp_path / "m.gguf", "blk.1.ffn_up_exps.weight")
    np.testing.assert_array_equal(written[3], read(folder, "model.layers.1.mlp.up_proj.weight"))
    folder.close()


@pytest.mark.parametrize("fmt", ["f32", "f16", "bf16", "q8_0", "q4_0"])
def test_the_router_and_norms_stay_float32_in_every_format(
    tmp_path: Path, base: Path, adapter: Path, fmt: str
) -> None:
    header = read_header(export(tmp_path, base, adapter, fmt))
    kinds = {name: info.type_name for name, info in header.tensors.items()}
    assert kinds["blk.0.ffn_gate_inp.weight"] == "F32"
    assert kinds["blk.0.attn_norm.weight"] == "F32"
    assert kinds["blk.0.ffn_gate_exps.weight"] == fmt.upper()
    assert header.metadata["general.file_type"] == int(FORMATS[fmt].file_type)


def test_metadata_tells_where_the_file_comes_from(tmp_path: Path, base: Path) -> None:
    adapter = make_adapter(
        tmp_path / "named", base, shared_rank=3, expert_names=["heart", "skin", "lung", "rest"]
    )
    path = export(tmp_path, base, adapter, "q8_0")
    found = read_bundle(path)
    assert found is not None
    described = json.loads((adapter / "sparsedoctor.json").read_text())
    assert found.base_sha256 == described["base"]["sha256"]
    assert found.expert_names == ("heart", "skin", "lung", "rest")
    assert (found.expert_count, found.expert_used_count, found.rank) == (4, 2, 4)
    assert (found.shared_rank, found.alpha) == (3, 8.0)
    assert found.licences == ("CC BY 4.0",)
    assert found.prompt_template == "chatml"
    assert read_header(path).metadata["tokenizer.chat_template"] == CHAT_TEMPLATE


def test_the_hash_is_that_of_the_data_of_the_file(
    tmp_path: Path, base: Path, adapter: Path
) -> None:
    path = export(tmp_path, base, adapter, "q8_0")
    found, header = read_bundle(path), read_header(path)
    assert found is not None
    data = path.read_bytes()[header.data_offset :]
    assert found.tensors_sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("fmt", ["bf16", "q8_0", "q4_0", "q4_k_m"])
def test_the_same_inputs_give_the_same_bytes(
    tmp_path: Path, base: Path, adapter: Path, fmt: str
) -> None:
    first = export(tmp_path, base, adapter, fmt, "first").read_bytes()
    assert first == export(tmp_path, base, adapter, fmt, "second").read_bytes()


def test_the_tokenizer_of_a_gguf_base_is_carried_over_verbatim(
    tmp_path: Path, smollm2_gguf: Path
) -> None:
    adapter = make_adapter(
        tmp_path / "adapter", smollm2_gguf, hidden=576, ffn=1536, layers=30, experts=2, rank=2
    )
    path = export(tmp_path, smollm2_gguf, adapter, "q4_0")
    lists = ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.merges")
    before, after = (read_header(file, want=lists).metadata for file in (smollm2_gguf, path))
    keys = [key for key in before if key.startswith("tokenizer.")]
    assert len(keys) > 10
    assert {key: after[key] for key in keys} == {key: before[key] for key in keys}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_export_leaves_no_file_under_its_name(
    tmp_path: Path, how: signal.Signals, smollm2_gguf: Path
) -> None:
    adapter = make_adapter(
        tmp_path / "adapter", smollm2_gguf, hidden=576, ffn=1536, layers=30, rank=2
    )
    folder = tmp_path / "out"
    folder.mkdir()
    output = folder / "m.gguf"
    command = [sys.executable, "-m", "sparsedoctor.export.cli", "--adapter", str(adapter)]
    command += ["--base", str(smollm2_gguf), "--output", str(output), "--type", "f32"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not any(
        file.stat().st_size > 20_000_000 for file in folder.iterdir()
    ):
        time.sleep(0.05)
    process.send_signal(how)
    _, told = process.communicate()
    assert process.returncode != 0
    assert not output.exists()
    if how is signal.SIGINT:
        assert list(folder.iterdir()) == []
        assert "Traceback" not in told
        assert process.returncode == 130
    # What a killed export left is cleared away by the next.
    small = make_tiny_model(tmp_path / "small", "llama")
    tiny = make_adapter(tmp_path / "tiny", small)
    export_mixture(ExportSettings(tiny, small, output, FORMATS["f32"]))
    assert list(folder.iterdir()) == [output]


def test_force_replaces_and_a_failed_export_keeps_the_old_file(
    tmp_path: Path, base: Path, adapter: Path
) -> None:
    path = export(tmp_path, base, adapter)
    before = path.read_bytes()
    tensors = load_file(base / "model.safetensors")
    tensors["model.norm.weight"][0] = np.nan
    from safetensors.numpy import save_file

    save_file(tensors, base / "model.safetensors")
    settings = ExportSettings(adapter, base, path, FORMATS["f32"], force=True, any_base=True)
    with pytest.raises(SparseDoctorError, match=r"model\.norm\.weight"):
        export_mixture(settings)
    assert path.read_bytes() == before
    assert [file for file in tmp_path.iterdir() if file.name.endswith(".part")] == []


def test_the_deltas_of_an_adapter_come_scaled(base: Path, adapter: Path) -> None:
    opened = open_base(base)
    loaded = Adapter(adapter, opened.shape)
    raw = load_file(adapter / "adapter_model.safetensors")
    b, _ = loaded.expert_delta(0, "gate", 2)
    stored = raw["base_model.model.model.layers.0.mlp.lora_B_gate"]
    np.testing.assert_array_equal(b, np.float32(2.0) * stored[2])
    opened.close()


def test_the_command_line_writes_the_file_and_says_so(
    tmp_path: Path, base: Path, adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "cli.gguf"
    words = ["--adapter", str(adapter), "--base", str(base), "--output", str(output)]
    assert main([*words, "--type", "q8_0"]) == 0
    assert str(output) in capsys.readouterr().out
    assert main(["moe", *words, "--force"]) == 0


def test_export_needs_neither_torch_nor_transformers() -> None:
    program = (
        "import sys, sparsedoctor.export.cli, sparsedoctor.export.mixture, "
        "sparsedoctor.export.verify_command, sparsedoctor.export.default_model; "
        "print([n for n in ('torch', 'transformers', 'peft', 'llama_cpp') if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
