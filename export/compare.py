"""How far two models' answers lie apart, position by position. Pure functions of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Difference:
    """Logits of a model beside a reference's over some positions. Arrays are `[positions]`."""

    error: NDArray[np.float64]  # Euclidean norm of the difference of the centred logits
    norm: NDArray[np.float64]  # Euclidean norm of the reference's centred logits
    kl: NDArray[np.float64]  # nats, of the model from the reference
    agrees: NDArray[np.bool_]  # whether both put the same token first

    @property
    def relative_errors(self) -> NDArray[np.float64]:
        """Of each position."""
        return self.error / self.norm

    @property
    def relative_error(self) -> float:
        """Of all positions together: the norms of all their logits."""
        return float(np.sqrt((self.error**2).sum() / (self.norm**2).sum()))

    @property
    def mean_kl(self) -> float:
        return float(self.kl.mean())

    @property
    def agreement(self) -> float:
        """Share of positions with the same first token, 0 to 1."""
        return float(self.agrees.mean())


def difference(reference: Array, model: Array) -> Difference:
    """Compare logits `[positions, vocabulary]`.

    Logits are centred first: adding a constant to all of them changes no probability. The
    relative error of a position is `|m - r| / |r|`, KL divergence `sum p_r (log p_r - log p_m)`.
    """
    r, m = (values.astype(np.float64) for values in (reference, model))
    r -= r.mean(axis=1, keepdims=True)
    m -= m.mean(axis=1, keepdims=True)
    log_r, log_m = log_softmax(r), log_softmax(m)
    kl = np.maximum((np.exp(log_r) * (log_r - log_m)).sum(axis=1), 0.0)
    return Difference(
        error=np.linalg.norm(m - r, axis=1),
        norm=np.linalg.norm(r, axis=1),
        kl=kl,
        agrees=r.argmax(axis=1) == m.argmax(axis=1),
    )


def join(parts: Sequence[Difference]) -> Difference:
    """All positions of several texts."""
    return Difference(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("error", "norm", "kl", "agrees")
        )
    )


def routing_agreement(
    reference: NDArray[np.int32], model: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Share of chosen experts that both chose, per layer. Inputs `[tokens, layers, k]`, `[layers]`

    The order among the chosen does not matter.
    """
    same = (reference[..., :, None] == model[..., None, :]).any(axis=-1)
    return np.asarray(same.mean(axis=(0, 2)), dtype=np.float64)


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the last dimension."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
