"""The language of labels, buttons and help. What is said about an answer follows the words of
the person instead (`wording.language_of_interface`)."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.consultation.language import Language

AUTO = "auto"
CHOICES = (AUTO, "en", "zh")  # of `--language`


def interface_language(
    choice: str, intake: Intake, environment: Mapping[str, str] = os.environ
) -> Language:
    """`choice` is one of CHOICES; "auto" takes the language of the intake, else of the locale."""
    if choice == AUTO:
        return intake.language or language_of_locale(environment)
    return "zh" if choice == "zh" else "en"


def language_of_locale(environment: Mapping[str, str] = os.environ) -> Language:
    """What LC_ALL, LC_MESSAGES or LANG name, in this order: "zh" for any Chinese, else "en"."""
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if name := environment.get(variable, ""):
            return "zh" if name.lower().replace("-", "_").split("_")[0].startswith("zh") else "en"
    return "en"
