"""`sparsedoctor-train`: train an adapter, resume a run, describe data, report on a run.

Nothing here imports torch; the commands do when they start.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import typing
from pathlib import Path
from typing import Any, Literal

from sparsedoctor.core.errors import SparseDoctorError, run_command
from sparsedoctor.train.settings import SECTIONS, build_settings, read_settings_file

COMMANDS = ("run", "report")

EPILOG = """\
A run is a folder: settings and versions (run.json), checkpoints, log.jsonl, health.jsonl and, at
the end, adapter/, which sparsedoctor-export turns into a model file.

examples:
  sparsedoctor-train --data medquad_train.jsonl.gz --output runs/first
  sparsedoctor-train --data mine.jsonl --config settings.toml --steps 500 --output runs/second
  sparsedoctor-train --data mine.jsonl --dry-run
  sparsedoctor-train --resume runs/second
  sparsedoctor-train report runs/second
"""


def main(arguments: list[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    # Bases and data are on this computer or in its cache: nothing is asked of a hub.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    command, rest = (given[0], given[1:]) if given[:1] and given[0] in COMMANDS else ("run", given)
    return run_command(lambda: _report(rest) if command == "report" else _run(rest))


def _run(arguments: list[str]) -> int:
    parser = run_parser()
    options = vars(parser.parse_args(arguments))
    own = {name: options.pop(name) for name in ("output", "config", "resume", "dry_run")}
    flags = _by_section({name: value for name, value in options.items() if value is not None})
    if own["resume"]:
        if flags or own["output"] or own["config"] or own["dry_run"]:
            raise SparseDoctorError(
                "--resume continues a run with its own settings; give it alone, "
                "or start a new run with --output"
            )
        from sparsedoctor.train.run import resume_run

        return resume_run(Path(own["resume"]))
    layers = [read_settings_file(Path(own["config"]))] if own["config"] else []
    settings = build_settings(*layers, flags)
    if not settings.data.data:
        raise SparseDoctorError("no training data given; name a file with --data")
    if own["dry_run"]:
        from sparsedoctor.train.dry_run import dry_run

        return dry_run(settings)
    if not own["output"]:
        raise SparseDoctorError("no folder for the run given; name one with --output")
    from sparsedoctor.train.run import start_run

    return start_run(settings, Path(own["output"]))


def _report(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="sparsedoctor-train report", description="Make one HTML page of a run."
    )
    parser.add_argument("run", metavar="RUN", help="the folder of the run")
    options = parser.parse_args(arguments)
    from sparsedoctor.train.report.page import write_report

    print(write_report(Path(options.run)))
    return 0


def run_parser() -> argparse.ArgumentParser:
    """The parser of a run: its own options and one flag for every setting."""
    parser = argparse.ArgumentParser(
        prog="sparsedoctor-train",
        description="Train a LoRA-MoE adapter on medical text. "
        "The subcommand `run` may be written or left out; `report RUN` makes a page of a run.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=None,
        allow_abbrev=False,
    )
    parser.add_argument("--output", metavar="RUN", help="folder of the new run")
    parser.add_argument("--config", metavar="FILE", help="settings, as TOML or YAML")
    parser.add_argument("--resume", metavar="RUN", help="continue a run from its last checkpoint")
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be trained on, and stop"
    )
    for section, kind in SECTIONS.items():
        group = parser.add_argument_group(section)
        texts = field_texts(kind)
        hints = typing.get_type_hints(kind)
        for item in dataclasses.fields(kind):
            _add_flag(group, item.name, hints[item.name], item.default, texts.get(item.name, ""))
    return parser


def _add_flag(group: Any, name: str, kind: Any, default: Any, text: str) -> None:
    flag = "--" + name.replace("_", "-")
    shown = "" if default in (None, ()) else f" (default: {default})"
    help_text = (text + shown).replace("%", "%%")
    if kind is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, help=help_text)
    elif typing.get_origin(kind) is tuple:
        group.add_argument(flag, nargs="+", metavar="TEXT", help=help_text)
    elif typing.get_origin(kind) is Literal:
        group.add_argument(flag, choices=typing.get_args(kind), help=help_text)
    elif kind in (int, float):
        group.add_argument(flag, type=kind, metavar="N", help=help_text)
    else:
        group.add_argument(flag, metavar="NAME", help=help_text)


def field_texts(kind: type[Any]) -> dict[str, str]:
    """What stands under each field of a settings class, read from its source."""
    import ast
    import inspect

    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    texts = {}
    for before, after in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            texts[before.target.id] = " ".join(str(after.value.value).split())
    return texts


def _by_section(flags: dict[str, Any]) -> dict[str, dict[str, Any]]:
    sections: dict[str, dict[str, Any]] = {}
    for section, kind in SECTIONS.items():
        names = {item.name for item in dataclasses.fields(kind)} & flags.keys()
        if names:
            sections[section] = {name: flags[name] for name in names}
    return sections


if __name__ == "__main__":
    sys.exit(main())
