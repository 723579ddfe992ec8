"""`sparsedoctor-export --adapter ... --base ... --output ...`: one model in the chosen layout."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sparsedoctor.core.base_models import find_base
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.export.adapter import Adapter
from sparsedoctor.export.adapter_layout import export_adapter
from sparsedoctor.export.base import Base
from sparsedoctor.export.dense_experts import export_experts
from sparsedoctor.export.hf_layout import export_hugging_face
from sparsedoctor.export.mixture import ExportSettings, export_mixture
from sparsedoctor.export.modelfile import modelfile_place, write_modelfile
from sparsedoctor.export.progress import progress_bar
from sparsedoctor.export.signal import THRESHOLD, SignalReport, recommend
from sparsedoctor.export.types import FORMATS

_EPILOG = """\
layouts:
  moe       one GGUF file with every expert and the router (default)
  experts   a folder with one dense GGUF per expert and their routing as JSON
  hf        a Hugging Face folder for transformers, vLLM and SGLang (--type f32, f16 or bf16)
  adapter   the checked adapter itself, to go on training

other commands, each with its own --help:
  sparsedoctor-export default     assemble the default model, if it is not there yet
  sparsedoctor-export verify      compare an exported file with the model it came from
  sparsedoctor-export inspect     say what a GGUF file is
  sparsedoctor-export calibrate   find out what each expert attends to and note it in the file
"""


def run(words: Sequence[str]) -> int:
    """Parse, export, report."""
    options = _parser().parse_args(words)
    kind = options.type or ("bf16" if options.layout == "hf" else "q8_0")
    settings = ExportSettings(
        adapter=options.adapter,
        base=find_base(options.base),
        output=options.output,
        format=FORMATS[kind],
        force=options.force,
        any_base=options.any_base,
        label=options.label,
        importance=options.importance,
    )
    if options.importance and options.layout != "moe":
        raise SparseDoctorError("--importance is for the layout moe alone")
    if options.layout == "adapter" and options.type:
        raise SparseDoctorError("--layout adapter copies its numbers; leave --type out")
    if options.modelfile:
        if options.layout != "moe":
            raise SparseDoctorError("--modelfile is for the layout moe alone")
        modelfile_place(options.output, force=options.force)  # before anything is written
    with progress_bar() as start:
        if options.layout == "experts":
            path = export_experts(settings, start, _tell)
        elif options.layout == "hf":
            path = export_hugging_face(settings, start)
        elif options.layout == "adapter":
            path = export_adapter(settings)
        else:
            path = export_mixture(settings, start, _tell, report=_report)
    if options.modelfile:
        print(write_modelfile(path, force=options.force))
    numbers = "" if options.layout == "adapter" else f", {kind}"
    print(f"{path}: {_size(path) / 1e6:.1f} MB{numbers}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "sparsedoctor-export",
        description="Merge a LoRA-MoE adapter into its base: one GGUF file for stock llama.cpp.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--adapter", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--base",
        required=True,
        help="the base the adapter was trained on: a GGUF file, a Hugging Face folder, the hub "
        'name of one in the local cache, or "smollm2"',
    )
    parser.add_argument("--output", type=Path, required=True, metavar="PATH")
    parser.add_argument("--layout", choices=("moe", "experts", "hf", "adapter"), default="moe")
    parser.add_argument(
        "--type",
        type=str.lower,
        choices=list(FORMATS),
        help="number format of the weights (default: q8_0, bf16 for hf); the router stays float32",
    )
    parser.add_argument(
        "--importance",
        type=Path,
        metavar="TEXTS",
        help="questions with answers (JSON lines, also .gz), best from the training data: q4_0 to "
        "q6_k then round least where it matters to such texts; takes some minutes",
    )
    parser.add_argument("--label", default="", help="what interfaces call the model")
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    parser.add_argument(
        "--any-base", action="store_true", help="accept other weights of the same shape"
    )
    parser.add_argument(
        "--modelfile", action="store_true", help="also write a Modelfile for Ollama beside it"
    )
    return parser


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def _report(found: SignalReport, base: Base, adapter: Adapter) -> None:
    """One line a layer: each expert's signal. A warning with the format that would do."""
    if found.format == "f32":
        return
    print(f"signal of each expert against the rounding of {found.format} (at least {THRESHOLD:g}):")
    for layer, signals in enumerate(found.signal):
        print(f"  layer {layer:3}  " + " ".join(f"{signal:8.2f}" for signal in signals))
    if not found.keeps_experts:
        worst = int(found.signal.mean(axis=1).argmin())
        _tell(
            f"warning: {found.format} rounds away much of what tells the experts apart (signal "
            f"{found.weakest:.2f} in layer {worst}, {THRESHOLD:g} is asked); "
            f"{recommend(base, adapter)} is the smallest type that keeps it"
        )


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.iterdir())
