"""Keeps an answer's speed: fewer threads beside busy programs, a word when it has fallen."""

from __future__ import annotations

from sparsedoctor.core.engine.llama_model import LlamaModel
from sparsedoctor.core.engine.protocol import Notice, Statistics
from sparsedoctor.core.engine.threads import LoadMeter, threads_beside, usable_cores

_COLLAPSED = 0.25  # of the best speed of this process
_ENOUGH = 16  # tokens of an answer whose speed means something


class Pace:
    """Call `begin` before an answer and `end` after it; between answers the machine is watched."""

    def __init__(self, model: LlamaModel, most: int) -> None:
        self._model, self._most = model, most
        self._meter = LoadMeter()
        self._best = 0.0  # tokens a second

    def begin(self) -> None:
        """Choose the threads for the next answer."""
        others = self._meter.others()
        if others is not None:
            self._model.set_threads(threads_beside(others, usable_cores(), self._most))

    def end(self, statistics: Statistics) -> list[Notice]:
        """What a person should know about the speed of the answer that ended."""
        self._meter.restart()
        speed = statistics.tokens_per_second
        if statistics.answer_tokens < _ENOUGH:
            return []
        self._best = max(self._best, speed)
        if speed >= self._best * _COLLAPSED:
            return []
        return [
            Notice(
                f"Other programs slow this computer down: {speed:.1f} tokens a second "
                f"instead of {self._best:.0f}."
            )
        ]
