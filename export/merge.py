"""The merge: every expert becomes a whole feed-forward block. Pure functions of arrays.

    W_e = W + s0 B0 A0 + s B_e A_e        (W frozen, 0 the shared pair, e an expert)

After llama.cpp's or Mixtral's own mixture (softmax, top k, renormalised) this computes exactly
what the adapter computed beside its base: the equations are in docs/method.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
LowRank = tuple[Array, Array]  # `s B` [out, r], `A` [r, in]


def add_delta(weight: Array, delta: LowRank | None, start: int = 0) -> Array:
    """`W + B A` for the rows of `weight`, which begin at row `start` of the whole. `[rows, in]`"""
    if delta is None:
        return weight
    b, a = delta
    return weight + b[start : start + len(weight)] @ a
