"""Size, time, memory and distance to float32 of every number format; bytes a second.

    python benchmarks/export.py --adapter export/default_adapter --base smollm2
    python benchmarks/export.py --shape qwen3-1.7b        random weights, made for the occasion

Prints one row a format as a Markdown table, beside the disk's own write speed. Nothing is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
SHAPES = {
    "tiny": {"hidden": 256, "ffn": 512, "layers": 2, "heads": 4, "kv_heads": 2, "vocab": 512},
    "qwen3-1.7b": {
        "hidden": 2048, "ffn": 6144, "layers": 28, "heads": 16, "kv_heads": 8,
        "head_dim": 128, "vocab": 151936,
    },
}  # fmt: skip
_RUN = """
import sys, time
began = time.perf_counter()
from sparsedoctor.export.cli import main
code = main(sys.argv[1:])
peak = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0]
print("\\nMEASURED", code, time.perf_counter() - began, int(peak) / 1024)
"""


def main() -> int:
    """Export in each format and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--shape", choices=SHAPES, help="random weights instead of an adapter")
    parser.add_argument("--types", default="f32,f16,bf16,q8_0,q6_k,q5_k_m,q4_k_m,q4_0")
    parser.add_argument("--verify", action="store_true", help="also compare with float32")
    parser.add_argument("--folder", type=Path, default=Path(), help="the disk to write to")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        adapter, base = options.adapter, options.base
        if options.shape:
            adapter, base = _random_model(folder, options.shape)
        print(f"disk: {_disk_speed(folder):.0f} MB/s (256 MB, with fsync)\n")
        print("| type | MB | seconds | MB/s | peak MB | relative error | KL | top-1 | routing |")
        print("|---|---|---|---|---|---|---|---|---|")
        for kind in options.types.split(","):
            output = folder / f"{kind}.gguf"
            words = ["--adapter", str(adapter), "--base", str(base), "--output", str(output)]
            seconds, peak = _measured([*words, "--type", kind])
            size = output.stat().st_size / 1e6
            row = f"| {kind} | {size:.0f} | {seconds:.1f} | {size / seconds:.0f} | {peak:.0f} |"
            print(row + (_distance(output, folder / "f32.gguf") if options.verify else " | | | |"))
            if kind != "f32":
                output.unlink()
    return 0


def _random_model(folder: Path, shape: str) -> tuple[Path, Path]:
    """Made layer by layer would be kinder to memory; a run needs the model's size in float32."""
    sys.path.insert(0, str(TESTS))
    from tiny_adapters import make_adapter
    from tiny_models import make_tiny_model

    sizes = SHAPES[shape]
    base = make_tiny_model(folder / "base", "qwen3", dtype="bfloat16", shards=4, **sizes)
    width = sizes.get("head_dim", sizes["hidden"] // sizes["heads"])
    adapter = make_adapter(
        folder / "adapter", base, hidden=sizes["hidden"], ffn=sizes["ffn"],
        layers=sizes["layers"], query=sizes["heads"] * width, key=sizes["kv_heads"] * width,
        rank=8, family="qwen3",
    )  # fmt: skip
    return adapter, base


def _measured(words: list[str]) -> tuple[float, float]:
    done = subprocess.run([sys.executable, "-c", _RUN, *words], capture_output=True, text=True)
    marked = [line for line in done.stdout.splitlines() if line.startswith("MEASURED 0")]
    if not marked:
        raise SystemExit(done.stderr)
    _, _, seconds, peak = marked[0].split()
    return float(seconds), float(peak)


def _distance(file: Path, exact: Path) -> str:
    if not exact.exists():
        raise SystemExit("--verify needs f32 as the first of --types")
    words = ["verify", str(file), "--against", str(exact), "--json"]
    command = [sys.executable, "-m", "sparsedoctor.export.cli", *words]
    report = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    return (
        f" {report['relative_error']:.1e} | {report['kl_divergence']:.1e} | "
        f"{report['top1_agreement']:.1%} | {report['routing_agreement']:.1%} |"
    )


def _disk_speed(folder: Path) -> float:
    """MB a second of plain writing."""
    path, block = folder / "plain", os.urandom(1 << 20)
    began = time.perf_counter()
    with path.open("wb") as file:
        for _ in range(256):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    seconds = time.perf_counter() - began
    path.unlink()
    return 256 * 1.048576 / seconds


if __name__ == "__main__":
    sys.exit(main())
