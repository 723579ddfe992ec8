"""Opening the history before a screen or page opens; an encrypted one asks for its passphrase."""

from __future__ import annotations

import getpass
import sys

from sparsedoctor.app.consultation.history import History, PassphraseNeeded
from sparsedoctor.app.consultation.history.database import cipher_available
from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.messages import in_language
from sparsedoctor.core.errors import SparseDoctorError

PASSPHRASE = "Passphrase of the history: "


def open_history(language: Language = "en") -> History:
    """The person's history; it asks in `language`. Raises SparseDoctorError in one line for a wrong
    passphrase, and when SQLCipher or a terminal to ask in is missing."""
    try:
        return History.open()
    except PassphraseNeeded:
        cipher_available()
        return History.open(passphrase=asked_passphrase(in_language(PASSPHRASE, language)))


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
