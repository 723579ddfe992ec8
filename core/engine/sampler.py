"""llama.cpp's own samplers in one chain: penalty, min-p, top-p, temperature, seed."""

from __future__ import annotations

from typing import Any

import llama_cpp.llama_cpp as llama

from sparsedoctor.core.engine.protocol import Sampling

_PENALTY_WINDOW = 256  # tokens the penalty looks back on; with 64, small models circle
_MIN_KEEP = 1


class Sampler:
    """Chooses the next token. The same seed and settings choose the same tokens."""

    def __init__(self, sampling: Sampling, seed: int, vocabulary: int) -> None:
        parameters = llama.llama_sampler_chain_default_params()
        parameters.no_perf = True
        self._chain: Any = llama.llama_sampler_chain_init(parameters)
        if sampling.repeat_penalty != 1.0:
            self._add(
                llama.llama_sampler_init_penalties(
                    vocabulary, _PENALTY_WINDOW, sampling.repeat_penalty, 0.0, 0.0
                )
            )
        if sampling.temperature <= 0:
            self._add(llama.llama_sampler_init_greedy())
            return
        # min-p first: it needs no sorting and leaves few candidates for the others.
        if sampling.min_p > 0:
            self._add(llama.llama_sampler_init_min_p(sampling.min_p, _MIN_KEEP))
        if sampling.top_p < 1:
            self._add(llama.llama_sampler_init_top_p(sampling.top_p, _MIN_KEEP))
        self._add(llama.llama_sampler_init_temp(sampling.temperature))
        self._add(llama.llama_sampler_init_dist(seed))

    def choose(self, context: Any) -> int:
        """The token that follows the last one read into `context` (a llama_context)."""
        return int(llama.llama_sampler_sample(self._chain, context, -1))

    def close(self) -> None:
        if self._chain:
            llama.llama_sampler_free(self._chain)
        self._chain = None

    def _add(self, sampler: Any) -> None:
        llama.llama_sampler_chain_add(self._chain, sampler)
