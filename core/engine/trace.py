"""Which experts llama.cpp chose, read from its own computation through `cb_eval`.

llama.cpp asks before every node of the graph whether we want to see it (some 1,400 times a token)
and calls again once a wanted node is computed. Every wanted node cuts the graph, so only
`ffn_moe_weights_norm-<layer>` is wanted; the chosen experts, `ffn_moe_topk-<layer>`, are still in
memory then, because the experts' products that follow read them.

Most of the cost is the asking. Between tokens the graph stays the same, so the nodes are known by
address and asking is one set lookup; each address is checked by name when it is read, and a token
whose trace is not complete is decoded again with every node looked at by name.
"""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
from llama_cpp._ggml import libggml_base_path
from numpy.typing import NDArray

_TOPK, _WEIGHTS = b"ffn_moe_topk-", b"ffn_moe_weights_norm-"
_COMMON = len(b"ffn_moe_")


class TraceUnavailable(Exception):
    """This llama-cpp-python does not let us look; the model works without."""


class RoutingTrace:
    """Collects the routing of one decode at a time.

    `begin(tokens)`, decode, `complete()`; then `experts` and `weights` `[tokens, layers, used]`
    hold what was chosen, -1 and 0 in layers without experts. The object must outlive the context
    that has its `callback`.
    """

    def __init__(self, layers: int, expert_layers: int, used: int) -> None:
        self._layers, self._expert_layers, self._used = layers, expert_layers, used
        self._ggml = _GgmlBase()
        self._name_offset: int | None = None
        self._wanted: dict[int, tuple[int, int, bytes, bytes]] = {}  # weights -> layer, top-k, ...
        self._topk: dict[bytes, int] = {}  # layer's number -> address
        self._learning = True
        self._tokens = 0
        self._seen = 0
        self.experts: NDArray[np.int32] = np.empty((0, layers, used), dtype=np.int32)
        self.weights: NDArray[np.float32] = np.empty((0, layers, used), dtype=np.float32)
        self.callback = llama.ggml_backend_sched_eval_callback(self._on_node)

    def begin(self, tokens: int) -> None:
        """The next decode is of `tokens` tokens, each of them an output."""
        if tokens != self._tokens or tokens != 1:
            self.forget()
        self._tokens, self._seen = tokens, 0
        self.experts = np.full((tokens, self._layers, self._used), -1, dtype=np.int32)
        self.weights = np.zeros((tokens, self._layers, self._used), dtype=np.float32)

    def complete(self) -> bool:
        """Whether every layer of the last decode was seen; if so its graph is known by now."""
        whole = self._seen == self._expert_layers
        self._learning = not whole or self._tokens != 1
        return whole

    def forget(self) -> None:
        """Look at every node by name again."""
        self._wanted.clear()
        self._topk.clear()
        self._learning = True

    def _on_node(self, node: int, ask: bool, _: Any) -> bool:
        # An exception cannot pass through llama.cpp: a node not understood stays unseen, and
        # `complete` tells.
        if ask:
            return self._learn(node) if self._learning else node in self._wanted
        try:
            self._read(node)
        except Exception:
            self._learning = True
        return True

    def _learn(self, node: int) -> bool:
        try:
            if self._name_offset is None:
                self._name_offset = self._ggml.name_address(node) - node
            name = ctypes.string_at(node + self._name_offset, _COMMON)
            if name != b"ffn_moe_":
                return False
            name = ctypes.string_at(node + self._name_offset)
            if name.startswith(_TOPK) and name[len(_TOPK) :].isdigit():
                self._topk[name[len(_TOPK) :]] = node
            if name.startswith(_WEIGHTS) and name[len(_WEIGHTS) :].isdigit():
                number = name[len(_WEIGHTS) :]
                topk = self._topk.get(number)
                if topk is not None:
                    self._wanted[node] = (int(number), topk, name, _TOPK + number)
                    return True
        except Exception:
            return False
        return False

    def _read(self, node: int) -> None:
        layer, topk, weights_name, topk_name = self._wanted[node]
        offset = self._name_offset
        assert offset is not None
        if (
            ctypes.string_at(node + offset) != weights_name
            or ctypes.string_at(topk + offset) != topk_name
        ):
            return
        experts = self._rows(topk, np.dtype(np.int32))
        weights = self._rows(node, np.dtype(np.float32))
        if experts is None or weights is None:
            return
        self.experts[:, layer, :], self.weights[:, layer, :] = experts, weights
        self._seen += 1

    def _rows(self, node: int, kind: np.dtype[Any]) -> NDArray[Any] | None:
        """A node of `[tokens][used]` 4-byte values; rows may lie apart (top-k is a view)."""
        tokens, used = self._tokens, self._used
        if self._ggml.elements(node) != tokens * used:
            return None
        size = self._ggml.size(node)
        buffer = np.empty(size, dtype=np.uint8)
        self._ggml.read(node, buffer.ctypes.data, size)
        row = used * 4
        stride = (size - row) // (tokens - 1) if tokens > 1 else row
        rows = np.lib.stride_tricks.as_strided(buffer, (tokens, row), (stride, 1))
        return np.ascontiguousarray(rows).view(kind)


class _GgmlBase:
    """The few functions of ggml that read a tensor, so that its layout need not be known."""

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL(_library_path())
            self._name = library.ggml_get_name
            self._elements = library.ggml_nelements
            self._size = library.ggml_nbytes
            self._get = library.ggml_backend_tensor_get
        except (OSError, AttributeError) as error:
            raise TraceUnavailable(str(error)) from error
        self._name.argtypes, self._name.restype = [ctypes.c_void_p], ctypes.c_void_p
        self._elements.argtypes, self._elements.restype = [ctypes.c_void_p], ctypes.c_int64
        self._size.argtypes, self._size.restype = [ctypes.c_void_p], ctypes.c_size_t
        self._get.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
        self._get.restype = None

    def name_address(self, node: int) -> int:
        return int(self._name(node))

    def elements(self, node: int) -> int:
        return int(self._elements(node))

    def size(self, node: int) -> int:
        return int(self._size(node))

    def read(self, node: int, address: int, size: int) -> None:
        self._get(node, address, 0, size)


def _library_path() -> str:
    for name in ("libggml-base.so", "libggml-base.dylib", "ggml-base.dll"):
        path = libggml_base_path / name
        if path.is_file():
            return str(path)
    raise TraceUnavailable("llama-cpp-python brings no ggml-base library")
