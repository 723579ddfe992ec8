"""Where data, settings and caches live, and with which permissions.

`SPARSEDOCTOR_HOME` moves everything under one folder; without it the platform's own
places are used (on Linux `XDG_DATA_HOME`, `XDG_CACHE_HOME`, `XDG_STATE_HOME`, `XDG_CONFIG_HOME`).
Every folder is created for its owner alone (0700).
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from sparsedoctor.core.errors import SparseDoctorError

APPLICATION = "sparsedoctor"


def data_dir() -> Path:
    """What a person keeps: model files, history."""
    return _private(_place("data", platformdirs.user_data_path(APPLICATION)))


def cache_dir() -> Path:
    """What can be made again."""
    return _private(_place("cache", platformdirs.user_cache_path(APPLICATION)))


def state_dir() -> Path:
    """Logs. They hold no words of a conversation."""
    return _private(_place("state", platformdirs.user_state_path(APPLICATION)))


def config_dir() -> Path:
    """Settings."""
    return _private(_place("config", platformdirs.user_config_path(APPLICATION)))


def models_dir() -> Path:
    """Exported model files."""
    return _private(data_dir() / "models")


def _place(name: str, platform_default: Path) -> Path:
    home = os.environ.get("SPARSEDOCTOR_HOME")
    return Path(home).expanduser() / name if home else platform_default


def _private(path: Path) -> Path:
    try:
        if not path.is_dir():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)  # mkdir's mode is cut by the umask
    except OSError as error:
        raise SparseDoctorError(
            f"cannot create the folder {path}: {error.strerror}; "
            "set SPARSEDOCTOR_HOME to a folder you can write"
        ) from error
    return path
