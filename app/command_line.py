"""The command lines of the interfaces: mistakes are told in the person's language.

The help (`--help`) is English, like the documentation.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.interface_language import language_of_locale
from sparsedoctor.core.errors import run_command

_OPTION = "--language"


class CommandParser(argparse.ArgumentParser):
    """argparse's parser, whose complaints are in the language that the command line asks for."""

    _words: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._words = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        language = asked_language(self._words)
        usage = self.format_usage()
        if language == "zh":
            usage = usage.replace("usage:", "用法：", 1)
        self.exit(2, usage + _told(f"{self.prog}: error: {message}", language) + "\n")


def asked_language(words: Sequence[str]) -> Language:
    """The language that `--language` among `words` names, else that of the locale."""
    for at, word in enumerate(words):
        name, sign, value = word.partition("=")
        if name == _OPTION:
            chosen = value if sign else next(iter(words[at + 1 : at + 2]), "")
            if chosen in ("en", "zh"):
                return "zh" if chosen == "zh" else "en"
    return language_of_locale()


def run_in_language(command: Callable[[], int], words: Sequence[str] | None) -> int:
    """Run `command`; what goes wrong is one line in the language of the command line `words`."""
    language = asked_language(sys.argv[1:] if words is None else words)
    return run_command(command, lambda line: _told(line, language))


def _told(line: str, language: Language) -> str:
    if language == "en":
        return line
    # Imported here: the table is read only when something is to be said from it.
    from sparsedoctor.app.messages import told

    return told(line, language)
