"""One HTTP connection to a model server: JSON in, lines out, and hanging up from any thread."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sparsedoctor.core.engine.protocol import EngineError
from sparsedoctor.core.engine.server_address import ServerAddress

_LONGEST_LINE = 1 << 20  # bytes
_LONGEST_JSON = 1 << 24
_OK = 200


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How long to wait, in seconds."""

    connect: float = 10.0
    listing: float = 10.0  # for the list of its models
    silence: float = 120.0  # without a word: a long prompt may take that long to read


class ServerFailure(EngineError):
    """The server answered, with a refusal."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class Connection:
    """Requests to the server at `url` (read as `ServerAddress.of` does), one at a time."""

    def __init__(self, url: str, key: str, settings: ServerSettings) -> None:
        self._address, self._settings = ServerAddress.of(url), settings
        self._url = url
        if not (key.isascii() and key.isprintable()):
            raise EngineError(
                "the key in SPARSEDOCTOR_SERVER_KEY holds a line end or a letter that no key has; "
                "set it again"
            )
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._hung_up = False

    def pick_up(self) -> None:
        """Allow requests again after `hang_up`."""
        with self._lock:
            self._hung_up = False

    def get_json(self, name: str) -> Any:
        """The answer to GET `name`. Raises EngineError."""
        with self._open("GET", name, None, self._settings.listing) as response:
            try:
                return json.loads(response.read(_LONGEST_JSON))
            except (ValueError, OSError, http.client.HTTPException):
                raise EngineError(
                    f"what answers at {self._url} is no OpenAI-compatible server"
                ) from None

    def post_lines(self, name: str, body: dict[str, Any]) -> Iterator[bytes]:
        """Lines of the answer to POST `name`, as they come.

        Raises EngineError when the server cannot be reached, refuses (ServerFailure), or is
        silent for too long.
        """
        data = json.dumps(body).encode("utf-8", "replace")
        response = self._open("POST", name, data, self._settings.silence)
        return self._lines(response)

    def hang_up(self) -> None:
        """End the present request and refuse new ones; whoever reads is woken. Any thread may
        call it."""
        with self._lock:
            self._hung_up = True
            open_socket, self._socket = self._socket, None
        if open_socket is not None:
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)

    def _lines(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        with response:
            while True:
                try:
                    line = response.readline(_LONGEST_LINE)
                except (OSError, ValueError, http.client.HTTPException) as error:
                    raise EngineError(self._in_words(error)) from None
                if not line:
                    return
                yield line.rstrip(b"\r\n")

    def _open(
        self, method: str, name: str, body: bytes | None, silence: float
    ) -> http.client.HTTPResponse:
        at = self._address
        make = http.client.HTTPSConnection if at.secure else http.client.HTTPConnection
        connection = make(at.host, at.port, timeout=self._settings.connect)
        try:
            connection.connect()
            connection.sock.settimeout(silence)
            with self._lock:
                if self._hung_up:
                    raise ConnectionAbortedError("it was cancelled")
                self._socket = connection.sock
            connection.request(method, f"{at.path}/{name}", body, self._headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise EngineError(self._in_words(error)) from None
        if response.status != _OK:
            with response:
                raise self._refusal(response)
        return response

    def _refusal(self, response: http.client.HTTPResponse) -> ServerFailure:
        text = ""
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            text = response.read(_LONGEST_LINE).decode("utf-8", "replace")
            answer = json.loads(text)
            error = answer.get("error", answer) if isinstance(answer, dict) else answer
            text = str(error.get("message", error) if isinstance(error, dict) else error)
        why = "".join(filter(str.isprintable, " ".join(text.split())))[:300] or response.reason
        hint = {
            401: "; put its key into SPARSEDOCTOR_SERVER_KEY",
            403: "; put its key into SPARSEDOCTOR_SERVER_KEY",
            404: "; is the address right? it often ends in /v1",
        }.get(response.status, "")
        return ServerFailure(
            f"the server at {self._url} refused ({response.status}): {why}{hint}", response.status
        )

    def _in_words(self, error: Exception) -> str:
        if isinstance(error, ConnectionRefusedError):
            why = "connection refused"
        elif isinstance(error, TimeoutError):
            why = "it was silent for too long"
        elif isinstance(error, socket.gaierror):
            why = "the name is unknown"
        else:
            why = str(getattr(error, "strerror", "") or error or type(error).__name__)
        return (
            f"no answer from the model server at {self._url} ({' '.join(why.split())}); "
            "start it, or go on without --server"
        )
