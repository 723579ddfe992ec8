"""Models behind an OpenAI-compatible server: llama-server, vLLM, SGLang, Ollama and others.

The prompt is sent as text to `/v1/completions`, so that the model reads the same bytes as every
other backend. Log-probabilities of continuations come from `echo` where a server has it and has it
right, else from the listing of the likeliest next tokens, which is enough for single letters.
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

_LISTED = (20, 5)  # likeliest tokens asked for: more than 20, and for some more than 5, is refused
_SAME = 0.05  # nats; a server's own two ways of telling one log-probability
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
            if self._echoes is None:
                self._echoes = self._echo_is_right(prompt)
            scores = None
            if self._echoes:
                found = [self._echo(prompt, text) for text in request.continuations]
                scores = [one for one in found if one is not None]
            if scores is None or len(scores) < len(request.continuations):
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

    def _echo_is_right(self, prompt: str) -> bool:
        """Whether echoed log-probabilities are those of the tokens they stand beside: some servers
        tell each token that of its neighbour. Held against the token that the server writes."""
        body = {"prompt": prompt, "max_tokens": 1, "temperature": 0.0, "logprobs": 1}
        try:
            choice = self._complete(body)
        except _Refused:
            return False
        written, listed = str(choice.get("text", "")), _likeliest(choice.get("logprobs"))
        echoed = self._echo(prompt, written) if written else None
        if not echoed or written.strip() not in listed:
            return False
        return abs(sum(echoed) - listed[written.strip()]) < _SAME

    def _echo(self, prompt: str, continuation: str) -> list[float] | None:
        """Log-probabilities of the continuation's tokens, or None where they are not told."""
        body = {"prompt": prompt + continuation, "max_tokens": 1, "echo": True, "logprobs": 1}
        try:
            choice = self._complete(body | {"temperature": 0.0})
        except _Refused:
            return None
        return _echoed(choice.get("logprobs"), continuation)

    def _score_by_listing(self, prompt: str, request: Request) -> list[list[float]]:
        wanted = [text.strip() for text in request.continuations]
        if any(len(text) != 1 for text in wanted):
            raise SparseDoctorError(
                f"{self._address} does not score given texts, only next tokens, which is not "
                f"enough for {request.question.id}; use --scoring generate"
            )
        listed = self._listing(prompt)
        self.record.details["scores"] = "of the likeliest next tokens, as the server lists them"
        # A letter that is not listed is less likely than all that are.
        floor = min(listed.values()) - 1.0
        return [[listed.get(letter, floor)] for letter in wanted]

    def _listing(self, prompt: str) -> dict[str, float]:
        """Log-probabilities of the likeliest next tokens. Raises SparseDoctorError."""
        reason = ""
        for count in _LISTED:
            body = {"prompt": prompt, "max_tokens": 1, "temperature": 0.0, "logprobs": count}
            try:
                listed = _likeliest(self._complete(body).get("logprobs"))
            except _Refused as refused:
                reason = f" ({refused})"
                continue
            if listed:
                return listed
        raise SparseDoctorError(
            f"{self._address} gives no log-probabilities{reason}; use --scoring generate"
        )

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


def _echoed(logprobs: Any, continuation: str) -> list[float] | None:
    """Log-probabilities of the tokens that make up `continuation`, at the end of what was echoed
    or before the one token written after it.

    Found from the end: what the prompt's tokens are called (control tokens, a beginning that the
    server adds) differs between servers.
    """
    if not isinstance(logprobs, dict):
        return None
    tokens, values = logprobs.get("tokens") or [], logprobs.get("token_logprobs") or []
    if not tokens or len(tokens) != len(values):
        return None
    for end in (len(tokens) - 1, len(tokens)):
        begin, text = end, ""
        while begin > 0 and len(text) < len(continuation):
            begin -= 1
            text = str(tokens[begin]) + text
        if begin > 0 and text == continuation and None not in values[begin:end]:
            return [float(value) for value in values[begin:end]]
    return None


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
