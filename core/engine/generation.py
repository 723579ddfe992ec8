"""One answer: from messages to events. Runs in the child."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sparsedoctor.core.engine.cancelling import CancelFlag
from sparsedoctor.core.engine.context import fit
from sparsedoctor.core.engine.llama_model import Cancelled, LlamaModel
from sparsedoctor.core.engine.protocol import (
    EngineError,
    Event,
    Finished,
    Message,
    Notice,
    RoutingUpdate,
    Sampling,
    Started,
    Statistics,
    TextDelta,
)
from sparsedoctor.core.engine.sampler import Sampler
from sparsedoctor.core.engine.templates import Template
from sparsedoctor.core.engine.textstream import TextStream

_ROUTING_EVERY = 0.1  # seconds between two routing updates


def generate(
    model: LlamaModel,
    template: Template,
    experts: int,
    messages: Sequence[Message],
    sampling: Sampling,
    flag: CancelFlag,
) -> Iterator[Event]:
    """Events of one answer, from Started to Finished. Raises EngineError."""
    began = time.perf_counter()
    fitted = fit(
        messages,
        lambda kept: len(model.vocabulary.write(template.write(kept))),
        context=model.context,
        answer=sampling.max_tokens,
    )
    prompt = model.vocabulary.write(template.write(fitted.messages))
    if not prompt:
        raise EngineError("there is nothing to answer: the message is empty")
    reused = model.reuse(prompt)
    seed = secrets.randbits(32) if sampling.seed is None else sampling.seed
    yield Started(len(prompt), reused, fitted.dropped_turns, seed)
    if fitted.dropped_turns:
        yield Notice(_dropped_words(fitted.dropped_turns))
    text, first, reason = "", 0.0, "cancelled"
    answer = 0
    sampler = Sampler(sampling, seed, model.vocabulary.size)
    try:
        read_prompt(model, prompt[reused:])
        traced = model.traced
        if traced:
            yield _Tally("prompt", experts, model, 0).update()
        tally = _Tally("answer", experts, model, model.position)
        stream = TextStream(template.stops)
        room = min(sampling.max_tokens, model.context - len(prompt))
        shown = began
        reason = "length"
        while answer < room:
            if flag.is_set():
                raise Cancelled
            token = sampler.choose(model.pointer)
            if model.vocabulary.ends(token):
                reason = "stop"
                break
            first = first or time.perf_counter() - began
            answer += 1
            delta = stream.feed(model.vocabulary.piece(token))
            if delta:
                text += delta
                yield TextDelta(delta)
            if stream.stopped:
                reason = "stop"
                break
            # Read even the last token: its own routing is part of the trace.
            if answer < room or traced:
                model.read([token])
            now = time.perf_counter()
            if model.traced and now - shown >= _ROUTING_EVERY:
                shown = now
                yield tally.update()
        if rest := stream.finish():
            text += rest
            yield TextDelta(rest)
    except Cancelled:
        reason = "cancelled"
    finally:
        sampler.close()
    if model.traced and answer:
        yield tally.update()
    seconds = time.perf_counter() - began
    statistics = Statistics(len(prompt), reused, answer, first, seconds)
    yield Finished(_reason(reason), text, statistics, replace(sampling, seed=seed))


def read_prompt(model: LlamaModel, tokens: Sequence[int]) -> None:
    """Read `tokens` in batches, the last one alone: so its logits do not depend on how much of the
    prompt was in memory already, and the same seed gives the same answer. Raises Cancelled."""
    batch = model.settings.batch
    for at in range(0, len(tokens) - 1, batch):
        model.read(tokens[at : min(at + batch, len(tokens) - 1)], more=True)
    model.read(tokens[-1:])


class _Tally:
    """Sums the routing of the tokens from `begin` on; each token is added once."""

    def __init__(
        self, phase: Literal["prompt", "answer"], experts: int, model: LlamaModel, begin: int
    ) -> None:
        self._phase, self._experts, self._model = phase, experts, model
        self._begin = self._at = begin
        shape = (model.settings.layers, experts)
        self._chosen: NDArray[np.int64] = np.zeros(shape, dtype=np.int64)
        self._weight: NDArray[np.float64] = np.zeros(shape, dtype=np.float64)

    def update(self) -> RoutingUpdate:
        end = self._model.position
        chosen, weights = self._model.routing(self._at, end)
        self._at = end
        for expert in range(self._experts):
            here = chosen == expert  # [tokens, layers, used]
            self._chosen[:, expert] += here.sum(axis=(0, 2))
            self._weight[:, expert] += (weights * here).sum(axis=(0, 2), dtype=np.float64)
        return RoutingUpdate(
            self._phase,
            end - self._begin,
            tuple(map(tuple, self._chosen.tolist())),
            tuple(map(tuple, self._weight.tolist())),
        )


def _reason(reason: str) -> Literal["stop", "length", "cancelled"]:
    return "stop" if reason == "stop" else "length" if reason == "length" else "cancelled"


def _dropped_words(turns: int) -> str:
    if turns == 1:
        return "The conversation is long: the oldest turn was left out of what the model reads."
    return (
        f"The conversation is long: the {turns} oldest turns were left out of what the model reads."
    )
