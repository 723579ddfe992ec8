"""A count on the terminal while many examples are read or encoded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def shown(items: Iterable[T], what: str, unit: str = "examples") -> Iterator[T]:
    """`items`, with a bar on stderr when it takes longer than a second and a person watches.

    Of several processes only the first shows one. Left early (an error, Ctrl-C), the bar goes.
    """
    hidden = True if os.environ.get("RANK", "0") != "0" else None  # None: unless it is a terminal
    bar = tqdm(items, desc=what, unit=f" {unit}", disable=hidden, leave=False, delay=1)
    try:
        yield from bar
    finally:
        bar.close()
