"""`sparsedoctor-tui chat`: everything that can be wrong is said before the screen opens."""

from __future__ import annotations

import argparse
import os
import sys

from sparsedoctor.app.history_opening import open_history
from sparsedoctor.app.interface_language import interface_language
from sparsedoctor.app.model_choice import assembles_first, choose_model, engine_for
from sparsedoctor.app.options import sampling_of
from sparsedoctor.core.errors import SparseDoctorError


def run(options: argparse.Namespace) -> int:
    """Open the chat; returns when the person leaves it."""
    # A wrong file is told first; but nothing is assembled for a screen that cannot open.
    model = None if assembles_first(options) else choose_model(options)
    _require_terminal()
    model = model or choose_model(options)

    from sparsedoctor.app.consultation.intake import Intake
    from sparsedoctor.app.consultation.numbers import region_of_locale
    from sparsedoctor.app.tui.application import ChatApp

    history = open_history(interface_language(options.language, Intake()))
    engine = engine_for(model, options)
    try:
        app = ChatApp(
            engine,
            model,
            sampling_of(options),
            history,
            region=options.region or region_of_locale(),
            private=options.private,
            language=options.language,
        )
        app.run()
    finally:
        engine.close()
        history.close()
    return app.return_code or 0


def _require_terminal() -> None:
    # Textual reads standard input and draws on standard error.
    streams = (sys.stdin, sys.stdout, sys.stderr)
    if not all(stream.isatty() for stream in streams) or os.environ.get("TERM") == "dumb":
        raise SparseDoctorError(
            "the chat needs a terminal for the whole screen; "
            'in a pipe or script use sparsedoctor-tui ask "..."'
        )
