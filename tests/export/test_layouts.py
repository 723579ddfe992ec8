"""The other layouts: a Hugging Face mixture, dense experts, the adapter itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_adapters import make_adapter
from tiny_models import PROMPTS, make_tiny_model

from sparsedoctor.core.engine.protocol import EngineSettings
from sparsedoctor.core.gguf_header import read_header
from sparsedoctor.export import safetensors_writer
from sparsedoctor.export.base import open_base, read
from sparsedoctor.export.cli import main
from sparsedoctor.export.compare import difference, join

Export = Callable[..., Path]


def logits_of(folder: Path, tokens: list[list[int]]) -> list[np.ndarray]:
    import torch
    from transformers import AutoModelForCausalLM

    model, told = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    assert not told["mismatched_keys"]
    model.eval()
    with torch.no_grad():
        return [model(torch.tensor([ids])).logits[0].numpy() for ids in tokens]


@pytest.mark.parametrize(
    ("family", "architecture", "model", "trained"),
    [
        ("llama", "MixtralForCausalLM", {}, {"shared_rank": 2}),
        (
            "mistral",
            "MixtralForCausalLM",
            {"tied": False, "head_dim": 32},
            {"query": 128, "key": 64, "attention_rank": 2},
        ),
        ("qwen2", "Qwen2MoeForCausalLM", {}, {"attention_rank": 2}),
        ("qwen3", "Qwen3MoeForCausalLM", {"tied": False}, {"experts": 3}),
    ],
)
def test_transformers_loads_the_mixture_and_computes_the_same(
    tmp_path: Path,
    export: Export,
    family: Any,
    architecture: str,
    model: dict[str, Any],
    trained: dict[str, Any],
) -> None:
    pytest.importorskip("peft", reason="needs sparsedoctor[train]")
    from transformers import AutoTokenizer

    from sparsedoctor.export.references import TorchReference

    base = make_tiny_model(tmp_path / family, family, **model)
    adapter = make_adapter(tmp_path / "trained", base, family=family, **trained)
    words = ("--layout", "hf", "--type", "f32")
    folder = export(*words, base=base, adapter=adapter, name="mixture")
    assert json.loads((folder / "config.json").read_text())["architectures"] == [architecture]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in PROMPTS]
    reference = TorchReference(base, adapter)
    expected = [reference.evaluate(ids).logits for ids in tokens]
    found = join(
        [difference(e, f) for e, f in zip(expected, logits_of(folder, tokens), strict=True)]
    )
    assert found.relative_error < 1e-4
    assert found.agreement == 1.0


def test_a_gguf_base_gives_a_tokenizer_that_cuts_alike(tmp_path: Path, smollm2_gguf: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    from sparsedoctor.core.engine.child import ChildEngine
    from sparsedoctor.export.hf_tokenizer import write_tokenizer

    base = open_base(smollm2_gguf)
    write_tokenizer(base, tmp_path)
    base.close()
    rebuilt = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    engine = ChildEngine(smollm2_gguf, EngineSettings(context=256, threads=1))
    try:
        for prompt in (*PROMPTS, "<|im_start|>user\nHi 2024!<|im_end|>"):
            assert rebuilt.encode(prompt).ids == engine.tokenize(prompt, control=True)
    finally:
        engine.close()
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["eos_token"] == "<|im_end|>"
    assert "<|im_start|>" in config["chat_template"]


def test_big_checkpoints_are_split_and_indexed(
    export: Export, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(safetensors_writer.write_shards, "__kwdefaults__", {"shard_bytes": 100_000})
    folder = export("--layout", "hf", "--type", "bf16", name="sharded")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    files = sorted(set(index["weight_map"].values()))
    assert len(files) > 2
    assert files == sorted(file.name for file in folder.glob("*.safetensors"))


def test_hf_refuses_what_it_cannot_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = make_tiny_model(tmp_path / "biased", "llama", bias=True)
    adapter = make_adapter(tmp_path / "adapter", base)
    words = ["--adapter", str(adapter), "--base", str(base), "--layout", "hf"]
    words += ["--output", str(tmp_path / "out")]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "no place for model.layers.0.self_attn.q_proj.bias" in told
    assert main([*words, "--type", "q8_0"]) == 2
    assert "f32, f16 or bf16" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_each_dense_expert_is_a_whole_model(export: Export, base: Path, adapter: Path) -> None:
    folder = export("--layout", "experts", "--type", "f32", name="experts")
    routing = json.loads((folder / "routing.json").read_text())
    assert [row["file"] for row in routing["experts"]] == [
        f"expert-{number}.gguf" for number in (1, 2, 3, 4)
    ]
    assert routing["expert_used_count"] == 2
    routers = load_file(folder / routing["routers"])
    stored = load_file(adapter / "adapter_model.safetensors")
    np.testing.assert_array_equal(
        routers["layers.1.router"], stored["base_model.model.model.layers.1.mlp.lora_router"]
    )
    dense = open_base(folder / "expert-3.gguf")
    source = open_base(base)
    name = "model.layers.0.mlp.down_proj.weight"
    at = "base_model.model.model.layers.0.mlp.lora_"
    expected = (
        read(source, name)
        + 2.0 * stored[f"{at}shared_B_down"] @ stored[f"{at}shared_A_down"]
        + 2.0 * stored[f"{at}B_down"][2] @ stored[f"{at}A_down"][2]
    )
    np.testing.assert_allclose(read(dense, name), expected, rtol=1e-5, atol=1e-6)
    # Read back, a GGUF's query rows are in the order of the folder again.
    name = "model.layers.1.self_attn.q_proj.weight"
    at = "base_model.model.model.layers.1.self_attn.q_proj.lora_"
    expected = read(source, name) + 2.0 * stored[f"{at}B.weight"] @ stored[f"{at}A.weight"]
    np.testing.assert_allclose(read(dense, name), expected, rtol=1e-5, atol=1e-6)
    dense.close()
    source.close()


def test_the_adapter_layout_is_the_adapter(export: Export, adapter: Path) -> None:
    folder = export("--layout", "adapter", name="again")
    for name in ("adapter_config.json", "adapter_model.safetensors", "sparsedoctor.json"):
        assert (folder / name).read_bytes() == (adapter / name).read_bytes()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--layout", "adapter", "--type", "q4_0"], "leave --type out"),
        (["--layout", "hf", "--modelfile"], "--modelfile is for the layout moe"),
        (["--modelfile"], "Modelfile exists already"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(
    base: Path,
    adapter: Path,
    tmp_path: Path,
    more: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "Modelfile").write_text("FROM another\n")
    output = tmp_path / "model"
    words = ["--adapter", str(adapter), "--base", str(base), "--output", str(output), *more]
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert not output.exists()
    assert (tmp_path / "Modelfile").read_text() == "FROM another\n"


def test_a_run_is_no_adapter_and_its_adapter_is_named(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text("{}")
    output = str(tmp_path / "model.gguf")
    assert main(["--adapter", str(tmp_path), "--base", str(base), "--output", output]) == 2
    assert f"its adapter is {tmp_path / 'adapter'}" in capsys.readouterr().err


def test_training_goes_on_with_the_adapter_layout(
    tmp_path: Path, export: Export, base: Path
) -> None:
    torch = pytest.importorskip("torch", reason="needs sparsedoctor[train]")
    pytest.importorskip("peft", reason="needs sparsedoctor[train]")
    from sparsedoctor.core.moe.adapter import load_adapter, save_adapter
    from sparsedoctor.core.moe.adapter_description import AdapterDescription
    from sparsedoctor.core.moe.base import load_base

    folder = export("--layout", "adapter", name="again")
    loaded = load_base(str(base), torch.float32)
    model = load_adapter(loaded, folder, trainable=True)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert any("lora_router" in name for name in trained)
    assert all("lora_" in name for name in trained)
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-3)
    tokens = torch.tensor([loaded.tokenizer(PROMPTS[3])["input_ids"]])
    losses = []
    for _ in range(8):
        loss = model(input_ids=tokens, labels=tokens).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.1
    save_adapter(model, tmp_path / "further", AdapterDescription.read(folder))
    before, after = (
        load_file(export("--type", "f32", "--layout", "hf", adapter=a, name=a.name + "-hf")
                  / "model.safetensors")
        for a in (folder, tmp_path / "further")
    )  # fmt: skip
    name = "model.layers.0.block_sparse_moe.experts.1.w2.weight"
    assert 0 < np.abs(after[name] - before[name]).max() < 0.1


@pytest.mark.parametrize("layout", ["experts", "hf", "adapter"])
def test_a_folder_is_replaced_only_on_request_and_only_an_export(
    export: Export,
    base: Path,
    adapter: Path,
    tmp_path: Path,
    layout: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = export("--layout", layout, name="out")
    words = ["--adapter", str(adapter), "--base", str(base), "--layout", layout, "--output"]
    assert main([*words, str(folder)]) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*words, str(folder), "--force"]) == 0
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "letter.txt").write_text("dear")
    assert main([*words, str(precious), "--force"]) == 2
    assert (precious / "letter.txt").read_text() == "dear"


def test_a_gguf_written_from_a_folder_is_a_base_with_the_same_header(export: Export) -> None:
    folder = export("--layout", "experts", "--type", "f16", name="experts")
    header = read_header(folder / "expert-1.gguf")
    assert header.architecture == "llama"
    assert "llama.expert_count" not in header.metadata
    assert header.metadata["llama.rope.dimension_count"] == 16
