"""Which data a run was trained on, recorded beside it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sparsedoctor.core.files import sha256_of
from sparsedoctor.train.data.records import data_files


def data_hashes(paths: Iterable[Path]) -> dict[str, str]:
    """sha256 of every file that `paths` (files or folders) stand for, by its path."""
    hashes: dict[str, str] = {}
    for path in paths:
        for file in data_files(path):
            hashes[str(file)] = sha256_of(file)
    return hashes
