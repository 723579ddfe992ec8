"""What every number format takes to export, and what it costs: time, memory, speed, quality.

    python benchmarks/export.py --adapter export/default_adapter --base smollm2 \\
        --quality medquad_dev.jsonl.gz --importance medquad_train.jsonl.gz
    python benchmarks/export.py --adapter ... --base smollm2 --verify
    python benchmarks/export.py --shape tiny-qwen3 --verify       what `verify` finds
    python benchmarks/export.py --shape qwen3-1.7b --types q8_0   a large model, random weights

Time and memory are of the whole command, Python's start included, beside the speed at which the
same disk takes plain bytes; K-quants have a second process, llama.cpp's quantiser, which maps its
float32 source, and the larger of the two peaks counts. The files stay until the table is printed,
no longer. The random model of --shape qwen3-1.7b takes 10 GB of memory to make.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export_quality import Quality, qualities, rates

from sparsedoctor.core.errors import SparseDoctorError, run_command
from sparsedoctor.export.mixture import WEIGHED

TESTS = Path(__file__).resolve().parent.parent / "tests"
_TINY = {"hidden": 256, "ffn": 512, "layers": 2, "heads": 4, "kv_heads": 2, "vocab": 512}
SHAPES: dict[str, dict[str, Any]] = {
    "tiny-llama": {"family": "llama", **_TINY},
    "tiny-qwen2": {"family": "qwen2", **_TINY},
    "tiny-qwen3": {"family": "qwen3", **_TINY},
    "qwen3-1.7b": {
        "family": "qwen3", "hidden": 2048, "ffn": 6144, "layers": 28, "heads": 16, "kv_heads": 8,
        "head_dim": 128, "vocab": 151936, "dtype": "bfloat16", "shards": 4,
    },
}  # fmt: skip
DISK_BYTES = 1 << 30
_RUN = """
import resource, sys, time
began = time.perf_counter()
from sparsedoctor.export.cli import main
code = main(sys.argv[1:])
peak = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0]
quantiser = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print("\\nMEASURED", code, time.perf_counter() - began, max(int(peak), quantiser) / 1024)
"""


@dataclass(frozen=True, slots=True)
class Exported:
    """One export, as measured."""

    kind: str
    file: Path
    size: int  # bytes
    seconds: float
    peak: float  # MiB

    def row(self) -> str:
        """As the first columns of every table."""
        megabytes = self.size / 1e6
        return (
            f"| {self.kind} | {megabytes:.0f} | {self.seconds:.1f} | "
            f"{megabytes / self.seconds:.0f} | {self.peak:.0f} |"
        )


def main() -> int:
    """Export in each format and print the table."""
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        adapter, base = options.adapter, options.base
        if options.shape:
            adapter, base = _random_model(folder, SHAPES[options.shape])
        print(f"disk: {_disk_speed(folder):.0f} MB/s (1 GiB of plain writing, with fsync)\n")
        keep = options.quality is not None or options.verify
        exports = []
        for kind, importance in _kinds(options):
            exports.append(_export(folder, kind, adapter, base, importance))
            if not keep:
                exports[-1].file.unlink()
        print("| type | MB | seconds | MB/s | peak MB |", end="")
        if options.quality:
            _print_quality(exports, options)
        elif options.verify:
            print(" relative error | KL | top-1 | routing |\n" + "|---" * 9 + "|")
            _rows(exports, lambda one: _verified(one.file, exports[0].file))
        else:
            print("\n" + "|---" * 5 + "|")
            _rows(exports, lambda one: "")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--shape", choices=SHAPES, help="random weights instead of an adapter")
    parser.add_argument("--types", default="f32,f16,bf16,q8_0,q6_k,q5_k_m,q4_k_m,q4_0")
    parser.add_argument(
        "--quality", type=Path, metavar="DATA",
        help="tokens/s, and the loss on held-out answers (JSON lines, .gz)",
    )  # fmt: skip
    parser.add_argument("--answers", type=int, default=100, help="how many of them (default: 100)")
    parser.add_argument("--rounds", type=int, default=5, help="answers timed (default: 5)")
    parser.add_argument(
        "--importance", type=Path, metavar="TEXTS",
        help="also the types that take an importance matrix with one computed on these texts",
    )  # fmt: skip
    parser.add_argument("--verify", action="store_true", help="what `verify` finds beside float32")
    parser.add_argument("--folder", type=Path, default=Path(), help="the disk to write to")
    options = parser.parse_args()
    if (options.adapter is None) == (options.shape is None):
        raise SparseDoctorError("give --adapter DIR or --shape NAME")
    if (options.quality or options.verify) and not options.types.startswith("f32"):
        raise SparseDoctorError("the first of --types must be f32: the others are compared with it")
    return options


def _kinds(options: argparse.Namespace) -> Iterator[tuple[str, Path | None]]:
    """Each type, and after it the same with an importance matrix where that can be."""
    for kind in options.types.split(","):
        yield kind, None
        if options.importance and kind in WEIGHED:
            yield kind, options.importance


def _print_quality(exports: list[Exported], options: argparse.Namespace) -> None:
    files = [one.file for one in exports]
    found: list[Quality] = qualities(files, options.quality, options.answers)
    speeds = rates(files, options.rounds)
    print(" tokens/s | perplexity | KL | top-1 | routing | relative error |\n" + "|---" * 11 + "|")
    ends = {
        one.kind: f" {speed:.0f} |{quality.row()}"
        for one, speed, quality in zip(exports, speeds, found, strict=True)
    }
    _rows(exports, lambda one: ends[one.kind])
    print(f"\n{options.answers} answers of {options.quality.name}, {found[0].tokens} tokens")


def _rows(exports: list[Exported], end: Callable[[Exported], str]) -> None:
    for one in exports:
        print(one.row() + end(one), flush=True)


def _random_model(folder: Path, shape: dict[str, Any]) -> tuple[Path, Path]:
    """Adapter and base; the base is held in float32 while it is made."""
    sys.path.insert(0, str(TESTS))
    from tiny_adapters import make_adapter
    from tiny_models import make_tiny_model

    base = make_tiny_model(folder / "base", **shape)
    width = shape.get("head_dim", shape["hidden"] // shape["heads"])
    adapter = make_adapter(
        folder / "adapter", base, hidden=shape["hidden"], ffn=shape["ffn"],
        layers=shape["layers"], query=shape["heads"] * width, key=shape["kv_heads"] * width,
        rank=8, family=shape["family"],
    )  # fmt: skip
    return adapter, base


def _export(
    folder: Path, kind: str, adapter: Path, base: Path | str, importance: Path | None
) -> Exported:
    name = f"{kind}, importance" if importance else kind
    output = folder / f"{name}.gguf"
    words = ["--adapter", str(adapter), "--base", str(base), "--output", str(output)]
    words += ["--importance", str(importance)] if importance else []
    command = [sys.executable, "-c", _RUN, *words, "--type", kind]
    done = subprocess.run(command, capture_output=True, text=True)
    marked = [line for line in done.stdout.splitlines() if line.startswith("MEASURED 0")]
    if not marked:
        raise SparseDoctorError(done.stderr.strip().splitlines()[-1])
    _, _, seconds, peak = marked[0].split()
    return Exported(name, output, output.stat().st_size, float(seconds), float(peak))


def _verified(file: Path, exact: Path) -> str:
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
        for _ in range(DISK_BYTES >> 20):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    seconds = time.perf_counter() - began
    path.unlink()
    return DISK_BYTES / 1e6 / seconds


if __name__ == "__main__":
    sys.exit(run_command(main))
