"""The benchmark runs, ends with one object, and has the figures under their names."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from engine.small_gguf import SmallModel

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "engine.py"


def test_the_benchmark_ends_with_one_object(moe: SmallModel, dense: SmallModel) -> None:
    command = [sys.executable, str(SCRIPT), "--json", "--model", str(moe.path)]
    command += ["--base", str(dense.path), "--rounds", "1", "--tokens", "8", "--cancels", "2"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert set(found) == {
        "generate_over_plain",
        "second_turn_over_cold",
        "cancel_decode_ms",
        "cancel_prefill_ms",
        "bandwidth_share",
        "load_s",
    }
    for key in ("cancel_decode_ms", "cancel_prefill_ms"):
        assert 0 < found[key]["median"] <= found[key]["worst"]
    assert set(found["bandwidth_share"]) == {"moe", "base"}
    assert all(value > 0 for value in found["bandwidth_share"].values())
    assert min(found["generate_over_plain"], found["second_turn_over_cold"], found["load_s"]) > 0


def test_the_active_bytes_are_those_a_token_reads(moe: SmallModel) -> None:
    """By hand: all float32, tied output, two of four experts."""
    spec = importlib.util.spec_from_file_location("engine_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["engine_benchmark"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    expected = sum(
        weight.nbytes // 2 if "_exps." in name else weight.nbytes
        for name, weight in moe.weights.items()
    )
    assert module.active_bytes(moe.path) == expected
