"""Exported models: a GGUF file through the engine's protocol, without torch.

The engine keeps the tokens of the last prompt in memory and reads the next prompt only from where
it differs, so questions that share their few-shot block go one after another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sparsedoctor.core.engine.protocol import Engine, EngineError, Finished, Sampling, Started
from sparsedoctor.train.evaluate.backends.backend import ModelRecord, Prompting
from sparsedoctor.train.evaluate.scoring import Request


class EngineBackend(Prompting):
    """`engine` is loaded; it is closed with the backend."""

    def __init__(self, engine: Engine, record: ModelRecord) -> None:
        self.record = record
        self._engine = engine

    def score(self, requests: Sequence[Request]) -> Iterator[tuple[int, list[list[float]]]]:
        for index in in_shared_order(requests):
            request = requests[index]
            try:
                yield index, self._engine.score(request.messages, request.continuations)
            except EngineError as error:
                raise EngineError(f"{request.question.id}: {error}") from error

    def generate(
        self, requests: Sequence[Request], max_tokens: int, seed: int
    ) -> Iterator[tuple[int, str]]:
        sampling = Sampling(
            temperature=0.0,
            top_p=1.0,
            min_p=0.0,
            repeat_penalty=1.0,
            max_tokens=max_tokens,
            seed=seed,
        )
        for index in in_shared_order(requests):
            request = requests[index]
            text = ""
            for event in self._engine.generate(request.messages, sampling):
                if isinstance(event, Started) and event.dropped_turns:
                    raise EngineError(
                        f"the prompt of {request.question.id} is longer than the context; "
                        "use fewer --shots or a larger --context"
                    )
                if isinstance(event, Finished):
                    text = event.text
            yield index, text.strip()

    def close(self) -> None:
        self._engine.close()


def in_shared_order(requests: Sequence[Request]) -> list[int]:
    """Places of the requests, those with the same leading messages next to each other."""
    first: dict[tuple[object, ...], int] = {}
    keys = []
    for request in requests:
        key = (request.messages[: request.prefix], request.question.subject)
        keys.append(first.setdefault(key, len(first)))
    return sorted(range(len(requests)), key=lambda index: (keys[index], index))
