"""llama.cpp's quantiser behind one function: right types, nothing half written."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from engine.small_gguf import LAYERS, SmallModel

from sparsedoctor.core.engine.child import ChildEngine
from sparsedoctor.core.engine.protocol import EngineSettings
from sparsedoctor.core.engine.quantize import quantize
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.gguf_header import read_header


def test_the_result_is_smaller_close_and_keeps_the_router(moe: SmallModel, tmp_path: Path) -> None:
    result, steps = tmp_path / "q8.gguf", list[tuple[int, int]]()
    quantize(moe.path, result, "Q8_0", progress=lambda done, whole: steps.append((done, whole)))
    tensors = read_header(result).tensors
    assert {tensors[f"blk.{i}.ffn_gate_inp.weight"].type_name for i in range(LAYERS)} == {"F32"}
    assert tensors["blk.0.ffn_up_exps.weight"].type_name == "Q8_0"
    assert steps[-1] == (len(tensors), len(tensors))
    logits = []
    for path in (moe.path, result):
        engine = ChildEngine(path, EngineSettings(context=256, threads=1))
        logits.append(engine.evaluate(range(100, 160)).logits)
        engine.close()
    assert 0 < np.linalg.norm(logits[0] - logits[1]) / np.linalg.norm(logits[0]) < 0.2


def test_an_importance_matrix_changes_the_result(moe: SmallModel, tmp_path: Path) -> None:
    plain, weighted = tmp_path / "plain.gguf", tmp_path / "weighted.gguf"
    random = np.random.default_rng(0)
    importance = {
        name: random.random(
            weight.shape[-1] * (weight.shape[0] if weight.ndim == 3 else 1), dtype=np.float32
        )
        for name, weight in moe.weights.items()
        if weight.ndim > 1
    }
    quantize(moe.path, plain, "Q4_0")
    quantize(moe.path, weighted, "Q4_0", imatrix=importance)
    assert plain.stat().st_size < moe.path.stat().st_size / 2
    assert plain.read_bytes()[-100_000:] != weighted.read_bytes()[-100_000:]


def test_a_source_that_is_quantised_already_is_refused(smollm2_gguf: Path, tmp_path: Path) -> None:
    result = tmp_path / "again.gguf"
    with pytest.raises(SparseDoctorError, match="requantizing") as caught:
        quantize(smollm2_gguf, result, "Q4_0")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cause", ["type", "missing", "text", "itself", "folder"])
def test_bad_input_gives_one_line_and_writes_nothing(
    moe: SmallModel, tmp_path: Path, cause: str
) -> None:
    text = tmp_path / "text.gguf"
    text.write_text("hello")
    source, result, kind = moe.path, tmp_path / "new.gguf", "Q8_0"
    if cause == "type":
        kind = "Q3_X"
    elif cause == "missing":
        source = tmp_path / "none.gguf"
    elif cause == "text":
        source = text
    elif cause == "itself":
        result = source
    else:
        result = tmp_path / "no" / "folder" / "new.gguf"
    before = moe.path.read_bytes()[:1000]
    with pytest.raises(SparseDoctorError) as caught:
        quantize(source, result, kind)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [text]
    assert moe.path.read_bytes()[:1000] == before


def test_cancelling_leaves_the_old_file(moe: SmallModel, tmp_path: Path) -> None:
    result = tmp_path / "new.gguf"
    result.write_text("old")
    cancelled = threading.Event()
    with pytest.raises(SparseDoctorError, match="cancelled"):
        quantize(
            moe.path, result, "Q4_K_M", progress=lambda *_: cancelled.set(), cancelled=cancelled
        )
    assert result.read_text() == "old"
    assert list(tmp_path.iterdir()) == [result]
