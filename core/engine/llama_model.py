"""A GGUF model in llama.cpp: tokens in, logits and routing out. Only the child process uses it.

It keeps the tokens whose keys and values are in llama.cpp's memory, with the routing of each, so
that a prompt that begins like the last one is read only from where it differs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from sparsedoctor.core.engine.cancelling import CancelFlag
from sparsedoctor.core.engine.native_log import NativeLog
from sparsedoctor.core.engine.protocol import EngineError, Evaluation
from sparsedoctor.core.engine.trace import RoutingTrace, TraceUnavailable
from sparsedoctor.core.engine.vocabulary import Vocabulary


class Cancelled(Exception):
    """The flag was set; what was read before stays in memory."""


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """What the parent decided, all of it definite."""

    path: str
    context: int  # tokens
    batch: int
    threads: int
    gpu_layers: int
    expert_layers: int  # layers that have a router
    layers: int
    experts_used: int
    trace: bool
    check_tensors: bool = False
    exact: bool = False


class LlamaModel:
    """Raises EngineError where llama.cpp refuses the file or the context."""

    def __init__(self, settings: LoadSettings, flag: CancelFlag, log: NativeLog) -> None:
        self.settings = settings
        self.trace_problem = ""  # why the routing is not traced although it was asked for
        self._flag = flag
        self._context: Any = None
        self._trace: RoutingTrace | None = None
        llama.llama_backend_init()
        parameters = llama.llama_model_default_params()
        parameters.n_gpu_layers = settings.gpu_layers
        parameters.check_tensors = settings.check_tensors
        self._model = llama.llama_model_load_from_file(settings.path.encode(), parameters)
        if not self._model:
            why = log.complaint or "the file is damaged or of an unknown kind"
            raise EngineError(
                f"llama.cpp cannot load {settings.path} ({why}); export or fetch the file again"
            )
        self.vocabulary = Vocabulary(llama.llama_model_get_vocab(self._model))
        self._open_context(settings.trace and settings.expert_layers > 0)
        self._tokens: list[int] = []
        shape = (self.context, settings.layers, settings.experts_used)
        traced = self.traced
        self._experts = np.zeros(shape if traced else (0, 0, 0), dtype=np.int16)
        self._weights = np.zeros(shape if traced else (0, 0, 0), dtype=np.float32)

    @property
    def traced(self) -> bool:
        return self._trace is not None

    @property
    def context(self) -> int:
        """Tokens the context holds."""
        return int(llama.llama_n_ctx(self._context))

    @property
    def context_trained(self) -> int:
        return int(llama.llama_model_n_ctx_train(self._model))

    @property
    def position(self) -> int:
        """Number of tokens in memory."""
        return len(self._tokens)

    @property
    def pointer(self) -> Any:
        """The llama_context, for samplers."""
        return self._context

    def routing(self, begin: int, end: int) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
        """Experts and weights of the tokens in memory at these positions. `[n, layers, used]`"""
        return self._experts[begin:end], self._weights[begin:end]

    def reuse(self, tokens: Sequence[int]) -> int:
        """Keep in memory what `tokens` begins with and drop the rest; the number kept.

        The last token is always left to be read, because its logits are wanted.
        """
        common = 0
        for ours, theirs in zip(self._tokens, tokens[:-1], strict=False):
            if ours != theirs:
                break
            common += 1
        return common if self.rewind(common) else 0

    def rewind(self, position: int) -> bool:
        """Forget everything from `position` on; False when all had to be forgotten."""
        memory = llama.llama_get_memory(self._context)
        if position >= len(self._tokens):
            # Also what an interrupted decode left behind the known tokens.
            position = len(self._tokens)
        if position and llama.llama_memory_seq_rm(memory, 0, position, -1):
            del self._tokens[position:]
            return True
        llama.llama_memory_clear(memory, False)
        self._tokens.clear()
        return not position

    def read(
        self, tokens: Sequence[int], *, logits: bool = False, more: bool = False
    ) -> NDArray[np.float32] | None:
        """Take `tokens` into memory, at most one batch of them; logits `[tokens, vocabulary]`.

        `more` tells that others follow before anything is sampled: then no output is computed.
        Raises Cancelled; EngineError when llama.cpp fails. Memory is then as it was before.
        """
        if self._flag.is_set():  # a GPU does not look at the flag while it computes
            raise Cancelled
        every = logits or self.traced  # llama.cpp skips the last layer of tokens without output
        code = self._decode(tokens, every, more)
        if code == 0 and self._trace and not self._trace.complete():
            self._trace.forget()
            self.rewind(len(self._tokens))
            code = self._decode(tokens, every, more)
            if code == 0 and not self._trace.complete():
                self._stop_tracing("llama.cpp computes the routing in an unknown way")
                return self.read(tokens, logits=logits, more=more)
        if code != 0:
            self.rewind(len(self._tokens))
            if code == 2:
                raise Cancelled
            raise EngineError(f"llama.cpp could not compute this text (code {code})")
        begin, end = len(self._tokens), len(self._tokens) + len(tokens)
        if self._trace:
            self._experts[begin:end] = self._trace.experts
            self._weights[begin:end] = self._trace.weights
        self._tokens.extend(tokens)
        return self._logits(len(tokens)) if logits else None

    def evaluate(self, tokens: Sequence[int]) -> Evaluation:
        """Logits and routing of at most one batch of tokens that follow those in memory."""
        begin = self.position
        logits = self.read(tokens, logits=True)
        assert logits is not None
        if not self.traced:
            return Evaluation(logits, None, None)
        experts, weights = self.routing(begin, self.position)
        return Evaluation(logits, experts.astype(np.int32), weights.copy())

    def set_threads(self, threads: int) -> None:
        llama.llama_set_n_threads(self._context, threads, threads)

    @property
    def on_gpu(self) -> bool:
        """Whether layers were asked for on a GPU and this llama-cpp-python can put them there."""
        return self.settings.gpu_layers != 0 and bool(llama.llama_supports_gpu_offload())

    def close(self) -> None:
        if self._context:
            llama.llama_free(self._context)
        if self._model:
            llama.llama_model_free(self._model)
        self._context = self._model = None

    def _open_context(self, trace: bool) -> None:
        settings = self.settings
        if trace:
            try:
                self._trace = RoutingTrace(
                    settings.layers, settings.expert_layers, settings.experts_used
                )
            except TraceUnavailable as error:
                self.trace_problem = str(error)
        parameters = llama.llama_context_default_params()
        parameters.n_ctx = settings.context
        parameters.n_batch = parameters.n_ubatch = settings.batch
        parameters.n_threads = parameters.n_threads_batch = settings.threads
        parameters.no_perf = True
        if settings.exact:
            parameters.type_k = parameters.type_v = llama.GGML_TYPE_F32
            parameters.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
        if self._trace:
            parameters.cb_eval = self._trace.callback
        self._context = llama.llama_init_from_model(self._model, parameters)
        if not self._context:
            raise EngineError(
                f"llama.cpp cannot make a context of {settings.context:,} tokens; "
                "choose a smaller one"
            )
        self._flag.attach(self._context)

    def _stop_tracing(self, problem: str) -> None:
        """Go on without looking: a new context, without the callback, reads what was read."""
        tokens, batch = self._tokens, self.settings.batch
        self.trace_problem = problem
        self._trace = None
        llama.llama_free(self._context)
        self._open_context(trace=False)
        self._tokens = []
        for at in range(0, len(tokens), batch):
            self.read(tokens[at : at + batch], more=True)

    def _decode(self, tokens: Sequence[int], every: bool, more: bool) -> int:
        count = len(tokens)
        array = (llama.llama_token * count)(*tokens)
        batch = llama.llama_batch_get_one(array, count)
        flags = (ctypes.c_int8 * count)(*([1] * count)) if every and count > 1 else None
        if flags is not None:
            batch.logits = ctypes.cast(flags, ctypes.POINTER(ctypes.c_int8))
        if self._trace:
            self._trace.begin(count, ends_early=more)
        return int(llama.llama_decode(self._context, batch))

    def _logits(self, count: int) -> NDArray[np.float32]:
        pointer = llama.llama_get_logits(self._context)
        shape = (count, self.vocabulary.size)
        return np.ctypeslib.as_array(pointer, shape=shape).astype(np.float32, copy=True)
