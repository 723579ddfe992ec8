"""The model an exported file must equal: PyTorch's when torch is there, else a float32 file.

torch is imported here alone, and only when a PyTorch reference is asked for.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sparsedoctor.core.engine.child import ChildEngine
from sparsedoctor.core.engine.protocol import EngineSettings, Evaluation
from sparsedoctor.export.adapter import read_settings


class Reference(Protocol):
    """What gives logits and routing for given tokens."""

    name: str

    def evaluate(self, tokens: Sequence[int]) -> Evaluation:
        """Logits `[tokens, vocabulary]` and chosen experts `[tokens, layers, k]`."""
        ...

    def close(self) -> None: ...


def torch_is_installed() -> bool:
    """Whether a PyTorch reference can be made, without importing anything heavy."""
    return all(importlib.util.find_spec(name) for name in ("torch", "transformers", "peft"))


class TorchReference:
    """The base in float32 with the adapter as it was trained, through PEFT.

    `any_base` accepts other weights of the same shape. Raises SparseDoctorError.
    """

    name = "PyTorch"

    def __init__(self, base: Path, adapter: Path, *, any_base: bool = False) -> None:
        # Everything is on this computer; PEFT would ask the hub about the base's name.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        import torch
        from transformers.utils import logging

        from sparsedoctor.core.moe.adapter import load_adapter
        from sparsedoctor.core.moe.base import load_base
        from sparsedoctor.core.moe.peft_layer import expert_layers

        logging.disable_progress_bar()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries, about themselves
            loaded = load_base(str(base), torch.float32)
            if any_base:
                loaded = replace(loaded, sha256=read_settings(adapter).base_sha256)
            self._model = load_adapter(loaded, adapter)
        self._model.eval()
        self._tokenizer: Any = loaded.tokenizer
        self._layers = expert_layers(self._model)
        for layer in self._layers:
            layer.watched = True

    def evaluate(self, tokens: Sequence[int]) -> Evaluation:
        """See `Reference`."""
        import torch

        with torch.no_grad():
            logits = self._model(input_ids=torch.tensor([list(tokens)])).logits[0]
        chosen, weights = [], []
        for layer in self._layers:
            assert layer.record is not None
            chosen.append(layer.record.routing.experts.numpy())
            weights.append(layer.record.routing.weights.numpy())
            layer.record = None
        return Evaluation(
            logits.float().numpy(),
            np.stack(chosen, axis=1).astype(np.int32),
            np.stack(weights, axis=1).astype(np.float32),
        )

    def tokenize(self, text: str) -> list[int]:
        """The base's own tokenizer, nothing added."""
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def close(self) -> None:
        self._model = None


@dataclass
class FileReference:
    """Another exported file, of float32."""

    path: Path

    def __post_init__(self) -> None:
        self.name = self.path.name
        self._engine = open_engine(self.path)

    def evaluate(self, tokens: Sequence[int]) -> Evaluation:
        """See `Reference`."""
        return self._engine.evaluate(tokens)

    def close(self) -> None:
        self._engine.close()


def open_engine(path: Path, threads: int | None = None) -> ChildEngine:
    """An engine that computes as exactly as llama.cpp can, with its routing."""
    engine = ChildEngine(
        path, EngineSettings(context=1024, threads=threads, trace=True, exact=True)
    )
    engine.load()
    return engine
