"""The child process: llama.cpp behind a channel.

    python -m sparsedoctor.core.engine.worker <fd of the channel> <pid of the parent>

File descriptors 1 and 2 are a log already when this starts. One thread receives, so that a cancel
or the parent's end is seen at once while the other computes. Nothing a person wrote is logged.
"""

from __future__ import annotations

import contextlib
import os
import queue
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from typing import Any

from sparsedoctor.core.engine.channel import Channel, ChannelClosed

_PARENT_CHECK = 1.0  # seconds


def main() -> None:
    _forbid_core_dumps()
    for number in (signal.SIGINT, signal.SIGTSTP, signal.SIGTTOU, signal.SIGTTIN):
        signal.signal(number, signal.SIG_IGN)  # keys pressed in the terminal are the parent's
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    inbox = _Inbox(channel)
    threading.Thread(target=inbox.receive_forever, daemon=True).start()
    threading.Thread(target=_follow_parent, args=(int(sys.argv[2]),), daemon=True).start()
    # Imported only now, because it takes a moment and the parent may end in it.
    from sparsedoctor.core.engine.service import Service

    service = Service(channel.send)
    inbox.serve(service.flag)
    while True:
        message, data = inbox.next()
        try:
            service.answer(message, data)
        except ChannelClosed:
            os._exit(0)
        except Exception:
            traceback.print_exc()  # to the log
            channel.send({"error": "an internal error of the engine; its log tells more"})


def _forbid_core_dumps() -> None:
    """A core file would hold the conversation."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A core that is piped to a program (systemd-coredump) ignores the limit: leave it empty.
    with contextlib.suppress(OSError), open("/proc/self/coredump_filter", "w") as file:
        file.write("0")


class _Inbox:
    """Requests in order; "cancel" overtakes them."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._requests: queue.SimpleQueue[tuple[dict[str, Any], bytes]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._flag: Any = None
        self._newest = -1  # number of the newest request
        self._cancelled = -1  # number of the request that was cancelled last

    def serve(self, flag: Any) -> None:
        """From now on a cancel sets `flag`."""
        with self._lock:
            self._flag = flag

    def next(self) -> tuple[dict[str, Any], bytes]:
        message, data = self._requests.get()
        with self._lock:
            # A cancel may have overtaken its request: then the flag must be up when it starts.
            if self._cancelled == message.get("number"):
                self._flag.set()
            else:
                self._flag.clear()
        return message, data

    def receive_forever(self) -> None:
        """Ends the process when the parent's end of the channel is closed."""
        while True:
            try:
                message, data = self._channel.receive()
            except ChannelClosed:
                os._exit(0)  # not sys.exit: the other thread may be deep in llama.cpp
            if message.get("do") == "cancel":
                with self._lock:
                    self._cancelled = message["number"]
                    if self._flag is not None and self._cancelled == self._newest:
                        self._flag.set()
            else:
                with self._lock:
                    self._newest = message["number"]
                self._requests.put((message, data))


def _follow_parent(parent: int) -> None:
    """End when the parent is gone although something else still holds its end of the channel.

    Not PR_SET_PDEATHSIG: that fires when the *thread* that started us ends.
    """
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK)
    os._exit(0)


if __name__ == "__main__":
    main()
