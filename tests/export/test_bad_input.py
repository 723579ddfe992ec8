"""What cannot be exported is refused in one line, before a byte is written."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter
from safetensors.numpy import load_file, save_file
from tiny_adapters import make_adapter
from tiny_models import make_tiny_model

from sparsedoctor.export.cli import main

PREFIX = "base_model.model.model.layers.1.mlp."


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "base", "llama")


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    return make_adapter(tmp_path / "adapter", base)


Refused = Callable[..., str]


@pytest.fixture
def refused(
    tmp_path: Path, adapter: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Runs an export that must fail; its one line. Nothing may be left behind."""

    def run(*more: str, adapter: Path = adapter, base: Path | str = base) -> str:
        output = tmp_path / "out" / "model.gguf"
        output.parent.mkdir(exist_ok=True)
        before = {path: path.read_bytes() for path in output.parent.iterdir()}
        words = ["--adapter", str(adapter), "--base", str(base), "--output", str(output), *more]
        capsys.readouterr()
        assert main(words) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        assert {path: path.read_bytes() for path in output.parent.iterdir()} == before
        return lines[0]

    return run


def edit(adapter: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, adapter / "adapter_model.safetensors")


def edit_json(file: Path, **changes: object) -> None:
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, **changes}))


def test_other_weights_of_the_same_shape_are_refused_by_hash(
    refused: Refused, tmp_path: Path
) -> None:
    other = make_tiny_model(tmp_path / "other", "llama", seed=7)
    line = refused(base=other)
    assert "another base" in line
    assert "sha256" in line
    assert "--any-base" in line


def test_other_weights_can_be_accepted(tmp_path: Path, adapter: Path) -> None:
    other = make_tiny_model(tmp_path / "other", "llama", seed=7)
    output = tmp_path / "any.gguf"
    words = ["--adapter", str(adapter), "--base", str(other), "--output", str(output)]
    assert main([*words, "--any-base"]) == 0
    assert output.stat().st_size > 100_000


@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        ({"hidden": 96}, "hidden size"),
        ({"layers": 3}, "layers"),
        ({"ffn": 96}, "feed-forward size"),
    ],
)
def test_a_base_of_another_shape_is_refused_by_the_size_that_differs(
    refused: Refused, tmp_path: Path, sizes: dict[str, int], named: str
) -> None:
    line = refused(base=make_tiny_model(tmp_path / "other", "llama", **sizes))
    assert named in line


def test_a_missing_tensor_is_named(refused: Refused, adapter: Path) -> None:
    edit(adapter, lambda tensors: tensors.pop(PREFIX + "lora_B_up"))
    assert "lacks the tensor model.layers.1.mlp.lora_B_up" in refused()


def test_an_unknown_tensor_is_named(refused: Refused, adapter: Path) -> None:
    edit(adapter, lambda t: t.update({PREFIX + "lora_strange": np.zeros(3, np.float32)}))
    assert "unknown tensor model.layers.1.mlp.lora_strange" in refused()


def test_what_only_training_needs_is_ignored(tmp_path: Path, adapter: Path, base: Path) -> None:
    zeros = np.zeros((2, 3), np.float32)
    extra = {PREFIX + "lora_projection": zeros, PREFIX + "lora_queue.default.keys": zeros}
    edit(adapter, lambda tensors: tensors.update(extra))
    words = ["--adapter", str(adapter), "--base", str(base), "--output", str(tmp_path / "m.gguf")]
    assert main(words) == 0


def test_a_mis_shaped_tensor_is_named_with_both_shapes(refused: Refused, adapter: Path) -> None:
    edit(adapter, lambda t: t.update({PREFIX + "lora_router": np.zeros((3, 64), np.float32)}))
    line = refused()
    assert "model.layers.1.mlp.lora_router is [3, 64], expected [4, 64]" in line


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_named(
    refused: Refused, adapter: Path, value: float
) -> None:
    edit(adapter, lambda tensors: tensors[PREFIX + "lora_A_gate"].__setitem__((0, 0, 0), value))
    line = refused()
    assert "model.layers.1.mlp.lora_A_gate" in line
    assert "not finite" in line


