"""The command `sparsedoctor-eval`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sparsedoctor.core.errors import run_command
from sparsedoctor.train.evaluate import commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_command(lambda: _main(sys.argv[1:] if arguments is None else arguments))


def _main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="sparsedoctor-eval",
        description="Score models on medical exams, with intervals, and compare runs.",
    )
    parser.add_argument("--version", action="version", version=commands.version())
    actions = parser.add_subparsers(dest="action", required=True, metavar="COMMAND")
    commands.add_run(actions)
    commands.add_compare(actions)
    commands.add_leaderboard(actions)
    commands.add_contamination(actions)
    commands.add_benchmarks(actions)
    options = parser.parse_args(arguments)
    code: int = options.act(options)
    return code
