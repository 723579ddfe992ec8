"""A progress bar on standard error: bytes written, speed, time left."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from sparsedoctor.export.gguf_file import Progress
from sparsedoctor.export.model_file import ProgressStart


@contextlib.contextmanager
def progress_bar() -> Iterator[ProgressStart]:
    """Gives the function that starts a bar of so many bytes; the bar ends with the block."""
    bars: list[tqdm[Any]] = []

    def start(total: int, what: str) -> Progress:
        for earlier in bars:
            earlier.close()
        # In a log, a line now and then and only of what takes long.
        pause = 0.0 if sys.stderr.isatty() else 5.0
        bar = tqdm(
            total=total, desc=what, unit="B", unit_scale=True, leave=False,
            mininterval=pause or 0.1, delay=pause,
        )  # fmt: skip
        bars.append(bar)

        def advance(count: int) -> None:
            bar.update(count)

        return advance

    try:
        yield start
    finally:
        for bar in bars:
            bar.close()
