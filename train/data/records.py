"""Files to records: JSON lines, JSON lists, CSV and saved `datasets` folders, plain or gzip'd.

    path ─▶ (line number, {field: value}), ...

What is wrong with a file is told in one line with its name and line number.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from sparsedoctor.core.errors import SparseDoctorError

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz")
ARROW_SUFFIXES = (".arrow", ".parquet")
_ARROW_FILE = b"ARROW1"  # how an Arrow file begins; a stream begins otherwise

# A dialogue can be longer than the csv module's default limit of 128 kB a field.
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))


class Record(NamedTuple):
    """One record and its place. `unit` says what `line` counts."""

    fields: dict[str, Any]
    file: Path
    line: int
    unit: str = "line"

    @property
    def place(self) -> str:
        return f"{self.file}, {self.unit} {self.line}"


def read_records(path: Path) -> Iterator[Record]:
    """The records of a file, or of every data file of a folder, in a fixed order.

    Raises SparseDoctorError for a file that is absent, empty, damaged or of an unknown kind.
    """
    for file in data_files(path):
        number = 0
        for number, record in enumerate(_read_file(file), start=1):  # noqa: B007
            yield record
        if not number:
            raise SparseDoctorError(f"{file} is empty; expected one example a line")


def data_files(path: Path) -> list[Path]:
    """The files that `path` stands for: itself, or the data files of a folder.

    A folder stands for its train split, where its files or folders are named by split.
    """
    if path.is_file():
        return [path]
    if not path.exists():
        raise SparseDoctorError(f"there is no training file {path}")
    if not path.is_dir():
        raise SparseDoctorError(f"{path} is no file; expected {', '.join(SUFFIXES)} or a folder")
    if (path / "dataset_dict.json").is_file():
        if not (path / "train").is_dir():
            splits = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
            raise SparseDoctorError(
                f"{path} has no split called train; name one of its splits: "
                + ", ".join(str(path / split) for split in splits)
            )
        path = path / "train"
    files = [
        file
        for file in sorted(path.iterdir())
        # state.json and dataset_info.json describe a saved data set, they hold no records
        if file.name.endswith(SUFFIXES + ARROW_SUFFIXES)
        and file.name not in ("state.json", "dataset_info.json")
        and not file.name.startswith((".", "cache-"))
    ]
    for inner in ("train", "data"):  # as folders of the Hugging Face hub are laid out
        if not files and (path / inner).is_dir():
            return data_files(path / inner)
    if not files:
        raise SparseDoctorError(
            f"{path} holds no training files; expected {', '.join(SUFFIXES + ARROW_SUFFIXES)}"
        )
    # Published folders hold their splits side by side: never train on the test set by accident.
    return [file for file in files if "train" in file.name.lower()] or files


def _read_file(path: Path) -> Iterator[Record]:
    name = path.name.removesuffix(".gz")
    if name.endswith(ARROW_SUFFIXES):
        yield from _read_arrow(path)
        return
    if not name.endswith((".jsonl", ".json", ".csv")):
        raise SparseDoctorError(
            f"{path} is of an unknown kind; expected {', '.join(SUFFIXES + ARROW_SUFFIXES)}"
        )
    reader = {".jsonl": _read_lines, ".json": _read_list, ".csv": _read_csv}[Path(name).suffix]
    try:
        with _open_text(path) as file:
            yield from reader(path, file)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SparseDoctorError(f"{path} cannot be read: {reason}") from error


def _open_text(path: Path) -> TextIO:
    # Undecodable bytes become lone surrogates, so that the line they stand on can be named.
    settings = {"encoding": "utf-8-sig", "errors": "surrogateescape", "newline": ""}
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", **settings)  # type: ignore[call-overload,no-any-return]
    return path.open(**settings)  # type: ignore[call-overload,no-any-return]


def _check_text(text: str, path: Path, line: int) -> None:
    if any("\udc80" <= character <= "\udcff" for character in text):
        raise SparseDoctorError(f"{path}, line {line}: expected UTF-8 text; save the file as UTF-8")


def _read_lines(path: Path, file: TextIO) -> Iterator[Record]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        if not line.isascii():
            _check_text(line, path, number)
        try:
            fields = json.loads(line.strip())
        except json.JSONDecodeError as error:
            raise SparseDoctorError(
                f"{path}, line {number}: expected one JSON object, found {_short(line)} "
                f"({error.msg} at column {error.colno})"
            ) from error
        yield Record(_object(fields, f"{path}, line {number}"), path, number)


def _read_list(path: Path, file: TextIO) -> Iterator[Record]:
    text = file.read()
    if text.lstrip().startswith("{"):  # several published files are lines under this name
        yield from _read_lines(path, io.StringIO(text))
        return
    for number, line in enumerate(text.split("\n"), start=1):
        _check_text(line, path, number)
    try:
        entries = json.loads(text) if text.strip() else []
    except json.JSONDecodeError as error:
        raise SparseDoctorError(
            f"{path}, line {error.lineno}: expected a JSON list of objects ({error.msg} at column "
            f"{error.colno})"
        ) from error
    if not isinstance(entries, list):
        raise SparseDoctorError(f"{path}, line 1: expected a JSON list of objects")
    for number, entry in enumerate(entries, start=1):
        place = f"{path}, entry {number}"
        yield Record(_object(entry, place), path, number, "entry")


def _read_csv(path: Path, file: TextIO) -> Iterator[Record]:
    reader = csv.reader(file, strict=True)
    start = 1
    header: list[str] | None = None
    try:
        for row in reader:
            line, start = start, reader.line_num + 1  # a quoted field may span lines
            _check_text("".join(row), path, line)
            if header is None:
                header = [name.strip() for name in row]
            elif row:
                if len(row) != len(header):
                    raise SparseDoctorError(
                        f"{path}, line {line}: expected {len(header)} columns "
                        f"({', '.join(header)}), found {len(row)}"
                    )
                yield Record(dict(zip(header, row, strict=True)), path, line)
    except csv.Error as error:
        raise SparseDoctorError(
            f"{path}, line {reader.line_num}: expected comma-separated values ({error})"
        ) from error


def _read_arrow(path: Path) -> Iterator[Record]:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise SparseDoctorError(
            f'{path} needs the package pyarrow; run pip install "sparsedoctor[train]" pyarrow, '
            "or save the data as .jsonl"
        ) from error
    number = 0
    try:
        with path.open("rb") as file:
            batches: Iterable[Any]
            if path.suffix == ".parquet":
                batches = parquet.ParquetFile(file).iter_batches()
            elif file.read(len(_ARROW_FILE)) == _ARROW_FILE:
                table = arrow.ipc.open_file(file)
                batches = map(table.get_batch, range(table.num_record_batches))
            else:  # what `datasets` saves
                file.seek(0)
                batches = arrow.ipc.open_stream(file)
            for batch in batches:
                for fields in batch.to_pylist():
                    number += 1
                    yield Record(fields, path, number, "row")
    except (arrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise SparseDoctorError(f"{path} cannot be read after row {number}: {reason}") from error


def _object(fields: object, place: str) -> dict[str, Any]:
    if not isinstance(fields, dict):
        raise SparseDoctorError(
            f"{place}: expected a JSON object with named fields, found {_short(json.dumps(fields))}"
        )
    return fields


def _short(text: str, length: int = 40) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= length else text[: length - 3] + "...")
