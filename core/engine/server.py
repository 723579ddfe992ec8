"""An engine that asks an OpenAI-compatible server: llama-server, vLLM, SGLang, Ollama.

For people whose use outgrows one machine. **Every word of the conversation goes to that server**;
interfaces say so. There is no routing: servers do not tell which experts answered.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from sparsedoctor.core.engine.http_stream import Connection, ServerFailure, ServerSettings
from sparsedoctor.core.engine.protocol import (
    EngineError,
    Evaluation,
    Event,
    Finished,
    Message,
    ModelInfo,
    Notice,
    Sampling,
    Started,
    Statistics,
    TextDelta,
)

KEY_VARIABLE = "SPARSEDOCTOR_SERVER_KEY"  # the server's key, if it wants one; never on a command
_BAD_REQUEST = (400, 422)
_LONGEST_TOKEN = 64  # characters; a server that writes more of them than asked for is stopped
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # could drive a terminal
_HALF = re.compile("[\ud800-\udfff]")  # half a character: cannot be printed or saved


class ServerEngine:
    """A `protocol.Engine` on the server at `url`, such as http://127.0.0.1:8080.

    `model` names one of the server's models; without it the first is taken. Context and trimming
    are the server's own. `score`, `tokenize` and `evaluate` are refused: they need the file.
    """

    def __init__(self, url: str, model: str = "", settings: ServerSettings | None = None) -> None:
        self._settings = settings or ServerSettings()
        self._url, self._model = url, model
        self._connection = Connection(url, os.environ.get(KEY_VARIABLE, ""), self._settings)
        self._info: ModelInfo | None = None
        self._busy = threading.Lock()
        self._statistics: Statistics | None = None
        self._cancelled = threading.Event()
        self._closed = False

    def load(self) -> ModelInfo:
        """Ask the server for its models."""
        self._refuse_closed()
        self._connection.pick_up()
        return self._loaded()

    def generate(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> Generator[Event, None, None]:
        self._refuse_closed()
        if not any(message.role != "system" for message in messages):
            raise EngineError("there is no message to answer")
        if not self._busy.acquire(blocking=False):
            raise EngineError("an answer is being written already; wait for it or cancel it")
        self._cancelled.clear()
        self._connection.pick_up()
        stream = self._answer(tuple(messages), sampling)
        next(stream)  # enters its `try`, so that closing an unread stream frees the engine
        return stream

    def score(self, messages: Sequence[Message], continuations: Sequence[str]) -> list[list[float]]:
        raise EngineError(_NEEDS_FILE.format("score answers"))

    def tokenize(self, text: str, *, control: bool = False) -> list[int]:
        raise EngineError(_NEEDS_FILE.format("split text into tokens"))

    def evaluate(self, tokens: Sequence[int]) -> Evaluation:
        raise EngineError(_NEEDS_FILE.format("look at logits"))

    def statistics(self) -> Statistics | None:
        return self._statistics

    def cancel(self) -> None:
        self._cancelled.set()
        self._connection.hang_up()

    def close(self) -> None:
        self._closed = True
        self.cancel()

    def _answer(
        self, messages: tuple[Message, ...], sampling: Sampling
    ) -> Generator[Event, None, None]:
        began = time.perf_counter()
        seed = secrets.randbits(31) if sampling.seed is None else sampling.seed
        text, tokens, prompt_tokens, first = "", 0, 0, 0.0
        reason: Literal["stop", "length", "cancelled"] = "stop"
        try:
            yield Notice("")  # swallowed by `generate`
            try:
                info = self._loaded()
                notice, chunks = self._ask(info.name, messages, sampling, seed)
                yield Started(0, 0, 0, seed)
                if notice:
                    yield Notice(notice)
                for chunk in chunks:
                    delta, cut = _said(chunk)
                    if delta:
                        first = first or time.perf_counter() - began
                        text += delta
                        tokens += 1
                        yield TextDelta(delta)
                    usage = chunk.get("usage")
                    prompt_tokens = _count(usage, "prompt_tokens", prompt_tokens)
                    tokens = _count(usage, "completion_tokens", tokens)
                    if cut or len(text) > _LONGEST_TOKEN * sampling.max_tokens:
                        reason = "length"
                    if self._cancelled.is_set() or (reason == "length" and not cut):
                        break
            except EngineError:
                if not self._cancelled.is_set():
                    raise
            if self._cancelled.is_set():
                reason = "cancelled"
            seconds = time.perf_counter() - began
            self._statistics = Statistics(prompt_tokens, 0, tokens, first, seconds)
            yield Finished(reason, text, self._statistics, replace(sampling, seed=seed))
        finally:
            self._connection.hang_up()
            self._busy.release()

    def _loaded(self) -> ModelInfo:
        if self._info is None:
            answer = self._connection.get_json("models")
            self._info = _model_info(self._url, self._model, answer)
        return self._info

    def _ask(
        self, model: str, messages: tuple[Message, ...], sampling: Sampling, seed: int
    ) -> tuple[str, Iterator[dict[str, Any]]]:
        """Begin an answer: a notice or "", and the chunks of the stream."""
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": seed,
        }
        # Beyond the common protocol: llama-server and Ollama, vLLM and SGLang.
        extra = {"min_p": sampling.min_p, "repeat_penalty": sampling.repeat_penalty}
        extra["repetition_penalty"] = sampling.repeat_penalty
        try:
            return "", _chunks(self._connection.post_lines("chat/completions", body | extra))
        except ServerFailure as failure:
            if failure.status not in _BAD_REQUEST:
                raise
        lines = self._connection.post_lines("chat/completions", body)
        return "The server does not take min-p and repetition penalty.", _chunks(lines)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise EngineError("the engine is closed")


_NEEDS_FILE = "a server cannot {} for us; give the model's GGUF file instead of a server"


def _chunks(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON objects of a stream of server-sent events.

    Raises EngineError for an error the server sends in it, and for a stream that breaks off.
    """
    for line in lines:
        if not line.startswith(b"data:"):
            continue
        data = line.removeprefix(b"data:").strip()
        if data == b"[DONE]":
            return
        try:
            chunk = json.loads(data)
        except ValueError:
            raise EngineError("the server sent something that is no answer") from None
        if not isinstance(chunk, dict) or "error" in chunk:
            raise EngineError(f"the server stopped with an error: {_short(chunk)}")
        yield chunk
    raise EngineError("the server broke off in the middle of the answer; ask again")


