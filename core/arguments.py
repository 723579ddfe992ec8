"""Numbers on a command line: within bounds, or refused in one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def whole(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """An argparse type: whole numbers from `lowest` to `highest`, both included."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = lowest - 1
        if highest is None and value < lowest:
            raise argparse.ArgumentTypeError(f"{text} is no whole number of at least {lowest}")
        if highest is not None and not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(
                f"{text} is no whole number from {lowest} to {highest}"
            )
        return value

    return parse


def number(lowest: float, highest: float) -> Callable[[str], float]:
    """An argparse type: numbers from `lowest` to `highest`, both included."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = lowest - 1
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(f"{text} is no number from {lowest} to {highest}")
        return value

    return parse
