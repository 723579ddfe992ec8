"""The memory of a run is said before it is loaded, and what would make it fit."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tiny_models import make_tiny_model

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.data.batches import Packed
from sparsedoctor.train.data.encode import IGNORED, Encoded, EncodedData
from sparsedoctor.train.material import Material
from sparsedoctor.train.memory import BaseSize, base_size, check_memory, predict_memory
from sparsedoctor.train.settings import Settings, build_settings

SMOLLM2 = BaseSize(134_515_008, 576, 1536, 30, 9, 49_152, 30 * (4 * 576 + 2 * 192 + 2 * 576))


def _settings(**run: object) -> Settings:
    return build_settings({"run": dict(run), "experts": {"rank": 4, "shared_rank": 16}})


def test_every_part_has_the_size_its_formula_says() -> None:
    memory = predict_memory(_settings(), SMOLLM2, half=False, eager=False)
    trained = 30 * (3 * (4 * 4 + 16) * (576 + 1536) + 4 * 576 + 128 * 2 * 4)
    assert memory.weights == 4 * 134_515_008
    assert memory.experts == memory.gradients == 4 * trained
    assert memory.optimiser == 8 * trained
    assert memory.queue == 30 * 4 * 256 * (2 * 128 + 8)
    assert memory.total == sum(
        (
            memory.weights,
            4 * memory.experts,
            memory.queue,
            30 * 2048 * (4 * (2 * 1536 + 4 * 576 + 4 * 32) + 12 * 576),
            2048 * 49_152 * (4 + 12),
            30 * 512 * (4 * 256 + 512) * 12,  # keys of the memory and of the batch
        )
    )
    resident = predict_memory(_settings(), SMOLLM2, half=False, eager=False, resident=5 << 20)
    assert resident.total == memory.total + (155 << 20)


def test_only_learned_tokens_have_logits() -> None:
    def predict(learned: int) -> int:
        return predict_memory(
            _settings(batch=4),
            SMOLLM2,
            half=False,
            eager=False,
            learned=lambda rows: rows * learned,
        ).logits

    assert predict(10) == (4 * 10 + 1) * 49_152 * (4 + 12)
    assert predict(10_000) == 4 * 512 * 49_152 * (4 + 12)  # rows hold no more


def test_the_micro_step_that_learns_most_is_known_from_the_rows() -> None:
    def example(learned: int) -> Encoded:
        return Encoded([1] * 9, [IGNORED] * (9 - learned) + [1] * learned, None)

    examples = [example(n) for n in (2, 7, 1, 5)]
    encoded = EncodedData(examples, [])
    assert Material(examples, encoded, encoded).most_learned(2) == 12
    packed = [Packed((examples[1], examples[3])), Packed((examples[0], examples[2]))]
    assert Material(packed, encoded, encoded).most_learned(1) == 12


def test_each_lever_lowers_it() -> None:
    whole = predict_memory(_settings(), SMOLLM2, half=False, eager=False).total
    less = (
        predict_memory(_settings(batch=1), SMOLLM2, half=False, eager=False),
        predict_memory(_settings(gradient_checkpointing=True), SMOLLM2, half=False, eager=False),
        predict_memory(_settings(), SMOLLM2, half=True, eager=False),
    )
    assert all(memory.total < whole for memory in less)
    assert predict_memory(_settings(), SMOLLM2, half=False, eager=True).total > whole


@pytest.mark.parametrize(
    ("free_mib", "said"),
    [(2700, "--gradient-checkpointing"), (1300, "--batch 1"), (100, "use a smaller base")],
)
def test_what_does_not_fit_is_refused_with_the_setting_that_would(free_mib: int, said: str) -> None:
    settings = _settings(batch=4)
    predict = partial(predict_memory, base=SMOLLM2, half=False, eager=False)
    with pytest.raises(SparseDoctorError) as error:
        check_memory(settings, predict, free_mib << 20)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_size_of_the_real_base_is_read_without_loading_it(smollm2_gguf: object) -> None:
    size = base_size("smollm2")
    assert size == replace(SMOLLM2, parameters=size.parameters)
    assert abs(size.parameters - SMOLLM2.parameters) < 1e5


def _run(folder: Path, **flags: object) -> tuple[int, int]:
    """(predicted, measured) MiB of a run of a process of its own, every row as long as allowed."""
    line = {"question": "What is it?", "answer": "It is a disease of the airways. " * 99}
    data = folder / "long.jsonl"
    data.write_text((json.dumps(line) + "\n") * 12)
    given = {
        "data": data, "steps": 2, "evaluate_every": 0, "held_out_fraction": 0, "threads": 1,
        "device": "cpu", "rank": 4, "shared_rank": 16, "output": folder / "run",
    } | flags  # fmt: skip
    texts = [t for n, v in given.items() for t in ("--" + n.replace("_", "-"), str(v))]
    done = subprocess.run(
        [sys.executable, "-m", "sparsedoctor.train.cli", *texts], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"predicted ([\d,]+) MiB, peak ([\d,]+) MiB", done.stdout)
    assert found is not None
    predicted, measured = (int(text.replace(",", "")) for text in found.groups())
    return predicted, measured


def test_a_tiny_base_needs_what_is_predicted(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "base", "llama", hidden=32, ffn=48, heads=2, kv_heads=1)
    predicted, measured = _run(tmp_path, base=base, batch=4, max_tokens=96)
    assert predicted == pytest.approx(measured, rel=0.1)


def test_the_peak_is_not_that_of_a_large_parent() -> None:
    held = bytearray(600 << 20)
    held[::4096] = b"1" * len(held[::4096])
    code = "from sparsedoctor.train.memory import peak_memory; print(peak_memory(cuda=False))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 50 << 20 < int(done.stdout) < len(held)


def test_what_was_freed_before_is_no_part_of_the_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        pytest.skip(f"this system does not count a process's peak anew: {error}")
    code = (
        "from sparsedoctor.train.memory import peak_memory, restart_peak\n"
        "held = bytearray(400 << 20); held[::4096] = b'1' * len(held[::4096]); del held\n"
        "print(peak_memory(cuda=False)); restart_peak(cuda=False); print(peak_memory(cuda=False))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before - after > 300 << 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "batch", "max_tokens"), [("float32", 1, 128), ("float32", 4, 256),
                                           ("bfloat16", 2, 256)]
)  # fmt: skip
def test_the_real_base_needs_what_is_predicted(
    tmp_path: Path, smollm2_gguf: Path, precision: str, batch: int, max_tokens: int
) -> None:
    predicted, measured = _run(tmp_path, precision=precision, batch=batch, max_tokens=max_tokens)
    assert predicted == pytest.approx(measured, rel=0.1)
