"""Fetch a benchmark's files from where its authors publish them; only when asked to."""

from __future__ import annotations

import hashlib
import sys
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.files import clear_leavings, part_of
from sparsedoctor.train.evaluate.benchmarks import Benchmark

_CHUNK = 1 << 16  # bytes
_TIMEOUT = 30.0  # seconds without any byte


def download(benchmark: Benchmark, data: Path) -> None:
    """Fetch what is missing below the folder `data`, and show size and sha256 of each file.

    Raises SparseDoctorError when there is nothing to fetch from, or no network.
    """
    if not benchmark.downloads:
        raise SparseDoctorError(
            f"{benchmark.name} cannot be fetched file by file; its authors publish it at "
            f"{benchmark.published}: unpack it in {data}"
        )
    if data.is_file():
        raise SparseDoctorError(f"--download needs a folder to write to, and {data} is a file")
    for name, address in benchmark.downloads.items():
        target = data / name
        if not target.exists():
            size, sha256 = fetch(address, target)
            print(
                f"fetched {address}\n  {target}  {size:,} bytes  sha256 {sha256}", file=sys.stderr
            )


def fetch(address: str, target: Path) -> tuple[int, str]:
    """Write what `address` gives to `target`, whole or not at all; its bytes and sha256."""
    clear_leavings(target)
    partial = part_of(target)
    digest, size = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT) as source:
            target.parent.mkdir(parents=True, exist_ok=True)
            total = int(source.headers.get("Content-Length") or 0) or None
            with (
                partial.open("wb") as file,
                tqdm(total=total, unit="B", unit_scale=True, desc=target.name) as bar,
            ):
                while chunk := source.read(_CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
                    bar.update(len(chunk))
        if total is not None and size != total:
            raise OSError(f"{size:,} of {total:,} bytes came")
        partial.replace(target)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise SparseDoctorError(
            f"cannot fetch {address} ({reason}); fetch it by hand and put it at {target}"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return size, digest.hexdigest()
