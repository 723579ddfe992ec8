"""Where a run computes and in which type, decided from its settings and this machine."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.data.batches import FEW_SHAPES
from sparsedoctor.train.settings import RunSettings


@dataclass(frozen=True, slots=True)
class Machine:
    cuda: bool
    half: bool  # bfloat16 weights and arithmetic
    attention: str | None  # transformers' implementation; None is its default

    @property
    def eager(self) -> bool:
        return self.attention == "eager"

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.half else torch.float32

    @property
    def multiple(self) -> int:
        """Of what lengths and numbers of logits are made. In bfloat16 on a CPU oneDNN keeps what it
        has made for every shape it ever saw: 600 MB after 133 lengths of a batch, measured with
        SmolLM2's matrices."""
        return FEW_SHAPES if self.half and not self.cuda else 1

    @classmethod
    def of(cls, run: RunSettings) -> Machine:
        """Raises SparseDoctorError for CUDA where there is none."""
        cuda = torch.cuda.is_available() and run.device != "cpu"
        if run.device == "cuda" and not cuda:
            raise SparseDoctorError("device is cuda, and this machine has no CUDA; use device cpu")
        half = run.precision == "bfloat16" or (run.precision == "auto" and cuda)
        attention = None if run.attention == "auto" else run.attention
        if attention is None and half and not cuda:
            attention = "eager"  # sdpa's backward pass in bfloat16 is slow on a CPU
        return cls(cuda, half, attention)
