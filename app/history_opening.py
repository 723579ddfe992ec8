"""Opening the history before a screen or page opens; an encrypted one asks for its passphrase."""

from __future__ import annotations

import getpass
import sys

from sparsedoctor.app.consultation.history import History, PassphraseNeeded
from sparsedoctor.app.consultation.history.database import cipher_available
from sparsedoctor.core.errors import SparseDoctorError


def open_history() -> History:
    """The person's history. Raises SparseDoctorError in one line for a wrong passphrase, and when
    SQLCipher or a terminal to ask in is missing."""
    try:
        return History.open()
    except PassphraseNeeded:
        cipher_available()
        return History.open(passphrase=asked_passphrase("Passphrase of the history: "))


def asked_passphrase(prompt: str) -> str:
    """What the person types at `prompt`, unseen. Raises SparseDoctorError without a terminal and
    for what is no text."""
    require_terminal()
    try:
        passphrase = getpass.getpass(prompt)
        passphrase.encode()
    except EOFError:
        raise SparseDoctorError("no passphrase was given") from None
    except UnicodeError:
        raise SparseDoctorError(
            "the terminal sent letters that are no UTF-8; set LANG to a UTF-8 locale"
        ) from None
    return passphrase


def require_terminal() -> None:
    """Raises SparseDoctorError when there is none to ask in."""
    if not sys.stdin.isatty():
        raise SparseDoctorError(
            "there is no terminal to ask for the passphrase of the history; start it in a terminal"
        )
