"""What a person chose and wants to find again: `settings.json` in the settings folder.

Damage costs nothing but the choices: the program starts with its own, says so once, and keeps
the damaged file aside when it writes a new one.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass

from sparsedoctor.app.consultation.history import write_private
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.paths import config_dir

FILE_NAME = "settings.json"


@dataclass(frozen=True, slots=True)
class Settings:
    """ "" stands for "not chosen"."""

    theme: str = ""


class DamagedSettings(SparseDoctorError):
    """The file is there and cannot be understood or read."""


def load_settings() -> Settings:
    """The settings as they were saved; none when there is no file. Raises DamagedSettings."""
    path = config_dir() / FILE_NAME
    try:
        values = json.loads(path.read_text("utf-8"))
        return Settings(theme=_text(values, "theme"))
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        why = error.strerror or "unreadable"
    except (ValueError, TypeError, RecursionError):
        why = "damaged"
    raise DamagedSettings(
        f"The settings at {path} cannot be used ({why}); the program goes on with its own."
    )


def save_settings(settings: Settings) -> None:
    """Write the settings, for their owner alone. Raises SparseDoctorError when that fails."""
    try:
        path = config_dir() / FILE_NAME
        try:
            load_settings()
        except DamagedSettings:
            with suppress(FileNotFoundError):  # another window has done so
                os.replace(path, path.with_name(f"{path.name}.damaged"))
        write_private(path, json.dumps(asdict(settings), indent=2) + "\n")
    except (SparseDoctorError, OSError) as error:
        raise SparseDoctorError(f"What you chose holds until you leave: {error}") from error


def _text(values: object, name: str) -> str:
    if not isinstance(values, dict) or not isinstance(values.get(name, ""), str):
        raise TypeError(name)
    return str(values.get(name, ""))
