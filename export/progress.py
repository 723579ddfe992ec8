"""A progress bar on standard error: bytes written, speed, time left."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from tqdm import tqdm

from sparsedoctor.export.gguf_file import Progress
from sparsedoctor.export.mixture import ProgressStart


@contextlib.contextmanager
def progress_bar() -> Iterator[ProgressStart]:
    """Gives the function that starts a bar of so many bytes; the bar ends with the block."""
    bars: list[tqdm[None]] = []

    def start(total: int, what: str) -> Progress:
        # Into a file or a log a line now and then is enough.
        pause = 0.2 if sys.stderr.isatty() else 5.0
        bar = tqdm(
            total=total, desc=what, unit="B", unit_scale=True, leave=False, mininterval=pause
        )
        bars.append(bar)

        def advance(count: int) -> None:
            bar.update(count)

        return advance

    try:
        yield start
    finally:
        for bar in bars:
            bar.close()
