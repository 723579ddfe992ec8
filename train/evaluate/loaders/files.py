"""Read the file formats in which benchmarks are published; refuse a broken one in one line."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sparsedoctor.core.errors import SparseDoctorError

_SHOWN = 20  # columns of a wrong file, and characters of each
csv.field_size_limit(1 << 24)  # explanations are longer than the csv module expects


class MissingFile(SparseDoctorError):
    """A benchmark's file is not where it should be; the text says where it is published."""


def read_text(path: Path) -> str:
    """The whole file, unpacked if it is gzip, without a byte order mark."""
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return data.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise SparseDoctorError(f"cannot read {path}: {error}") from error
    except UnicodeDecodeError as error:
        raise SparseDoctorError(f"{path} is not UTF-8 text; save it as UTF-8") from error


def read_records(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON array or of JSON lines, plain or gzip."""
    text = read_text(path)
    try:
        if text.lstrip().startswith("["):
            rows = json.loads(text)
        else:
            # Not splitlines(): it would also break at line separators inside JSON text.
            rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    except json.JSONDecodeError as error:
        raise SparseDoctorError(
            f"{path} is no JSON or JSON lines file (line {error.lineno}: {error.msg}); "
            "download it again"
        ) from error
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise SparseDoctorError(f"{path}, entry {number}: an object was expected")
    return list(rows)


def read_table(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """The rows of a CSV file with a header that must name `columns`."""
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    missing = set(columns) - set(reader.fieldnames or ())
    if missing:
        # What is no table at all has "columns" of any length.
        there = [name[:_SHOWN] for name in reader.fieldnames or ["none"] if name][:_SHOWN]
        raise SparseDoctorError(
            f"{path} has no column {', '.join(sorted(missing))}; it has {', '.join(there)[:200]}"
        )
    try:
        return [{key: value or "" for key, value in row.items() if key} for row in reader]
    except csv.Error as error:
        raise SparseDoctorError(f"{path}, line {reader.line_num}: {error}") from error


def read_bare_table(path: Path) -> list[list[str]]:
    """The rows of a CSV file without a header."""
    try:
        return [row for row in csv.reader(io.StringIO(read_text(path), newline="")) if row]
    except csv.Error as error:
        raise SparseDoctorError(f"{path}: {error}") from error


def find_file(data: Path, names: Iterable[str], wanted: str, published: str) -> Path:
    """`data` itself if it is a file, else the first of `names` below the folder `data`.

    Raises MissingFile, which tells what is `wanted` and where it is `published`.
    """
    names = list(names)
    if data.is_file():
        return data
    if data.suffix and not data.exists():  # meant as a file
        raise MissingFile(f"there is no {data}; its authors publish {wanted} at {published}")
    for name in names:
        for path in (data / name, data / Path(name).name):
            for candidate in (path, path.with_name(path.name + ".gz")):
                if candidate.is_file():
                    return candidate
    raise MissingFile(
        f"{wanted} is not at {data}; its authors publish it at {published}: "
        f"put it at {data / names[0]}"
    )


def text_of(row: Mapping[str, Any], key: str) -> str:
    """The stripped text of a field, "" where it is absent or null."""
    value = row.get(key)
    return "" if value is None else str(value).strip()


def files_hash(paths: Iterable[str | Path]) -> str:
    """sha256 over the names and contents of files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(map(Path, paths), key=lambda path: (path.name, str(path))):
        digest.update(path.name.encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def numbered(rows: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    """Rows with the number that a person would give them, from 1."""
    return enumerate(rows, 1)
