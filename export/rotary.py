"""The two layouts of rotary query and key rows.

Hugging Face rotates the first half of a head against the second; llama.cpp's `llama` graph
rotates neighbours. The same rotation, with the rows in another order:

    Hugging Face   0 1 2 ... | h/2 h/2+1 ...      llama.cpp   0 h/2 1 h/2+1 ...
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def interleave(rows: Array, heads: int) -> Array:
    """From Hugging Face's order to llama.cpp's. `[heads * head_dim, ...]`, weight or bias."""
    halves = rows.reshape(heads, 2, -1, *rows.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows.shape)


def deinterleave(rows: Array, heads: int) -> Array:
    """The inverse of `interleave`."""
    pairs = rows.reshape(heads, -1, 2, *rows.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)
