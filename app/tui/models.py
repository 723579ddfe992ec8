"""`sparsedoctor-tui models`: the model files of this computer."""

from __future__ import annotations

import argparse
import json

from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.interface_language import language_of_locale
from sparsedoctor.app.messages import in_language, told
from sparsedoctor.app.model_files import ListedModel, listed_models
from sparsedoctor.app.wording import model_label
from sparsedoctor.core.paths import models_dir


def run(options: argparse.Namespace) -> int:
    language = language_of_locale()
    rows = listed_models()
    if options.json:
        print(json.dumps([row.fields() for row in rows], indent=2, ensure_ascii=False))
        return 0
    if not rows:
        print(in_language(f"There is no model file in {models_dir()} yet.", language))
        print(in_language("sparsedoctor-tui chat assembles the default one.", language))
    for row in rows:
        print(_described(row, language))
    return 0


def _described(row: ListedModel, language: Language) -> str:
    fields = row.fields()
    default = in_language(" (default)", language) if fields["default"] else ""
    if row.file is None:
        problem = in_language(f"damaged: {told(row.problem, language)}", language)
        return f"{fields['name']}{default}\n  {problem}"
    experts = f"{row.file.experts} experts" if row.file.experts else "no experts"
    facts = (row.file.architecture, in_language(experts, language), f"{row.file.size / 1e6:.0f} MB")
    return (
        f"{fields['name']}{default}\n"
        f"  {model_label(row.file, language)}\n"
        f"  {', '.join(facts)}\n"
        f"  {fields['path']}"
    )
