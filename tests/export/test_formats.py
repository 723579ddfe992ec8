"""Number formats: llama.cpp's quantiser, what it keeps of the experts, the file it leaves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFReader, quants
from tiny_adapters import make_adapter
from tiny_models import PROMPTS, make_tiny_model

from sparsedoctor.core.bundle import read_bundle
from sparsedoctor.core.engine.quantize import quantize
from sparsedoctor.core.engine.rounding import rounded
from sparsedoctor.core.gguf_header import read_header
from sparsedoctor.export.adapter import Adapter
from sparsedoctor.export.base import open_base
from sparsedoctor.export.references import FileReference, open_engine
from sparsedoctor.export.signal import expert_signal, recommend
from sparsedoctor.export.types import FORMATS, decode, encode, fitting_type
from sparsedoctor.export.verify import THRESHOLDS, compare

Export = Callable[..., Path]


@pytest.fixture
def wide(tmp_path: Path) -> tuple[Path, Path]:
    """Wide enough for the blocks of K-quants."""
    base = make_tiny_model(tmp_path / "wide", "llama", hidden=256, ffn=512)
    sizes = {"hidden": 256, "ffn": 512, "query": 256, "key": 128}
    return base, make_adapter(tmp_path / "wide-adapter", base, **sizes)


@pytest.mark.parametrize("name", ["q6_k", "q5_k_m", "q4_k_m"])
def test_a_k_quant_file_is_whole_sealed_and_close(
    export: Export, wide: tuple[Path, Path], name: str, tmp_path: Path
) -> None:
    base, adapter = wide
    exact = export("--type", "f32", base=base, adapter=adapter, name="exact.gguf")
    path = export("--type", name, base=base, adapter=adapter, name=f"{name}.gguf")
    header, bundle = read_header(path), read_bundle(path)
    kinds = {info.name: info.type_name for info in header.tensors.values()}
    assert kinds["blk.0.ffn_gate_inp.weight"] == "F32"
    assert kinds["blk.0.ffn_up_exps.weight"] == name.upper().removesuffix("_M")
    assert header.metadata["general.file_type"] == int(FORMATS[name].file_type)
    assert bundle is not None
    data = path.read_bytes()[header.data_offset :]
    assert bundle.tensors_sha256 == hashlib.sha256(data).hexdigest()
    assert sorted(file.name for file in tmp_path.glob(".*")) == []
    engine, reference = open_engine(path, threads=1), FileReference(exact)
    try:
        report = compare(engine, reference, PROMPTS, THRESHOLDS[name])
    finally:
        engine.close()
        reference.close()
    assert 1e-4 < report.difference.relative_error < 0.5  # random weights feel rounding most


@pytest.mark.parametrize(
    "name", ["F16", "BF16", "Q8_0", "Q5_1", "Q4_1", "Q6_K", "Q4_K_M", "Q3_K_M", "Q2_K", "IQ4_XS"]
)
def test_a_base_of_any_quantisation_is_read_as_gguf_py_reads_it(
    export: Export, wide: tuple[Path, Path], name: str, tmp_path: Path
) -> None:
    base, adapter = wide
    words = ("--layout", "experts", "--type", "f32")
    dense = export(*words, base=base, adapter=adapter, name="dense") / "expert-1.gguf"
    path = tmp_path / "quantised.gguf"
    quantize(dense, path, name)
    opened = open_base(path)
    stored = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    kinds = set()
    for part, short in (("mlp.gate_proj", "ffn_gate"), ("self_attn.o_proj", "attn_output")):
        tensor = stored[f"blk.1.{short}.weight"]
        expected = quants.dequantize(tensor.data, tensor.tensor_type)
        rows = opened.rows(f"model.layers.1.{part}.weight", 3, 200)
        np.testing.assert_array_equal(rows, expected[3:200])
        kinds.add(tensor.tensor_type.name)
    opened.close()
    assert any(kind.startswith(name.removesuffix("_M")) for kind in kinds), kinds
    again = make_adapter(tmp_path / "again", path, hidden=256, ffn=512, query=256, key=128)
    assert read_bundle(export(base=path, adapter=again, name="from-quantised.gguf"))


def test_the_temporary_disk_is_stated_beforehand(
    export: Export, wide: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    base, adapter = wide
    export("--type", "q4_k_m", base=base, adapter=adapter)
    assert "MB of temporary disk" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [Kind.F16, Kind.BF16, Kind.Q8_0, Kind.Q4_0])
def test_our_encoding_rounds_as_llama_cpp_does(kind: Kind) -> None:
    values = np.random.default_rng(0).standard_normal((7, 96)).astype(np.float32)
    ours = decode(encode(values, kind), values.shape, kind)
    np.testing.assert_allclose(ours, rounded(values, kind), rtol=1e-6, atol=1e-7)


def test_rows_that_do_not_fill_blocks_get_a_type_they_fill() -> None:
    assert fitting_type(Kind.Q4_K, 576) is Kind.Q5_0
    assert fitting_type(Kind.Q4_K, 512) is Kind.Q4_K
    assert fitting_type(Kind.Q8_0, 100) is Kind.F16


def test_the_signal_falls_with_coarser_formats_and_smaller_deltas(tmp_path: Path) -> None:
    base_path = make_tiny_model(tmp_path / "base", "llama", hidden=256, ffn=512)
    base = open_base(base_path)
    sizes = {"hidden": 256, "ffn": 512, "query": 256, "key": 128}
    large = Adapter(make_adapter(tmp_path / "l", base_path, size=0.5, **sizes), base.shape)
    small = Adapter(make_adapter(tmp_path / "s", base_path, size=0.002, **sizes), base.shape)
    names = ("f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0")
    weakest = [expert_signal(base, large, FORMATS[name]).weakest for name in names]
    assert weakest == sorted(weakest, reverse=True)
    assert expert_signal(base, large, FORMATS["q4_0"]).keeps_experts
    assert not expert_signal(base, small, FORMATS["q4_0"]).keeps_experts
    assert expert_signal(base, small, FORMATS["f32"]).keeps_experts
    assert recommend(base, large) == "q4_0"
    assert recommend(base, small) in ("q8_0", "f16")
    base.close()


def test_the_signal_is_measured_against_a_dumb_loop(tmp_path: Path) -> None:
    """Every row counted, one expert at a time; the sample is close to it."""
    base_path = make_tiny_model(tmp_path / "base", "llama")
    base = open_base(base_path)
    adapter = Adapter(make_adapter(tmp_path / "a", base_path, size=0.05), base.shape)
    found = expert_signal(base, adapter, FORMATS["q4_0"]).signal
    for layer in range(2):
        for expert in range(4):
            above, below = 0.0, 0.0
            for projection in ("gate", "up", "down"):
                name = f"model.layers.{layer}.mlp.{projection}_proj.weight"
                rows = base.shape.tensor_shapes()[name][0]
                b, a = adapter.expert_delta(layer, projection, expert)
                merged = base.rows(name, 0, rows) + b @ a
                onto = a.T @ np.linalg.inv(a @ a.T) @ a  # projection on the rows of A
                above += float(np.square(b @ a).sum())
                below += float(np.square((rounded(merged, Kind.Q4_0) - merged) @ onto).sum())
            assert found[layer, expert] == pytest.approx((above / below) ** 0.5, rel=0.35)
    base.close()


def test_a_format_that_loses_the_experts_warns_and_names_a_better_one(
    export: Export, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faint = make_adapter(tmp_path / "faint", base, size=0.003)
    export("--type", "q4_0", adapter=faint)
    told = capsys.readouterr()
    assert "warning: q4_0 rounds away" in told.err
    assert "is the smallest type that keeps it" in told.err
    assert told.out.count("layer ") == 2
    strong = make_adapter(tmp_path / "strong", base, size=0.5)
    export("--type", "q8_0", "--force", adapter=strong)
    assert "warning" not in capsys.readouterr().err
