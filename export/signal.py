"""Whether a number format is fine enough to keep the experts apart.

Merged experts are one matrix each, W + s0 B0 A0 + s B_e A_e, and differ only by the last term,
which is small and of low rank. A coarse format rounds each of them by more than they differ. The
signal of expert e in a layer compares the two where the expert speaks, for inputs in the space
that the rows of A_e span (V_e, an orthonormal basis), over its three projections:

    signal = sqrt( sum |s B_e A_e V_e|^2 / sum |(round(W_e) - W_e) V_e|^2 )     (Frobenius norms)

A delta that is rounded away altogether gives 1, because the error then is the delta. Inputs
outside that space meet the rounding of the common weights only, which a dense model has as well;
`verify` measures it. Measure and threshold are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

from sparsedoctor.core.engine.rounding import rounded
from sparsedoctor.export.adapter import Adapter, Projection
from sparsedoctor.export.base import Base
from sparsedoctor.export.types import FORMATS, FileFormat, fitting_type

THRESHOLD = 2.0
_RUNS, _RUN = 3, 8  # rows that are measured: so many runs of so many, over each projection
_PROJECTIONS: tuple[Projection, ...] = ("gate", "up", "down")
# From the smallest file to the largest.
_BY_SIZE = ("q4_0", "q4_k_m", "q5_k_m", "q6_k", "q8_0", "f16", "f32")


@dataclass(frozen=True, slots=True)
class SignalReport:
    """`signal` is `[layers, experts]`; infinite where nothing is rounded."""

    format: str
    signal: NDArray[np.float64]

    @property
    def weakest(self) -> float:
        """Of the layers' mean signals: where most of the experts' difference is lost."""
        return float(self.signal.mean(axis=1).min())

    @property
    def keeps_experts(self) -> bool:
        return self.weakest >= THRESHOLD


def expert_signal(base: Base, adapter: Adapter, fmt: FileFormat) -> SignalReport:
    """Measure one format on a sample of rows of every expert."""
    return expert_signals(base, adapter, [fmt])[0]


def expert_signals(base: Base, adapter: Adapter, formats: list[FileFormat]) -> list[SignalReport]:
    """Measure several formats, reading the base once."""
    shape = (len(formats), base.shape.layers, adapter.settings.experts)
    delta, error = np.zeros(shape[1:]), np.zeros(shape)
    for layer in range(base.shape.layers):
        for projection in _PROJECTIONS:
            rows, common = _sample(base, adapter, layer, projection)
            for expert in range(adapter.settings.experts):
                b, a = adapter.expert_delta(layer, projection, expert)
                change = b[rows] @ a
                space = np.linalg.qr(a.T.astype(np.float64))[0]  # [in, r]
                delta[layer, expert] += float(((change @ space) ** 2).sum())
                merged = common + change
                for row, fmt in enumerate(formats):
                    error[row, layer, expert] += _error(merged, fmt.tensor, space)
    with np.errstate(divide="ignore", invalid="ignore"):
        signals = np.sqrt(delta / error)
    signals[np.isnan(signals)] = np.inf  # neither a delta nor an error
    return [SignalReport(fmt.name, signal) for fmt, signal in zip(formats, signals, strict=True)]


def recommend(base: Base, adapter: Adapter) -> str:
    """The format of the smallest file that keeps the experts apart in every layer."""
    candidates = [FORMATS[name] for name in _BY_SIZE]
    for report in expert_signals(base, adapter, candidates):
        if report.keeps_experts:
            return report.format
    return _BY_SIZE[-1]


def _sample(
    base: Base, adapter: Adapter, layer: int, projection: Projection
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Indices of some rows of a projection, and `W + s0 B0 A0` there. `[rows, in]`"""
    name = f"model.layers.{layer}.mlp.{projection}_proj.weight"
    shape = base.tensor_shape(name)
    assert shape is not None, name
    starts = [shape[0] * run // _RUNS for run in range(_RUNS)]
    runs = [(start, min(start + _RUN, shape[0])) for start in starts]
    rows = np.concatenate([np.arange(start, stop) for start, stop in runs])
    weights = np.concatenate([base.rows(name, start, stop) for start, stop in runs])
    shared = adapter.shared_delta(layer, projection)
    return rows, weights if shared is None else weights + shared[0][rows] @ shared[1]


def _error(
    values: NDArray[np.float32], kind: GGMLQuantizationType, space: NDArray[np.float64]
) -> float:
    """Squared rounding error as inputs of `space` meet it, summed."""
    if kind is GGMLQuantizationType.F32:
        return 0.0
    fitting = fitting_type(kind, values.shape[1])
    return float((((rounded(values, fitting) - values) @ space) ** 2).sum())