def _said(chunk: dict[str, Any]) -> tuple[str, bool]:
    """The text that a chunk brings, and whether the answer was cut there for its length."""
    choices = chunk.get("choices")
    text, cut = "", False
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            delta = choice.get("delta")
            content = delta.get("content") if isinstance(delta, dict) else None
            text += content if isinstance(content, str) else ""
            cut = cut or choice.get("finish_reason") == "length"
    return _clean(text), cut


def _count(found: Any, name: str, otherwise: int) -> int:
    """A number of a server's table; what is no number is passed over."""
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, int) and value >= 0 else otherwise


def _clean(text: str) -> str:
    return _HALF.sub("\ufffd", _CONTROL.sub("", text))


def _short(chunk: Any) -> str:
    error = chunk.get("error") if isinstance(chunk, dict) else chunk
    message = error.get("message", error) if isinstance(error, dict) else error
    return _clean(" ".join(str(message).split()))[:300]


def _model_info(url: str, wanted: str, answer: Any) -> ModelInfo:
    rows = answer.get("data") if isinstance(answer, dict) else None
    models = [row for row in rows or () if isinstance(row, dict) and row.get("id")]
    if not models:
        raise EngineError(f"the server at {url} has no model")
    names = [_clean(str(model["id"])) for model in models]
    if wanted and wanted not in names:
        raise EngineError(f"the server at {url} has no model {wanted}; it has {', '.join(names)}")
    place = names.index(wanted) if wanted else 0
    model, name = models[place], names[place]
    meta = model.get("meta")
    trained = _count(meta, "n_ctx_train", 0)
    context = _count(meta, "n_ctx", 0) or _count(model, "max_model_len", 0) or trained
    return ModelInfo(
        path=Path(name),
        name=name,
        architecture="server",
        size=_count(meta, "size", 0),
        layers=0,
        experts=0,
        experts_used=0,
        context=context,
        context_trained=trained or context,
        vocabulary=_count(meta, "n_vocab", 0),
        routing_traced=False,
        bundle=None,
        server=url,
    )
