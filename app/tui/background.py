"""A blocking iterator, run beside the screen so that the screen never waits.

The thread is a daemon: leaving the program never waits for a model.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class _End(Generic[T]):
    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


async def in_background(make: Callable[[], Iterable[T]]) -> AsyncIterator[list[T]]:
    """Iterate `make()` in a thread; yields what arrived since the last time, in order.

    An exception of the iterator is raised here after everything that came before it.
    """
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[T | _End[T]] = asyncio.Queue()

    def hand_over(item: T | _End[T]) -> None:
        with suppress(RuntimeError):  # the loop is closed: the program is being left
            loop.call_soon_threadsafe(arrived.put_nowait, item)

    def work() -> None:
        try:
            for item in make():
                hand_over(item)
        except BaseException as error:
            hand_over(_End(error))
        else:
            hand_over(_End())

    threading.Thread(target=work, name="consultation", daemon=True).start()
    while True:
        batch, end = [], None
        item = await arrived.get()
        while True:
            if isinstance(item, _End):
                end = item
                break
            batch.append(item)
            if arrived.empty():
                break
            item = arrived.get_nowait()
        if batch:
            yield batch
        if end is not None:
            if end.error is not None:
                raise end.error
            return


async def call_in_background(function: Callable[[], T]) -> T:
    """The result of `function`, computed in a thread."""

    def once() -> Iterator[T]:
        yield function()

    results = [item async for batch in in_background(once) for item in batch]
    return results[0]