def test_a_base_with_values_that_are_not_finite_is_refused(
    refused: Refused, tmp_path: Path
) -> None:
    base = make_tiny_model(tmp_path / "nan", "llama")
    tensors = load_file(base / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"][5, 5] = np.nan
    save_file(tensors, base / "model.safetensors")
    line = refused("--any-base", base=base)
    assert "model.layers.0.mlp.up_proj.weight" in line


def test_an_unknown_format_version_is_refused(refused: Refused, adapter: Path) -> None:
    edit_json(adapter / "sparsedoctor.json", format_version="2.0")
    assert "format version 2.0" in refused()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format_version": "1.0"}', "\x00\x01", '{"format_version": null}']
)
def test_a_damaged_description_is_refused(refused: Refused, adapter: Path, content: str) -> None:
    (adapter / "sparsedoctor.json").write_text(content)
    assert "sparsedoctor.json" in refused()


@pytest.mark.parametrize("file", ["sparsedoctor.json", "adapter_model.safetensors"])
def test_an_adapter_folder_without_a_part_is_refused(
    refused: Refused, adapter: Path, file: str
) -> None:
    (adapter / file).unlink()
    assert file in refused()


def test_a_truncated_adapter_is_refused(refused: Refused, adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "damaged" in refused()


def test_a_missing_adapter_is_refused(refused: Refused, tmp_path: Path) -> None:
    assert "no adapter folder" in refused(adapter=tmp_path / "nowhere")


def test_a_missing_base_is_refused(refused: Refused) -> None:
    assert "there is no base model nowhere" in refused(base="nowhere")


def test_a_text_file_named_gguf_is_refused(refused: Refused, tmp_path: Path) -> None:
    fake = tmp_path / "fake.gguf"
    fake.write_text("I am a letter, not a model.\n" * 100)
    assert "is not a GGUF model file" in refused(base=fake)


def test_a_truncated_gguf_base_is_refused(
    refused: Refused, tmp_path: Path, smollm2_gguf: Path
) -> None:
    short = tmp_path / "short.gguf"
    with smollm2_gguf.open("rb") as file:
        short.write_bytes(file.read(40_000_000))
    assert "is damaged" in refused(base=short)


def test_a_safetensors_file_renamed_to_gguf_is_refused(
    refused: Refused, tmp_path: Path, base: Path
) -> None:
    renamed = (base / "model.safetensors").rename(tmp_path / "model.gguf")
    assert "is not a GGUF model file" in refused(base=renamed)


@pytest.mark.parametrize(
    ("architecture", "tensor", "kind", "named"),
    [
        ("gemma3", "token_embd", GGMLQuantizationType.F16, "has the architecture gemma3"),
        ("llama", "token_embd", GGMLQuantizationType.I16, "stores weights as I16"),
        ("llama", "output_norm", GGMLQuantizationType.F16, "no embedding"),
        ("llama", "token_embd", GGMLQuantizationType.F16, "lacks the tensor model.norm.weight"),
    ],
)
def test_a_gguf_of_the_wrong_kind_is_refused_by_name(
    refused: Refused,
    tmp_path: Path,
    architecture: str,
    tensor: str,
    kind: GGMLQuantizationType,
    named: str,
) -> None:
    path = tmp_path / "other.gguf"
    writer = GGUFWriter(path, architecture)
    for key, value in {
        "block_count": 2, "embedding_length": 64, "feed_forward_length": 128,
        "context_length": 512, "attention.head_count": 4,
    }.items():  # fmt: skip
        writer.add_uint32(f"{architecture}.{key}", value)
    writer.add_float32(f"{architecture}.attention.layer_norm_rms_epsilon", 1e-6)
    writer.add_tensor(f"{tensor}.weight", np.ones((8, 64), np.float16), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert named in refused(base=path)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda data: data[:-1000],
    "empty": lambda data: b"",
    "header longer than the file": lambda data: struct.pack("<Q", 1 << 40) + data[8:],
    "header longer than allowed": lambda data: struct.pack("<Q", 1 << 63) + data[8:],
    "no JSON": lambda data: data[:8] + b"?" * 100 + data[108:],
    "GGUF": lambda data: b"GGUF" + data[4:],
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("part", ["base", "adapter"])
def test_damaged_safetensors_are_refused(
    refused: Refused, base: Path, adapter: Path, part: str, damage: str
) -> None:
    name = "model.safetensors" if part == "base" else "adapter_model.safetensors"
    file = (base if part == "base" else adapter) / name
    file.write_bytes(DAMAGE[damage](file.read_bytes()))
    assert f"{file} is damaged" in refused()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (None, "lacks the tensor model.layers.1.mlp.down_proj.weight"),
        (np.zeros((64, 96), np.float32), "model.layers.1.mlp.down_proj.weight is [64, 96]"),
        (np.zeros((64, 128), np.int8), "has the type I8"),
        (np.full((64, 128), np.inf, np.float32), "not finite"),
    ],
    ids=["missing", "mis-shaped", "of integers", "infinite"],
)
def test_a_wrong_tensor_of_the_base_is_named(
    refused: Refused, base: Path, values: np.ndarray | None, named: str
) -> None:
    name = "model.layers.1.mlp.down_proj.weight"
    tensors = load_file(base / "model.safetensors")
    del tensors[name]
    save_file(tensors | ({} if values is None else {name: values}), base / "model.safetensors")
    line = refused("--any-base")
    assert named in line
    assert name in line


