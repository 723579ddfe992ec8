"""Messages between the interface's process and the engine's.

    u32 length of the JSON | u32 length of the bytes | JSON object | bytes

JSON and raw numbers only, never pickle: the child reads files that nobody vouches for, and what
it says must not be able to run anything in the parent.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import threading
from typing import Any

_LENGTHS = struct.Struct("<II")
_JSON_LIMIT = 1 << 26  # bytes
_BYTES_LIMIT = 1 << 30

Frame = tuple[dict[str, Any], bytes]


class ChannelClosed(Exception):
    """The other side is gone, or speaks nonsense."""


class Channel:
    """One end of a stream socket. One thread receives; any thread may send."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._sending = threading.Lock()
        self.broken = False  # a message was left half read, so the next cannot be understood

    def send(self, message: dict[str, Any], data: bytes = b"") -> None:
        """Blocks while the other side does not read. Raises ChannelClosed."""
        text = json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass")
        try:
            with self._sending:
                self._socket.sendall(_LENGTHS.pack(len(text), len(data)) + text)
                if data:
                    self._socket.sendall(data)
        except OSError as error:
            raise ChannelClosed(str(error)) from error

    def receive(self, timeout: float | None = None) -> Frame:
        """The next message. Raises ChannelClosed, also when nothing comes for `timeout` seconds."""
        self._socket.settimeout(timeout)
        try:
            return self._receive()
        except BaseException:  # Ctrl-C in the middle of a message, too
            self.broken = True
            raise
        finally:
            if timeout is not None:
                self._socket.settimeout(None)

    def _receive(self) -> Frame:
        text_length, data_length = _LENGTHS.unpack(self._exactly(_LENGTHS.size))
        if text_length > _JSON_LIMIT or data_length > _BYTES_LIMIT:
            raise ChannelClosed("a message of impossible length")
        try:
            message = json.loads(self._exactly(text_length).decode("utf-8", "surrogatepass"))
        except ValueError as error:
            raise ChannelClosed(f"a message that is no JSON: {error}") from error
        if not isinstance(message, dict):
            raise ChannelClosed("a message that is no object")
        return message, self._exactly(data_length)

    def ready(self, timeout: float) -> bool:
        """Whether something comes within `timeout` seconds (also the other side's end)."""
        return bool(select.select([self._socket], [], [], timeout)[0])

    def shutdown(self) -> None:
        """Wake whoever waits in `receive` or `send`, on both sides."""
        with contextlib.suppress(OSError):  # the other side was faster
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.shutdown()
        self._socket.close()

    def _exactly(self, count: int) -> bytes:
        buffer = bytearray(count)
        view, at = memoryview(buffer), 0
        while at < count:
            try:
                received = self._socket.recv_into(view[at:])
            except OSError as error:
                raise ChannelClosed(str(error)) from error
            if not received:
                raise ChannelClosed("the other side is gone")
            at += received
        return bytes(buffer)
