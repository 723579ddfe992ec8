"""The child's side of `importance`: watches the inputs of every matrix while texts are read.

What enters a matrix is the node of the graph before it, found by llama.cpp's name for it:

    attn_norm -> attn_q, attn_k, attn_v        ffn_norm       -> ffn_gate_exps, ffn_up_exps
    kqv_out   -> attn_output                   ffn_moe_swiglu -> ffn_down_exps
                        ffn_moe_topk says which expert a token's row is for
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from sparsedoctor.core.engine.native_log import NativeLog
from sparsedoctor.core.engine.protocol import EngineError
from sparsedoctor.core.engine.templates import find_template
from sparsedoctor.core.engine.trace import GgmlBase, TraceUnavailable
from sparsedoctor.core.engine.vocabulary import Vocabulary
from sparsedoctor.core.engine.wire import unpack_messages

_NODES = re.compile(rb"(attn_norm|kqv_out|ffn_norm|ffn_moe_topk|ffn_moe_swiglu)-(\d+)")
_FLOAT, _INT = np.dtype(np.float32), np.dtype(np.int32)
Sums = NDArray[np.float64]


def run_weighing(
    request: dict[str, Any], log: NativeLog, send: Callable[..., None]
) -> dict[str, Any]:
    """Read the conversations; send progress, then each matrix's table. Raises EngineError."""
    log.begin()
    try:
        inputs = _Inputs(request["sizes"], request["experts"], request["used"])
        callback = llama.ggml_backend_sched_eval_callback(inputs.on_node)
    except (TraceUnavailable, AttributeError) as error:
        raise EngineError(f"this llama-cpp-python does not show its inputs ({error})") from error
    model, context = _open(request, callback, log)
    vocabulary = Vocabulary(llama.llama_model_get_vocab(model))
    write = find_template(request["template"]).write
    conversations = request["conversations"]
    for number, packed in enumerate(conversations, start=1):
        tokens = vocabulary.write(write(unpack_messages(packed)))[: request["most_tokens"]]
        if tokens:
            inputs.tokens = len(tokens)
            _read(context, tokens)
        send({"at": number, "of": len(conversations)})
    for name, values in inputs.table().items():
        send({"tensor": name}, values.tobytes())
    return {}


class _Inputs:
    """Sums of squares of what enters each matrix. `sizes` are the tensors' shapes by name."""

    def __init__(self, sizes: dict[str, list[int]], experts: int, used: int) -> None:
        self.tokens = 0  # of the batch that is being read
        self._ggml = GgmlBase()
        self._sizes, self._experts, self._used = sizes, experts, used
        self._sums: dict[str, Sums] = {}  # [experts or 1, inputs]
        self._counts: dict[str, Sums] = {}  # [experts or 1]
        self._enters: NDArray[np.float32] = np.empty((0, 0), np.float32)  # a block, [tokens, in]
        self._chosen: NDArray[np.int32] = np.empty((0, 0), np.int32)  # [tokens, used]
        self._problem = ""

    def on_node(self, node: int, ask: bool, _: object) -> bool:
        """What llama.cpp calls before and after a node; nothing may be raised into it."""
        try:
            found = _NODES.fullmatch(ctypes.string_at(self._ggml.name(node)))
            if found is not None and not ask:
                self._see(found[1].decode(), f"blk.{int(found[2])}.", node)
            return found is not None or not ask
        except Exception as error:
            self._problem = f"{type(error).__name__}: {error}"
            return not ask

    def table(self) -> dict[str, NDArray[np.float32]]:
        """Mean squares, flat. An expert that no token reached takes the mean of the others.

        Raises EngineError when a matrix has not been seen."""
        wanted = {name for name, shape in self._sizes.items() if _is_weighed(name, shape)}
        missing = sorted(wanted - set(self._sums))
        if missing or self._problem:
            raise EngineError(
                "this llama.cpp computes in an unknown way; the inputs of "
                f"{missing[0] if missing else 'some matrix'} were not seen ({self._problem})"
            )
        table = {}
        for name, sums in self._sums.items():
            counts = self._counts[name][:, None]
            overall = sums.sum(axis=0) / counts.sum()
            means = np.where(counts > 0, sums / np.maximum(counts, 1), overall)
            # An input of exactly nothing would let the quantiser divide by zero.
            table[name] = np.maximum(means, 1e-6 * means.mean()).astype("<f4").ravel()
        return table

    def _see(self, part: str, at: str, node: int) -> None:
        hidden, width = self._sizes[at + "ffn_gate_exps.weight"][:2]
        if part == "attn_norm":
            for name in ("attn_q", "attn_k", "attn_v"):
                self._add(f"{at}{name}.weight", self._values(node, hidden))
        elif part == "kqv_out":
            name = at + "attn_output.weight"
            self._add(name, self._values(node, self._sizes[name][0]))
        elif part == "ffn_norm":
            self._enters = self._values(node, hidden)
        elif part == "ffn_moe_topk":
            self._chosen = self._ggml.rows(node, self.tokens, self._used, _INT)
            for name in ("ffn_gate_exps", "ffn_up_exps"):
                for choice in range(self._used):
                    self._add_chosen(f"{at}{name}.weight", self._enters, choice)
        else:
            leaves = self._values(node, self._used * width).reshape(-1, self._used, width)
            for choice in range(self._used):
                self._add_chosen(at + "ffn_down_exps.weight", leaves[:, choice], choice)

    def _values(self, node: int, columns: int) -> NDArray[np.float32]:
        return self._ggml.rows(node, self.tokens, columns, _FLOAT)

    def _add(self, name: str, rows: NDArray[np.float32], expert: int = 0, stack: int = 1) -> None:
        sums = self._sums.setdefault(name, np.zeros((stack, rows.shape[1])))
        counts = self._counts.setdefault(name, np.zeros(stack))
        sums[expert] += np.square(rows, dtype=np.float64).sum(axis=0)
        counts[expert] += len(rows)

    def _add_chosen(self, name: str, rows: NDArray[np.float32], choice: int) -> None:
        for expert in range(self._experts):
            self._add(name, rows[self._chosen[:, choice] == expert], expert, self._experts)


def _is_weighed(name: str, shape: list[int]) -> bool:
    """Matrices of the layers; embedding and output keep so many bits that weighing is idle."""
    return name.startswith("blk.") and len(shape) > 1 and "ffn_gate_inp" not in name


def _open(request: dict[str, Any], callback: Any, log: NativeLog) -> tuple[Any, Any]:
    llama.llama_backend_init()
    path = request["source"]
    model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
    if not model:
        raise EngineError(f"llama.cpp cannot load {path} ({log.complaint or 'damaged'})")
    parameters = llama.llama_context_default_params()
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = request["most_tokens"]
    parameters.n_threads = parameters.n_threads_batch = request["threads"]
    parameters.cb_eval = callback
    context = llama.llama_init_from_model(model, parameters)
    if not context:
        raise EngineError(f"llama.cpp cannot run {path} ({log.complaint or 'too little memory'})")
    return model, context


def _read(context: Any, tokens: list[int]) -> None:
    count = len(tokens)
    llama.llama_memory_clear(llama.llama_get_memory(context), False)
    array = (llama.llama_token * count)(*tokens)  # the batch only points to it
    batch = llama.llama_batch_get_one(array, count)
    every = (ctypes.c_int8 * count)(*([1] * count))  # else the last layer sees one token alone
    batch.logits = ctypes.cast(every, ctypes.POINTER(ctypes.c_int8))
    code = llama.llama_decode(context, batch)
    if code != 0:
        raise EngineError(f"llama.cpp could not compute a text (code {code})")
