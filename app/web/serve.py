"""Start the page on 127.0.0.1 and stay in the foreground.

Everything that can be wrong (model, port, missing extra) is said before gradio is imported.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib.util
import signal
import socket
import sys
import webbrowser
from types import FrameType

from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.history_opening import open_history
from sparsedoctor.app.interface_language import AUTO, language_of_locale
from sparsedoctor.app.messages import in_language
from sparsedoctor.app.model_choice import choose_model, engine_for
from sparsedoctor.app.options import sampling_of
from sparsedoctor.app.web.hardening import HOST, prepare_environment
from sparsedoctor.core.errors import SparseDoctorError

_CLOSING = 30.0  # seconds; after that the command ends as it is, and says what it waited for


def serve(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C or a termination signal; returns the exit code."""
    if importlib.util.find_spec("gradio") is None:
        raise SparseDoctorError(
            'the browser interface is not installed; run pip install "sparsedoctor[web]"'
        )
    require_free_port(options.port)
    model = choose_model(options)
    prepare_environment()
    chosen: Language | None = None if options.language == AUTO else options.language
    language = chosen or language_of_locale()  # of the terminal
    history = open_history(language)

    from sparsedoctor.app.consultation.numbers import region_of_locale
    from sparsedoctor.app.web.page import Page

    engine = engine_for(model, options)
    signals = _signals()
    page = Page(
        engine,
        model,
        sampling_of(options),
        history,
        region=options.region or region_of_locale(),
        private=options.private,
        language=chosen,
    )
    try:
        try:
            page.launch(options.port)
        except OSError as error:  # taken between the look and the start
            raise SparseDoctorError(
                f"port {options.port} cannot be used; choose another with --port N"
            ) from error
        url = f"http://{HOST}:{options.port}/"
        print(in_language(f"SparseDoctor is at {url} (Ctrl-C ends it)", language), flush=True)
        if not options.no_browser:
            webbrowser.open(url)
        page.load_model()
        signals.recv(1)
        print(in_language("ended", language), file=sys.stderr)
    finally:
        faulthandler.dump_traceback_later(_CLOSING, exit=True)
        page.close()
        engine.close()
        history.close()
    return 0


def require_free_port(port: int) -> None:
    """Raises SparseDoctorError when the port cannot be opened on this computer."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As uvicorn does: a port that only waits out its last connection is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise SparseDoctorError(
                f"port {port} cannot be used ({error.strerror}); choose another with --port N"
            ) from error


def _signals() -> socket.socket:
    """Can be read once Ctrl-C or a termination signal came; the next one ends the process.

    Nothing is raised, not by the second either: an exception may reach the main thread while it
    runs a finalizer, which would swallow it, and the threads that are still there would have to
    end first. And nothing waits for the handler, which runs in the main thread alone and not
    before that wakes: the byte is written as the signal comes, in whichever thread that is.
    """
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.detach())
    ending = (signal.SIGINT, signal.SIGTERM)

    def note(_number: int, _frame: FrameType | None) -> None:
        for caught in ending:
            signal.signal(caught, signal.SIG_DFL)

    for number in ending:
        signal.signal(number, note)
    return receiver
