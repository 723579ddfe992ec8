"""Models behind an OpenAI-compatible server: llama-server, vLLM, SGLang, Ollama and others.

The prompt is sent as text to `/v1/completions`, so that the model reads the same bytes as every
other backend. Log-probabilities of continuations come from `echo` where a server has it, else
from the listing of the likeliest next tokens, which is enough for single letters.
"""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sparsedoctor.core.engine.templates import find_template
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.evaluate.backends.backend import ModelRecord, Prompting
from sparsedoctor.train.evaluate.scoring import Request

_LISTED = 20  # likeliest tokens asked for; servers give at most about that many
_TIMEOUT = 600.0  # seconds


class ServerBackend(Prompting):
    """`address` ends before "/v1"; `key` is sent as a bearer token where it is not empty."""

    def __init__(self, address: str, record: ModelRecord, key: str = "") -> None:
        self.record = record
        self._address = api_root(address)
        self._key = key
        self._echoes: bool | None = None  # whether the server scores prompts; tried once

    def score(self, requests: Sequence[Request]) -> Iterator[tuple[int, list[list[float]]]]:
        for index, request in enumerate(requests):
            prompt = self.prompt(request.messages)
            scores = None
            if self._echoes is not False:
                scores = self._score_by_echo(prompt, request.continuations)
                self._echoes = scores is not None
            if scores is None:
                scores = self._score_by_listing(prompt, request)
            yield index, scores

    def generate(
        self, requests: Sequence[Request], max_tokens: int, seed: int
    ) -> Iterator[tuple[int, str]]:
        stops = list(find_template(self.record.template).stops)[:4]
        for index, request in enumerate(requests):
            body = {
                "prompt": self.prompt(request.messages),
                "max_tokens": max_tokens,
                "temperature": 0.0,
                "seed": seed,
                "stop": stops,
            }
            yield index, str(self._complete(body).get("text", "")).strip()

    def close(self) -> None:
        pass

    def _score_by_echo(self, prompt: str, continuations: Sequence[str]) -> list[list[float]] | None:
        scores = []
        for continuation in continuations:
            body = {"prompt": prompt + continuation, "max_tokens": 1, "echo": True, "logprobs": 1}
            try:
                choice = self._complete(body | {"temperature": 0.0})
            except _Refused:
                return None
            found = _echoed(choice.get("logprobs"), len(prompt), len(prompt + continuation))
            if found is None:
                return None
            scores.append(found)
        return scores

    def _score_by_listing(self, prompt: str, request: Request) -> list[list[float]]:
        wanted = [text.strip() for text in request.continuations]
        if any(len(text) != 1 for text in wanted):
            raise SparseDoctorError(
                f"{self._address} does not score given texts, only next tokens, which is not "
                f"enough for {request.question.id}; use --scoring generate"
            )
        body = {"prompt": prompt, "max_tokens": 1, "temperature": 0.0, "logprobs": _LISTED}
        listed = _likeliest(self._complete(body).get("logprobs"))
        if not listed:
            raise SparseDoctorError(
                f"{self._address} gives no log-probabilities; use --scoring generate"
            )
        # A letter that is not listed is less likely than all that are.
        floor = min(listed.values()) - 1.0
        return [[listed.get(letter, floor)] for letter in wanted]

    def _complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = request_json(
            f"{self._address}/v1/completions", {"model": self.record.name, **body}, self._key
        )
        try:
            choice = answer["choices"][0]
        except (KeyError, IndexError, TypeError) as error:
            raise SparseDoctorError(f"{self._address} answered without a choice") from error
        return dict(choice)


class _Refused(SparseDoctorError):
    """The server answered with an error status."""


def api_root(address: str) -> str:
    """The address without a trailing "/v1" or slash."""
    return address.rstrip("/").removesuffix("/v1")


def served_model(address: str, key: str = "") -> str:
    """The first model that a server offers. Raises SparseDoctorError when it cannot be reached."""
    answer = request_json(f"{api_root(address)}/v1/models", None, key)
    models = answer.get("data") or []
    if not models:
        raise SparseDoctorError(f"{address} offers no model; name one with --served-model")
    return str(models[0].get("id", ""))


def request_json(url: str, body: Mapping[str, Any] | None, key: str) -> dict[str, Any]:
    """POST `body` (GET without one) and read the JSON object of the answer."""
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    try:
        request = urllib.request.Request(url, data, headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as reply:
            answer = json.loads(reply.read())
    except urllib.error.HTTPError as error:
        detail = error.read(200).decode("utf-8", "replace").replace("\n", " ")
        raise _Refused(f"{url} answered {error.code}: {detail}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise SparseDoctorError(
            f"no usable answer from {url} ({reason}); is the server running there?"
        ) from error
    if not isinstance(answer, dict):
        raise SparseDoctorError(f"{url} answered with something else than a JSON object")
    return answer


def _echoed(logprobs: Any, begin: int, end: int) -> list[float] | None:
    """Log-probabilities of the echoed tokens whose text lies in [begin, end) of the prompt."""
    if not isinstance(logprobs, dict) or not logprobs.get("text_offset"):
        return None
    offsets, values = logprobs["text_offset"], logprobs.get("token_logprobs") or []
    if offsets[0] != 0 or len(values) < len(offsets):
        return None  # only what was written, not the prompt
    found = [
        value
        for offset, value in zip(offsets, values, strict=False)
        if begin <= offset < end and value is not None
    ]
    return found or None


def _likeliest(logprobs: Any) -> dict[str, float]:
    """The best log-probability of each next token, by its stripped text."""
    if not isinstance(logprobs, dict):
        return {}
    pairs: list[tuple[str, float]] = []
    if logprobs.get("content"):  # as in chat completions
        first = logprobs["content"][0]
        listed = [*first.get("top_logprobs", []), first]
        pairs = [(str(one.get("token")), float(one.get("logprob", -math.inf))) for one in listed]
    elif logprobs.get("top_logprobs"):
        pairs = [(str(text), float(value)) for text, value in logprobs["top_logprobs"][0].items()]
    best: dict[str, float] = {}
    for text, value in pairs:
        best[text.strip()] = max(value, best.get(text.strip(), -math.inf))
    return best
