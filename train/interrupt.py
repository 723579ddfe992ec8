"""Ctrl-C during a run: finish the step, save, stop. A second Ctrl-C stops at once."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from transformers import TrainerCallback


class StopOnSignal(TrainerCallback):  # type: ignore[misc]
    """Listens to SIGINT and SIGTERM while it is entered (`with`)."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopOnSignal:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("\nstopping after this step and saving (again to stop at once)", flush=True)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.asked:
            control.should_log = True  # the steps since the last line count in the mean loss
            control.should_save = True
            control.should_training_stop = True
