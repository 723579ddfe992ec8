"""`sparsedoctor-tui models`: the model files of this computer."""

from __future__ import annotations

import argparse
import json

from sparsedoctor.app.model_files import ListedModel, listed_models
from sparsedoctor.core.paths import models_dir


def run(options: argparse.Namespace) -> int:
    rows = listed_models()
    if options.json:
        print(json.dumps([row.fields() for row in rows], indent=2, ensure_ascii=False))
        return 0
    if not rows:
        print(f"There is no model file in {models_dir()} yet.")
        print("sparsedoctor-tui chat assembles the default one.")
    for row in rows:
        print(_described(row))
    return 0


def _described(row: ListedModel) -> str:
    fields = row.fields()
    default = " (default)" if fields["default"] else ""
    if row.file is None:
        return f"{fields['name']}{default}\n  damaged: {row.problem}"
    experts = f"{row.file.experts} experts" if row.file.experts else "no experts"
    return (
        f"{fields['name']}{default}\n"
        f"  {row.file.label}\n"
        f"  {row.file.architecture}, {experts}, {row.file.size / 1e6:.0f} MB\n"
        f"  {fields['path']}"
    )
