"""What a run must remember to be repeated: settings, versions, hashes of its data."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sparsedoctor.core.base_models import DEMO_BASE
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.files import RUN_FILE
from sparsedoctor.train.checkpoints import write_atomically
from sparsedoctor.train.data.hashes import data_hashes
from sparsedoctor.train.settings import Settings, build_settings

_PACKAGES = ("sparsedoctor", "torch", "transformers", "peft", "accelerate", "safetensors", "numpy")


def write_run_file(run: Path, settings: Settings, base_sha256: str) -> dict[str, Any]:
    """Record a run before its first step; returns what was written."""
    files = [*settings.data.data, *settings.data.held_out]
    record = {
        "settings": settings.to_json(),
        "versions": {name: _version(name) for name in _PACKAGES}
        | {"python": platform.python_version()},
        "base_sha256": base_sha256,
        "data_sha256": data_hashes(Path(name) for name in files),
        "directory": os.getcwd(),  # what relative paths are relative to
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_atomically(run / RUN_FILE, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return record


def read_run_file(run: Path) -> tuple[Settings, dict[str, Any]]:
    """The settings and record of a run. Raises SparseDoctorError when it is none, or when its
    data are no longer what they were."""
    path = run / RUN_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        alone = {"experts": {"sharing": 0.0}}  # runs from before there was any sharing
        settings = build_settings(alone, record["settings"])
        hashes = dict(record["data_sha256"])
        directory = Path(record.get("directory", ""))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SparseDoctorError(f"{run} is no run: it holds no {RUN_FILE}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SparseDoctorError(f"{path} is damaged: {error}") from error
    for name, expected in hashes.items():
        file = directory / name
        if not file.exists():
            raise SparseDoctorError(
                f"the training data {file} of this run are gone; put them there again, "
                "or start a new run"
            )
        if data_hashes([file]) != {str(file): expected}:
            raise SparseDoctorError(
                f"{name} has changed since the run began; resuming would train on other data. "
                "Start a new run"
            )
    return _from(directory, settings), record


def _from(directory: Path, settings: Settings) -> Settings:
    """The settings with paths that hold wherever the run is resumed from."""

    def whole(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(directory / name) for name in names)

    data, base = settings.data, directory / settings.run.base
    named = settings.run.base == DEMO_BASE or not base.exists()
    return replace(
        settings,
        data=replace(
            data,
            data=whole(data.data),
            held_out=whole(data.held_out),
            exclude=whole(data.exclude),
        ),
        run=settings.run if named else replace(settings.run, base=str(base)),
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
