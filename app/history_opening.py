"""Opening the history before a screen or page opens; an encrypted one asks for its passphrase."""

from __future__ import annotations

import getpass
import sys

from sparsedoctor.app.consultation.history import History, PassphraseNeeded
from sparsedoctor.core.errors import SparseDoctorError


def open_history() -> History:
    """The person's history. Raises SparseDoctorError in one line for a wrong passphrase."""
    try:
        return History.open()
    except PassphraseNeeded:
        if not sys.stdin.isatty():
            raise SparseDoctorError(
                "the history is encrypted and there is no terminal to ask for the passphrase; "
                "start it in a terminal"
            ) from None
        return History.open(passphrase=getpass.getpass("Passphrase of the history: "))
