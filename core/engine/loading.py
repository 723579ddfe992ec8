"""Before a model is loaded: is the file whole, and is there memory for it?

llama.cpp is not asked yet: it meets only files that pass here, and in a process of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsedoctor.core.bundle import RoutingMetadata, parse_bundle
from sparsedoctor.core.engine.manifest import check_manifest
from sparsedoctor.core.engine.memory import available_bytes, context_that_fits, needed_bytes
from sparsedoctor.core.engine.protocol import EngineError, EngineSettings
from sparsedoctor.core.engine.threads import default_threads
from sparsedoctor.core.gguf_header import GGUFHeader, read_header

_DEFAULT_CONTEXT = 8192  # tokens, where the model was trained for more
_LEAST_CONTEXT = 256


@dataclass(frozen=True, slots=True)
class Plan:
    """How a file will be loaded."""

    path: Path
    header: GGUFHeader
    bundle: RoutingMetadata | None
    context: int  # tokens
    context_trained: int
    threads: int
    layers: int
    experts: int
    experts_used: int
    expert_layers: int
    notices: tuple[str, ...]

    @property
    def chat_template(self) -> str:
        return str(self.header.metadata.get("tokenizer.chat_template", ""))


def plan_loading(path: Path, settings: EngineSettings) -> Plan:
    """Check `path` and choose what `settings` leave open. Raises SparseDoctorError."""
    header = read_header(path)
    bundle = parse_bundle(header, path)
    architecture = header.architecture
    if not architecture or not header.tensors:
        raise EngineError(f"{path} holds no language model; give a GGUF file of one")
    keys = _Keys(header.metadata, architecture, path)
    layers, trained = keys.count("block_count"), keys.count("context_length")
    experts = keys.count("expert_count", 0)
    routers = sum(1 for name in header.tensors if name.endswith(".ffn_gate_inp.weight"))
    notices = []
    wanted = settings.context or min(trained, _DEFAULT_CONTEXT)
    if wanted > trained:
        notices.append(
            f"The model was made for {trained:,} tokens of context; {wanted:,} were asked for."
        )
        wanted = trained
    wanted = max(wanted, min(_LEAST_CONTEXT, trained))
    context = _fitting(path, header, settings, wanted)
    check_manifest(path, header)  # last, because it reads the whole file
    if context < wanted:
        notices.append(
            f"Memory is short: the model reads {context:,} tokens at once instead of {wanted:,}."
        )
    return Plan(
        path=path,
        header=header,
        bundle=bundle,
        context=context,
        context_trained=trained,
        threads=settings.threads or default_threads(),
        layers=layers,
        experts=experts if routers else 0,
        experts_used=keys.count("expert_used_count", 0) if routers else 0,
        expert_layers=routers,
        notices=tuple(notices),
    )


def _fitting(path: Path, header: GGUFHeader, settings: EngineSettings, wanted: int) -> int:
    """The context to load with. Raises EngineError, with what would fit, when memory is short."""
    if settings.gpu_layers:
        return wanted  # which memory a layer goes to is llama.cpp's knowledge; it refuses itself
    free = available_bytes()
    needed = needed_bytes(header, wanted, settings.batch, settings.exact)
    if needed <= free:
        return wanted
    fits = context_that_fits(header, free, settings.batch, settings.exact)
    if settings.context is None and fits >= _LEAST_CONTEXT:
        return min(wanted, fits)
    asked = f"{path.name} with a context of {wanted:,} tokens needs about {_gb(needed)}"
    if fits >= _LEAST_CONTEXT:
        advice = f"a context of {fits:,} tokens would fit: set it with --context {fits}"
    else:
        advice = "close other programs, or take a smaller file (Q4_K_M instead of Q8_0)"
    raise EngineError(f"{asked} of memory and {_gb(free)} is free; {advice}")


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


class _Keys:
    """Numbers that an architecture keeps under its own name."""

    def __init__(self, metadata: Mapping[str, Any], architecture: str, path: Path) -> None:
        self._metadata, self._architecture, self._path = metadata, architecture, path

    def count(self, name: str, default: int | None = None) -> int:
        value = self._metadata.get(f"{self._architecture}.{name}", default)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise EngineError(f"{self._path} is damaged: it does not tell its {name}")
        if value < 0 or (default is None and value < 1) or value > 1 << 31:
            raise EngineError(f"{self._path} is damaged: its {name} is {value}")
        return int(value)
