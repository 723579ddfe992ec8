"""What the child does for each request: one method each. Runs in the child."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsedoctor.core.engine.cancelling import CancelFlag
from sparsedoctor.core.engine.generation import generate, read_prompt
from sparsedoctor.core.engine.llama_model import Cancelled, LlamaModel, LoadSettings
from sparsedoctor.core.engine.native_log import NativeLog
from sparsedoctor.core.engine.pace import Pace
from sparsedoctor.core.engine.protocol import EngineError, Finished, Sampling
from sparsedoctor.core.engine.quantizing import run_quantizer
from sparsedoctor.core.engine.templates import Template, find_template, guess_template
from sparsedoctor.core.engine.weighing import run_weighing
from sparsedoctor.core.engine.wire import pack_event, unpack_messages

_NO_GPU = (
    "This llama-cpp-python was built without a GPU: everything is computed on the processor "
    "(docs/engine.md tells how to build it)."
)

Send = Callable[..., None]


class Service:
    """Answers requests through `send`; every answer ends with a "done" or an "error" message."""

    def __init__(self, send: Send) -> None:
        self.flag = CancelFlag()
        self._send = send
        self._log = NativeLog()
        self._model: LlamaModel | None = None
        self._template: Template = find_template("plain")
        self._experts = 0
        self._pace: Pace | None = None

    def answer(self, request: dict[str, Any], data: bytes) -> None:
        requests: dict[str, Callable[[dict[str, Any], bytes], dict[str, Any]]] = {
            "load": self._load,
            "generate": self._generate,
            "score": self._score,
            "tokenize": self._tokenize,
            "evaluate": self._evaluate,
            "quantize": self._quantize,
            "weigh": self._weigh,
        }
        try:
            result = requests[request["do"]](request, data)
        except Cancelled:
            self._send({"error": "cancelled", "cancelled": True})
        except EngineError as error:
            self._send({"error": str(error)})
        else:
            self._send({"done": True, **result})

    @property
    def _loaded(self) -> LlamaModel:
        if self._model is None:
            raise EngineError("no model is loaded")
        return self._model

    def _load(self, request: dict[str, Any], _: bytes) -> dict[str, Any]:
        settings = LoadSettings(**request["settings"])
        self._experts = request["experts"]
        self._log.begin()
        model = LlamaModel(settings, self.flag, self._log)
        self._model = model
        self._template, notice = _choose_template(request, model)
        # A first word: the trace shows whether it works, and the weights come into memory.
        first = model.read(model.vocabulary.write(self._template.write(())) or [0], logits=True)
        if first is None or not np.isfinite(first).all():
            raise EngineError(
                f"{settings.path} is damaged: the model computes no numbers with it; "
                "export or fetch the file again"
            )
        model.rewind(0)
        if settings.gpu_layers and not model.on_gpu:
            notice = f"{_NO_GPU} {notice}".strip()
        self._pace = Pace(model, settings.threads) if request["adapt_threads"] else None
        return {
            "context": model.context,
            "context_trained": model.context_trained,
            "vocabulary": model.vocabulary.size,
            "traced": model.traced,
            "trace_problem": model.trace_problem,
            "template": self._template.name,
            "notice": notice,
        }

    def _generate(self, request: dict[str, Any], _: bytes) -> dict[str, Any]:
        model = self._loaded
        events = generate(
            model,
            self._template,
            self._experts,
            unpack_messages(request["messages"]),
            Sampling(**request["sampling"]),
            self.flag,
        )
        if self._pace:
            self._pace.begin()
        for event in events:
            if self._pace and isinstance(event, Finished):
                for notice in self._pace.end(event.statistics):
                    self._send(*pack_event(notice))
            self._send(*pack_event(event))
        return {"traced": model.traced, "trace_problem": model.trace_problem}

    def _score(self, request: dict[str, Any], _: bytes) -> dict[str, Any]:
        model = self._loaded
        vocabulary = model.vocabulary
        prompt = vocabulary.write(self._template.write(unpack_messages(request["messages"])))
        if not prompt:
            raise EngineError("there is no prompt to score a continuation of")
        _refuse_longer(model, len(prompt))
        kept = model.reuse(prompt)
        if kept < len(prompt) - 1:
            read_prompt(model, [*prompt[kept:-1]])
        model.rewind(len(prompt) - 1)
        after_prompt = model.read(prompt[-1:], logits=True)
        assert after_prompt is not None
        scores = []
        for continuation in request["continuations"]:
            tokens = vocabulary.plain(continuation)
            _refuse_longer(model, len(prompt) + len(tokens))
            model.rewind(len(prompt))
            scores.append(_log_probabilities(model, after_prompt, tokens))
        return {"scores": scores}

    def _tokenize(self, request: dict[str, Any], _: bytes) -> dict[str, Any]:
        vocabulary = self._loaded.vocabulary
        if request["control"]:
            return {"tokens": vocabulary.tokenize(request["text"], control=True)}
        return {"tokens": vocabulary.plain(request["text"])}

    def _evaluate(self, request: dict[str, Any], data: bytes) -> dict[str, Any]:
        """Sends a part for every batch, so that no message is as long as the text."""
        model = self._loaded
        tokens = np.frombuffer(data, "<i4").tolist()
        _refuse_longer(model, len(tokens))
        if any(not 0 <= token < model.vocabulary.size for token in tokens):
            raise EngineError("a token number lies outside this model's vocabulary")
        model.rewind(0)
        for at in range(0, len(tokens), model.settings.batch):
            part = model.evaluate(tokens[at : at + model.settings.batch])
            traced = part.experts is not None and part.weights is not None
            arrays: list[NDArray[Any]] = [part.logits.astype("<f4")]
            if part.experts is not None and part.weights is not None:
                arrays += [part.experts.astype("<i4"), part.weights.astype("<f4")]
            head = {"part": len(part.logits), "traced": traced}
            self._send(head, b"".join(array.tobytes() for array in arrays))
        return {}

    def _quantize(self, request: dict[str, Any], data: bytes) -> dict[str, Any]:
        return run_quantizer(request, data, self._log, self._send)

    def _weigh(self, request: dict[str, Any], _: bytes) -> dict[str, Any]:
        return run_weighing(request, self._log, self._send)


def _choose_template(request: dict[str, Any], model: LlamaModel) -> tuple[Template, str]:
    """The model's template, and what a person should know about the choice."""
    if request["template"]:
        return find_template(request["template"]), ""
    guessed = guess_template(request["chat_template"], tuple(model.vocabulary.controls))
    if guessed:
        return guessed, ""
    return find_template("plain"), (
        "This model says nothing about how conversations are written for it; "
        "it is asked in plain words, and its answers may be poor."
    )


def _log_probabilities(
    model: LlamaModel, before: NDArray[np.float32], tokens: Sequence[int]
) -> list[float]:
    """Natural log-probability of each token; `before` are the logits `[1, vocabulary]` that the
    first one is chosen by. A single token needs no reading at all."""
    batch = model.settings.batch
    scores = _chosen(before, tokens[:1])
    for at in range(0, len(tokens) - 1, batch):
        inputs = tokens[at : min(at + batch, len(tokens) - 1)]
        logits = model.read(inputs, logits=True)
        assert logits is not None
        scores += _chosen(logits, tokens[at + 1 : at + 1 + len(inputs)])
    return scores


def _chosen(logits: NDArray[np.float32], tokens: Sequence[int]) -> list[float]:
    wide = logits[: len(tokens)].astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    norm = np.log(np.exp(wide).sum(axis=1))
    scores: list[float] = (wide[np.arange(len(tokens)), list(tokens)] - norm).tolist()
    return scores


def _refuse_longer(model: LlamaModel, tokens: int) -> None:
    if tokens > model.context:
        raise EngineError(
            f"the text has {tokens:,} tokens and the model's context holds {model.context:,}; "
            "shorten it, or load the model with a larger context"
        )