def test_a_base_that_is_a_mixture_already_is_refused(
    refused: Refused, tmp_path: Path, adapter: Path, base: Path
) -> None:
    mixture = tmp_path / "mixture.gguf"
    words = ["--adapter", str(adapter), "--base", str(base), "--output", str(mixture)]
    assert main(words) == 0
    assert "mixture of experts already" in refused(base=mixture)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": "gemma2"}, "gemma2"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"rope_scaling": {"rope_type": "longrope", "factor": 2.0}}, "longrope"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "dynamic"),
        ({"partial_rotary_factor": 0.5}, "rotates a part"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised"),
        ({"hidden_size": None}, "config.json"),
        ({"intermediate_size": 96}, "mlp.gate_proj.weight is [128, 64]"),
        ({"tie_word_embeddings": False}, "lm_head.weight"),
    ],
)
def test_a_base_that_cannot_be_represented_is_refused_by_name(
    refused: Refused, base: Path, changes: dict[str, object], named: str
) -> None:
    edit_json(base / "config.json", **changes)
    assert named in refused("--any-base")


def test_a_base_weight_without_a_place_is_refused_by_name(refused: Refused, base: Path) -> None:
    tensors = load_file(base / "model.safetensors")
    tensors["model.layers.0.mlp.gate_proj.bias"] = np.zeros(128, np.float32)
    save_file(tensors, base / "model.safetensors")
    assert "model.layers.0.mlp.gate_proj.bias" in refused("--any-base")


def test_an_unknown_splitting_rule_is_refused(refused: Refused, base: Path) -> None:
    file = base / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    tokenizer["pre_tokenizer"] = {"type": "Whitespace"}
    file.write_text(json.dumps(tokenizer))
    assert "splits words" in refused()


def test_a_base_without_a_tokenizer_is_refused(refused: Refused, base: Path) -> None:
    (base / "tokenizer.json").unlink()
    assert "tokenizer.json" in refused()


def test_a_missing_shard_is_refused(refused: Refused, tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "sharded", "llama", shards=3)
    (base / "model-00002-of-00003.safetensors").unlink()
    assert "lacks model-00002-of-00003.safetensors" in refused(base=base)


def test_an_existing_file_is_refused_without_force(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.gguf").write_bytes(b"precious")
    assert "--force" in refused()


def test_a_missing_folder_for_the_output_is_named(
    tmp_path: Path, adapter: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "no" / "such" / "model.gguf"
    assert main(["--adapter", str(adapter), "--base", str(base), "--output", str(output)]) == 2
    assert "there is no folder" in capsys.readouterr().err
