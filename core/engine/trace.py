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

import contextlib
import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

_TOPK, _WEIGHTS = b"ffn_moe_topk-", b"ffn_moe_weights_norm-"
_COMMON = len(b"ffn_moe_")


class TraceUnavailable(Exception):
    """This llama-cpp-python does not let us look; the model works without."""


# llama.cpp calls with a third argument, which is not needed: leaving it out is allowed in every C
# calling convention in use and saves a conversion at each of the many calls.
_NodeCallback = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool)


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer's two nodes in the present graph, and where the numbers of one token go."""

    layer: int
    topk: int  # address of the node
    topk_name: bytes
    weights_name: bytes
    experts_at: int  # address in `RoutingTrace.experts`
    weights_at: int


class RoutingTrace:
    """Collects the routing of one decode at a time.

    `begin(tokens)`, decode, `complete()`; then `experts` and `weights` `[tokens, layers, used]`
    hold what was chosen, -1 and 0 in layers without experts. The object must outlive the context
    that has its `callback`.

    With `ends_early` the decode ends at the last layer's choice: the keys and values of all layers
    are written by then, and neither that layer's experts nor the output layer, the largest
    product of all, are computed for tokens whose logits nobody wants.
    """

    def __init__(self, layers: int, expert_layers: int, used: int) -> None:
        self._layers, self._expert_layers, self._used = layers, expert_layers, used
        self._ggml = GgmlBase()
        self._name_offset: int | None = None
        self._wanted: dict[int, _Layer] = {}  # by address of the weights
        self._topk: dict[bytes, int] = {}  # address by the layer's number
        self._known = [False]  # whether `_wanted` holds for the graph; a list, to be shared
        self._tokens = 0
        self._seen = 0
        self._ends_early = False
        self.experts: NDArray[np.int32] = np.empty((0, layers, used), dtype=np.int32)
        self.weights: NDArray[np.float32] = np.empty((0, layers, used), dtype=np.float32)
        self._function = _NodeCallback(self._asked())
        address = ctypes.cast(self._function, ctypes.c_void_p).value
        try:
            self.callback = llama.ggml_backend_sched_eval_callback(address)
        except AttributeError as error:
            raise TraceUnavailable(str(error)) from error

    def begin(self, tokens: int, *, ends_early: bool = False) -> None:
        """The next decode is of `tokens` tokens, each of them an output; it gives no logits when
        it `ends_early`."""
        if tokens != self._tokens or tokens != 1:
            self.forget()
            self.experts = np.empty((tokens, self._layers, self._used), dtype=np.int32)
            self.weights = np.empty((tokens, self._layers, self._used), dtype=np.float32)
        self.experts.fill(-1)
        self.weights.fill(0)
        self._tokens, self._seen, self._ends_early = tokens, 0, ends_early

    def complete(self) -> bool:
        """Whether every layer of the last decode was seen; if so its graph is known by now."""
        whole = self._seen == self._expert_layers
        self._known[0] = whole and self._tokens == 1
        return whole

    def forget(self) -> None:
        """Look at every node by name again."""
        self._wanted.clear()
        self._topk.clear()
        self._known[0] = False

    def _asked(self) -> Callable[[int, bool], bool]:
        """What llama.cpp calls. A plain function over local names takes half a method's time."""
        wanted, known, learn, read = self._wanted, self._known, self._learn, self._read

        def on_node(node: int, ask: bool) -> bool:
            if ask:
                return node in wanted if known[0] else learn(node)
            # No exception can pass through llama.cpp: what is not understood stays unseen, and
            # `complete` tells.
            with contextlib.suppress(Exception):
                return read(node, wanted[node])
            return True

        return on_node

    def _learn(self, node: int) -> bool:
        try:
            if self._name_offset is None:
                self._name_offset = self._ggml.name(node) - node
            if ctypes.string_at(node + self._name_offset, _COMMON) != b"ffn_moe_":
                return False
            name = ctypes.string_at(node + self._name_offset)
            if name.startswith(_TOPK) and name[len(_TOPK) :].isdigit():
                self._topk[name[len(_TOPK) :]] = node
            if name.startswith(_WEIGHTS) and name[len(_WEIGHTS) :].isdigit():
                number = name[len(_WEIGHTS) :]
                layer, topk = int(number), self._topk[number]
                self._wanted[node] = _Layer(
                    layer, topk, _TOPK + number, name,
                    self.experts[:1, layer].ctypes.data, self.weights[:1, layer].ctypes.data,
                )  # fmt: skip
                return True
        except Exception:
            return False
        return False

    def _read(self, node: int, known: _Layer) -> bool:
        """Whether llama.cpp shall compute what follows."""
        offset = self._name_offset or 0
        if (
            ctypes.string_at(node + offset) != known.weights_name
            or ctypes.string_at(known.topk + offset) != known.topk_name
        ):
            return True
        if not self._known[0]:
            shape = (self._tokens, self._used)
            experts = self._ggml.rows(known.topk, *shape, np.dtype(np.int32))
            weights = self._ggml.rows(node, *shape, np.dtype(np.float32))
            self.experts[:, known.layer, :] = experts
            self.weights[:, known.layer, :] = weights
        else:  # the same graph as one token ago: the shapes are known to be right
            size = self._used * 4
            self._ggml.read(known.topk, known.experts_at, 0, size)
            self._ggml.read(node, known.weights_at, 0, size)
        self._seen += 1
        return not self._ends_early or known.layer < self._layers - 1


class GgmlBase:
    """The few functions of ggml that read a tensor, so that its layout need not be known."""

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL(_library_path())
            self.name = library.ggml_get_name  # (tensor) -> address of its name
            self.elements = library.ggml_nelements  # (tensor) -> count
            self.size = library.ggml_nbytes  # (tensor) -> bytes
            self.read = library.ggml_backend_tensor_get  # (tensor, to, offset, bytes)
        except (OSError, AttributeError) as error:
            raise TraceUnavailable(str(error)) from error
        self.name.argtypes, self.name.restype = [ctypes.c_void_p], ctypes.c_void_p
        self.elements.argtypes, self.elements.restype = [ctypes.c_void_p], ctypes.c_int64
        self.size.argtypes, self.size.restype = [ctypes.c_void_p], ctypes.c_size_t
        self.read.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
        self.read.restype = None

    def rows(self, node: int, rows: int, columns: int, kind: np.dtype[Any]) -> NDArray[Any]:
        """A node of `[rows][columns]` 4-byte values; rows may lie apart (top-k is a view).

        Raises ValueError when it has another shape.
        """
        width = columns * 4
        if self.elements(node) != rows * columns:
            raise ValueError("a node of another shape")
        size = self.size(node)
        buffer = np.empty(size, dtype=np.uint8)
        self.read(node, buffer.ctypes.data, 0, size)
        stride = (size - width) // (rows - 1) if rows > 1 else width
        apart = np.lib.stride_tricks.as_strided(buffer, (rows, width), (stride, 1))
        return np.ascontiguousarray(apart).view(kind)


def _library_path() -> str:
    folder = Path(llama.__file__).parent / "lib"
    for name in ("libggml-base.so", "libggml-base.dylib"):
        if (folder / name).is_file():
            return str(folder / name)
    raise TraceUnavailable("llama-cpp-python brings no ggml-base library")
