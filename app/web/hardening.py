"""What keeps the page on this computer: environment, headers, and who may ask.

Gradio counts missing headers and foreign hosts as the application's duty. Three guards:
the host name (a foreign name that resolves to 127.0.0.1 is refused: DNS rebinding), the origin
(another web page in the same browser is refused), and a content security policy (the page can
load nothing from anywhere else, also not an image whose address a model wrote).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sparsedoctor.core.paths import cache_dir

HOST = "127.0.0.1"
HOST_NAMES = (HOST, "localhost")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "connect-src 'self'; media-src 'self' blob:; object-src 'none'; "
        "frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}

_ENVIRONMENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SHARE": "False",
    "GRADIO_SERVER_NAME": HOST,
    "GRADIO_SSR_MODE": "False",
    "GRADIO_ALLOW_FLAGGING": "never",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}


def prepare_environment() -> None:
    """Switch off everything gradio would send. Must run before gradio is imported."""
    os.umask(0o077)
    os.environ.update(_ENVIRONMENT)
    folder = cache_dir() / "web"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ["GRADIO_TEMP_DIR"] = str(folder)


class OwnOriginOnly:
    """ASGI middleware: refuses requests that another web page caused, and every upload."""

    def __init__(self, app: Application, port: int) -> None:
        self._app = app
        self._origins = {f"http://{name}:{port}" for name in HOST_NAMES}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            reason = self._refusal(scope)
            if reason:
                await _refuse(scope, send, reason)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> str:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        origin = headers.get(b"origin")
        if origin is not None and origin not in self._origins:
            return "this page answers only to itself"
        site = headers.get(b"sec-fetch-site", "none")
        following_a_link = scope.get("method") == "GET" and (
            headers.get(b"sec-fetch-mode") == "navigate"
        )
        if site not in ("none", "same-origin") and not following_a_link:
            return "this page answers only to itself"
        if "/upload" in scope["path"]:
            return "nothing can be uploaded here"
        return ""


class PrivateHeaders:
    """ASGI middleware: sets `HEADERS` on every answer, in place of any others of that name."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = with_headers(message.get("headers", []))
            await send(message)

        await self._app(scope, receive, send_with_headers)


def with_headers(given: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """`given` with ours in place of those of the same name, and without a foreign permission."""
    ours = {name.encode() for name in HEADERS} | {b"access-control-allow-origin"}
    kept = [(name, value) for name, value in given if name.lower() not in ours]
    return kept + [(name.encode(), value.encode()) for name, value in HEADERS.items()]


async def _refuse(scope: Scope, send: Send, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
        return
    body = f"{reason}\n".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
