"""The engine: llama.cpp in a process of its own. This is the parent's side.

A damaged file, a crash or an out-of-memory kill takes only that process; the conversation, which
lives here, goes on with the next question. See `worker` for the other side.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsedoctor.core.engine.channel import ChannelClosed, Frame
from sparsedoctor.core.engine.loading import Plan, plan_loading
from sparsedoctor.core.engine.process import EngineProcess, log_path
from sparsedoctor.core.engine.protocol import (
    EngineDied,
    EngineError,
    EngineSettings,
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
from sparsedoctor.core.engine.wire import pack_messages, unpack_event

_GPU_BATCH = 128  # tokens
_CANCEL_PATIENCE = 20.0  # seconds until an engine that does not obey is killed


class ChildEngine:
    """A `protocol.Engine` on the GGUF file `path`."""

    def __init__(self, path: Path, settings: EngineSettings | None = None) -> None:
        self._path = Path(path)
        self._settings = settings or EngineSettings()
        self._busy = threading.Lock()  # held through every request, also a streamed one
        self._ending = threading.Lock()  # guards the fields below
        self._process: EngineProcess | None = None
        self._info: ModelInfo | None = None
        self._number = 0  # of the newest request
        self._closed = False
        self._cancelled = threading.Event()  # also before the request is sent, or while it loads
        self._notices: list[str] = []  # told with the next answer
        self._statistics: Statistics | None = None

    def load(self) -> ModelInfo:
        with self._request():
            return self._ready()

    def generate(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> Generator[Event, None, None]:
        self._refuse_closed()
        if not any(message.role != "system" for message in messages):
            raise EngineError("there is no message to answer")
        self._acquire()
        self._cancelled.clear()
        stream = self._answer(tuple(messages), sampling)
        next(stream)  # enters its `try`, so that closing an unread stream frees the engine
        return stream

    def score(self, messages: Sequence[Message], continuations: Sequence[str]) -> list[list[float]]:
        body = {"messages": pack_messages(tuple(messages)), "continuations": list(continuations)}
        scores: list[list[float]] = self._ask("score", body)["scores"]
        return scores

    def tokenize(self, text: str, *, control: bool = False) -> list[int]:
        tokens: list[int] = self._ask("tokenize", {"text": text, "control": control})["tokens"]
        return tokens

    def evaluate(self, tokens: Sequence[int]) -> Evaluation:
        with self._request():
            info = self._ready()
            self._send("evaluate", {}, np.asarray(tokens, dtype="<i4").tobytes())
            parts: list[Evaluation] = []
            while True:
                message, data = self._receive()
                if "done" in message:
                    return _joined(parts, info)
                parts.append(_evaluation(message, data, info))

    def statistics(self) -> Statistics | None:
        return self._statistics

    def cancel(self) -> None:
        self._cancelled.set()
        with self._ending:
            process, number = self._process, self._number
        if process is not None and self._busy.locked():
            with contextlib.suppress(ChannelClosed):  # whoever waits for the answer notices
                process.channel.send({"do": "cancel", "number": number})

    def close(self) -> None:
        with self._ending:
            self._closed = True
            process = self._process
        if process is not None:
            process.end()
        if self._busy.acquire(blocking=False):
            self._forget_process()
            self._busy.release()

    @property
    def pid(self) -> int | None:
        """Of the engine's process; None when none runs."""
        process = self._process
        return process.pid if process is not None and process.running else None

    def _answer(
        self, messages: tuple[Message, ...], sampling: Sampling
    ) -> Generator[Event, None, None]:
        sent = finished = False
        said, prompt = "", 0
        try:
            yield Notice("")  # swallowed by `generate`
            self._ready()
            notices, self._notices = self._notices, []
            body = {"messages": pack_messages(messages), "sampling": asdict(sampling)}
            self._send("generate", body)
            sent = True
            if self._cancelled.is_set():
                self.cancel()
            while True:
                message, data = self._receive()
                if "done" in message:
                    finished = True
                    return
                event = unpack_event(message, data)
                if isinstance(event, TextDelta):
                    said += event.text
                elif isinstance(event, Finished):
                    self._statistics = event.statistics
                yield event
                if isinstance(event, Started):
                    prompt = event.prompt_tokens
                    yield from (Notice(text) for text in notices)
        except _Closed:
            finished = True
            self._statistics = Statistics(prompt, 0, 0, 0.0, 0.0)
            yield Finished("cancelled", said, self._statistics, sampling)
        except EngineError:
            finished = True
            raise
        finally:
            try:
                if sent and not finished:
                    self._drain()
            finally:
                if self._closed:
                    self._forget_process()
                self._busy.release()

    def _drain(self) -> None:
        """Cancel and read the rest of an answer nobody wants any more."""
        self.cancel()
        process = self._process
        if process is None or process.channel.broken:
            self._forget_process()  # Ctrl-C in the middle of a message
            return
        try:
            while "event" in process.channel.receive(_CANCEL_PATIENCE)[0]:
                pass
        except ChannelClosed:
            self._forget_process()
            self._notices.append("The engine did not end its last answer and was started again.")

    def _ask(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        with self._request():
            self._ready()
            self._send(what, body)
            return self._receive()[0]

    def _ready(self) -> ModelInfo:
        """The loaded model's information; starts the process when there is none (any more)."""
        self._refuse_closed()
        process = self._process
        if process is not None and self._info is not None:
            if process.running and not process.channel.broken:
                return self._info
            if not process.channel.broken:
                how = process.how_it_ended()
                self._notices.append(f"The engine had ended: {how}. It was started again.")
            self._forget_process()
        plan = plan_loading(self._path, self._settings)
        process = EngineProcess()
        with self._ending:
            self._process = process
            closed = self._closed
        if closed:
            process.end()
        self._send("load", _load_request(plan, self._settings))
        try:
            message, _ = self._receive()
        except _Closed:
            raise EngineError("the engine was closed while the model was loaded") from None
        except EngineError:
            self._forget_process()
            raise
        self._notices += [*plan.notices, *filter(None, [message["notice"]])]
        if message["trace_problem"]:
            self._notices.append(_no_trace(message["trace_problem"]))
        self._info = _model_info(plan, message)
        return self._info

    def _send(self, what: str, body: dict[str, Any], data: bytes = b"") -> None:
        process = self._process
        assert process is not None
        with self._ending:
            self._number += 1
            number = self._number
        try:
            process.channel.send({"do": what, "number": number, **body}, data)
        except ChannelClosed:
            raise self._death(process) from None

    def _receive(self) -> Frame:
        """The next message. Raises EngineError with what went wrong on either side."""
        process = self._process
        assert process is not None
        try:
            message, data = process.channel.receive()
        except ChannelClosed:
            raise self._death(process) from None
        if "error" in message:
            raise EngineError(message["error"])
        return message, data

    def _death(self, process: EngineProcess) -> EngineError:
        """Forget the process that ended, and say how."""
        if self._closed:
            return _Closed("the engine was closed")
        how, loading = process.how_it_ended(), self._info is None
        self._forget_process()
        if loading:
            return EngineDied(
                f"the engine ended while it loaded {self._path.name}: {how}; "
                f"the file may be damaged (log: {log_path()})"
            )
        return EngineDied(f"the engine ended: {how}; the next question starts it again")

    def _forget_process(self) -> None:
        with self._ending:
            process, self._process, self._info = self._process, None, None
        if process is not None:
            process.end()
            process.release()

    def _request(self) -> _Request:
        self._refuse_closed()
        return _Request(self)

    def _acquire(self) -> None:
        if not self._busy.acquire(blocking=False):
            raise EngineError("an answer is being written already; wait for it or cancel it")

    def _refuse_closed(self) -> None:
        if self._closed:
            raise _Closed("the engine is closed")


class _Closed(EngineError):
    """Somebody called `close`."""


class _Request:
    """The engine is busy inside the `with`."""

    def __init__(self, engine: ChildEngine) -> None:
        self._engine = engine

    def __enter__(self) -> None:
        self._engine._acquire()

    def __exit__(self, *_: object) -> None:
        if self._engine._closed:
            self._engine._forget_process()
        self._engine._busy.release()


def _batch(settings: EngineSettings) -> int:
    """A GPU ends its batch before it obeys a cancel: short ones keep that within 150 ms."""
    return min(settings.batch, _GPU_BATCH) if settings.gpu_layers else settings.batch


def _load_request(plan: Plan, settings: EngineSettings) -> dict[str, Any]:
    return {
        "settings": {
            "path": str(plan.path),
            "context": plan.context,
            "batch": _batch(settings),
            "threads": plan.threads,
            "gpu_layers": settings.gpu_layers,
            "layers": plan.layers,
            "expert_layers": plan.expert_layers,
            "experts_used": plan.experts_used,
            "trace": settings.trace,
            "exact": settings.exact,
        },
        "experts": plan.experts,
        "adapt_threads": settings.threads is None,
        "template": plan.bundle.prompt_template if plan.bundle else "",
        "chat_template": plan.chat_template,
    }


def _model_info(plan: Plan, message: dict[str, Any]) -> ModelInfo:
    return ModelInfo(
        path=plan.path,
        name=str(plan.header.metadata.get("general.name", plan.path.stem)),
        architecture=plan.header.architecture,
        size=plan.header.file_size,
        layers=plan.layers,
        experts=plan.experts,
        experts_used=plan.experts_used,
        context=message["context"],
        context_trained=message["context_trained"],
        vocabulary=message["vocabulary"],
        routing_traced=message["traced"],
        bundle=plan.bundle,
        template=message["template"],
    )


def _no_trace(problem: str) -> str:
    return f"Which experts answer cannot be shown with this llama-cpp-python ({problem})."


def _evaluation(message: dict[str, Any], data: bytes, info: ModelInfo) -> Evaluation:
    tokens = message["part"]
    size = tokens * info.vocabulary
    logits = np.frombuffer(data, "<f4", size).reshape(tokens, info.vocabulary)
    if not message["traced"]:
        return Evaluation(logits, None, None)
    shape = (tokens, info.layers, info.experts_used)
    count = int(np.prod(shape))
    experts = np.frombuffer(data, "<i4", count, size * 4).reshape(shape)
    weights = np.frombuffer(data, "<f4", count, (size + count) * 4).reshape(shape)
    return Evaluation(logits, experts, weights)


def _joined(parts: Sequence[Evaluation], info: ModelInfo) -> Evaluation:
    empty: NDArray[np.float32] = np.empty((0, info.vocabulary), dtype=np.float32)
    logits = np.concatenate([part.logits for part in parts]) if parts else empty
    experts = [part.experts for part in parts if part.experts is not None]
    weights = [part.weights for part in parts if part.weights is not None]
    if not experts:
        return Evaluation(logits, None, None)
    return Evaluation(logits, np.concatenate(experts), np.concatenate(weights))
