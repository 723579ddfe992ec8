"""`sparsedoctor-tui history encrypt | decrypt | passphrase`: the file of the conversations.

Passphrases are asked for in the terminal and never given on a command line, where other programs
could read them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sparsedoctor.app.consultation.history import (
    LOST_WITHOUT,
    History,
    convert_history,
    default_path,
    is_encrypted,
)
from sparsedoctor.app.consultation.history.database import cipher_available
from sparsedoctor.app.consultation.history.encryption import refuse_if_in_use
from sparsedoctor.app.history_opening import PASSPHRASE, asked_passphrase, require_terminal
from sparsedoctor.app.interface_language import language_of_locale
from sparsedoctor.app.messages import in_language
from sparsedoctor.core.errors import SparseDoctorError


def encrypt() -> None:
    """Encrypt the history; begin an encrypted one when there is none yet."""
    path = _ready()
    if is_encrypted(path):
        raise SparseDoctorError(
            f"the history at {path} is encrypted already; "
            "sparsedoctor-tui history passphrase changes its passphrase"
        )
    new = _new_passphrase()
    if not path.is_file():
        History.open(path).close()  # empty: there is nothing to give away yet
    plain_left = convert_history(None, new, path)
    _say(f"The history at {path} is encrypted. The chat and the page ask for the passphrase.")
    _tell_plain(plain_left)


def decrypt() -> None:
    """Make an encrypted history a plain one again."""
    path = _ready(encrypted=True)
    _confirm(
        "Afterwards every program that runs under your name, and whoever gets at the disk, can "
        "read your conversations."
    )
    old = _asked(PASSPHRASE)
    convert_history(old, None, path)
    _say(f"The history at {path} is not encrypted any more.")


def change_passphrase() -> None:
    """Give an encrypted history another passphrase."""
    path = _ready(encrypted=True)
    old = _asked("Passphrase so far: ")
    convert_history(old, _new_passphrase(), path)
    _say("The history has the new passphrase.")


def _ready(*, encrypted: bool = False) -> Path:
    """The path of the history, once it is clear that it can be converted now."""
    cipher_available()
    path = default_path()
    if encrypted and not is_encrypted(path):
        raise SparseDoctorError(f"the history at {path} is not encrypted")
    refuse_if_in_use(path)
    return path


def _new_passphrase() -> str:
    _confirm(LOST_WITHOUT[language_of_locale()])
    _say("Choose a passphrase that nobody guesses: five words that do not belong together.")
    passphrase = _asked("New passphrase: ")
    if not passphrase:
        raise SparseDoctorError("a passphrase cannot be empty; the history was left as it is")
    if _asked("The same once more: ") != passphrase:
        raise SparseDoctorError("the two passphrases differ; the history was left as it is")
    return passphrase


def _confirm(warning: str) -> None:
    require_terminal()
    _say(warning)
    _say('Type "yes" to go on: ', end="")
    if sys.stdin.readline().strip().lower() not in ("yes", "是"):
        raise SparseDoctorError("not confirmed; the history was left as it is")


def _asked(prompt: str) -> str:
    return asked_passphrase(in_language(prompt, language_of_locale()))


def _say(line: str, end: str = "\n") -> None:
    print(in_language(line, language_of_locale()), end=end, flush=True)


def _tell_plain(files: list[Path]) -> None:
    for file in files:
        _say(f"Not encrypted is still the damaged history {file}; delete it if you can do so.")
