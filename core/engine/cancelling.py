"""A flag that llama.cpp itself looks at, thousands of times a second, without Python.

llama.cpp stops computing when its abort callback, `bool (*)(void *)`, says so. A Python callback
would take the interpreter's lock at every node of the graph. The C library's `strlen` fits the
signature: of a buffer that begins with 0 it is 0, "go on"; once the first byte is 1 it is 1,
"stop".
"""

from __future__ import annotations

import ctypes

import llama_cpp.llama_cpp as llama


class CancelFlag:
    """`set` from any thread; llama.cpp's CPU back end stops at its next node."""

    def __init__(self) -> None:
        self._bytes = ctypes.create_string_buffer(b"\0\0")
        library = ctypes.CDLL(None)  # the C library this program runs on
        address = ctypes.cast(library.strlen, ctypes.c_void_p).value
        self._library = library  # keeps the address valid
        self._callback = llama.ggml_abort_callback(address)

    def set(self) -> None:
        self._bytes[0] = b"\x01"

    def clear(self) -> None:
        self._bytes[0] = b"\0"

    def is_set(self) -> bool:
        return bool(self._bytes[0] != b"\0")

    def attach(self, context: int) -> None:
        """Make `context` (a llama_context) look at this flag."""
        llama.llama_set_abort_callback(
            context, self._callback, ctypes.cast(self._bytes, ctypes.c_void_p)
        )
