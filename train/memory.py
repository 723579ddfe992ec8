"""How much memory a run will need, said before anything is loaded.

    weights       base parameters * bytes of their type
    experts       trained parameters * 4
    gradients     trained parameters * 4
    optimiser     trained parameters * 8                       (AdamW's two moments)
    queue         layers * E * K * (2 * D + 8)
    activations   layers * T * (c * (2 ffn + 4 hidden + 4 R) + 12 hidden)   (kept for backward)
                  + layers * T * heads * longest * (4 or 6)                 (eager attention only)
    logits        L * vocabulary * (12 + c)                  (logits, their softmax, gradients)
    contrast      layers * M * E * K * 12                    (similarities of M queries)
    process       what Python and the libraries hold already + 40 MiB       (CPU only)
                  + a fifth of all above, at most 110 MiB

T are the tokens of a micro-step, L the learned ones among them, c the bytes of the arithmetic's
type, R = E * r + r0, M the lesser of T and `queries`; eager attention keeps its scores in 4 bytes,
in bfloat16 in 4 and 2. With gradient checkpointing one layer's activations are kept instead of all,
and T * hidden of each. What is kept was counted from the tensors that autograd saves for a Llama
layer. Two thirds of the contrast's bytes and what is added to the process are what the resident
peak shows beyond it: libraries that load late, kernels and freed memory that malloc holds back.
"""

from __future__ import annotations

import contextlib
import re
import resource
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from sparsedoctor.core.base_models import find_base
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.moe.base import read_errors, refuse_mixture, source_of
from sparsedoctor.core.moe.peft_layer import ATTENTION
from sparsedoctor.train.settings import Settings

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class BaseSize:
    """What of a base decides the memory."""

    parameters: int
    hidden: int
    ffn: int
    layers: int
    heads: int
    vocabulary: int
    attention: int
    """Rows and columns of the attention projections of all layers, added up."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by what they are for."""

    weights: int
    experts: int
    gradients: int
    optimiser: int
    queue: int
    activations: int
    logits: int
    contrast: int
    process: int

    @property
    def total(self) -> int:
        return sum(getattr(self, name) for name in self.__dataclass_fields__)

    def text(self) -> str:
        parts = ", ".join(
            f"{name} {getattr(self, name) / _MIB:,.0f}" for name in self.__dataclass_fields__
        )
        return f"memory: {self.total / _MIB:,.0f} MiB = {parts}"


def base_size(name: str) -> BaseSize:
    """The size of a base, read from its configuration without loading it."""
    path = find_base(name)
    refuse_mixture(path)
    folder, source = source_of(path)
    with read_errors(path):
        config = AutoConfig.from_pretrained(folder, **source)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    return BaseSize(
        parameters=model.num_parameters(),
        hidden=config.hidden_size,
        ffn=getattr(config, "intermediate_size", 0) or 4 * config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        vocabulary=config.vocab_size,
        attention=sum(
            module.in_features + module.out_features
            for name, module in model.named_modules()
            if name.rpartition(".")[2] in ATTENTION
        ),
    )


def added_parameters(settings: Settings, base: BaseSize) -> int:
    """What a run adds: experts, routers, attention LoRA, projections of the contrast."""
    experts = settings.experts
    added = experts.trainable_parameters(base.hidden, base.ffn, base.layers)
    if settings.supervision.contrastive:
        added += base.layers * experts.projection_parameters
    return added + experts.attention_rank * base.attention


def trained_parameters(settings: Settings, base: BaseSize) -> int:
    """What of it a run trains: all, or all but the routers."""
    frozen = base.layers * settings.experts.experts * base.hidden
    return added_parameters(settings, base) - frozen * settings.run.freeze_router


def predict_memory(
    settings: Settings,
    base: BaseSize,
    *,
    half: bool,
    eager: bool,
    resident: int = 0,
    learned: Callable[[int], int] | None = None,
) -> Memory:
    """The peak of a run. `half`: bfloat16 weights and arithmetic; `eager`: eager attention;
    `resident`: bytes that the process holds already, 0 where they lie elsewhere (CUDA);
    `learned`: the most tokens that a micro-step of so many rows learns; None: all of them."""
    run, experts, supervision = settings.run, settings.experts, settings.supervision
    c = 2 if half else 4
    trained = trained_parameters(settings, base)
    longest = settings.data.max_tokens
    tokens = run.batch * longest
    token = c * (2 * base.ffn + 4 * base.hidden + 4 * experts.columns) + 12 * base.hidden
    if eager:
        token += base.heads * longest * (6 if half else 4)
    activations = base.layers * tokens * token
    if run.gradient_checkpointing:
        activations = tokens * token + base.layers * tokens * base.hidden * c
    learns = min(tokens, learned(run.batch) + 1) if learned else tokens
    queries = min(tokens, supervision.queries) if supervision.contrastive else 0
    keys = experts.experts * supervision.queue_length
    if supervision.batch_keys or not keys:
        keys += queries
    memory = Memory(
        weights=int(base.parameters * (0.6 if run.four_bit else c)),
        experts=4 * trained,
        gradients=4 * trained,
        optimiser=8 * trained,
        queue=supervision.queue_bytes(base.layers, experts.experts),
        activations=activations,
        logits=learns * base.vocabulary * (12 + c),
        contrast=base.layers * queries * keys * 12,
        process=0,
    )
    if not resident:
        return memory
    held_back = min(memory.total // 5, 110 * _MIB)
    return replace(memory, process=resident + 40 * _MIB + held_back)


def check_memory(settings: Settings, predict: Callable[[Settings], Memory], room: int) -> Memory:
    """What `predict` says of a run, or SparseDoctorError naming the smallest change that would fit
    in `room` bytes, those that this process holds already among them."""
    memory = predict(settings)
    if memory.total <= room:
        return memory
    said = f"this run needs about {memory.total / _MIB:,.0f} MiB and {room / _MIB:,.0f} are free"
    for flags, smaller in _smaller(settings):
        if predict(smaller).total <= room:
            raise SparseDoctorError(f"{said}; it would fit with {flags}")
    raise SparseDoctorError(f"{said}; no smaller batch helps, use a smaller base")


def resident_memory(*, cuda: bool) -> int:
    """Bytes that this process holds now of what `free_memory` is about to be taken from; 0 on
    CUDA, where nothing lies yet."""
    return 0 if cuda else psutil.Process().memory_info().rss


def free_memory(*, cuda: bool) -> int:
    """Bytes that can be used now."""
    return torch.cuda.mem_get_info()[0] if cuda else psutil.virtual_memory().available


def peak_memory(*, cuda: bool) -> int:
    """The most bytes this process has used: allocated on the device, or resident on a CPU."""
    if cuda:
        return torch.cuda.max_memory_allocated()
    with contextlib.suppress(OSError):
        # Linux. Unlike getrusage's figure this one is not inherited from a larger parent process.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        if found := re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE):
            return int(found.group(1)) * 1024
    # On macOS ru_maxrss counts bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def restart_peak(*, cuda: bool) -> None:
    """Let `peak_memory` count from now on.

    Reading a base maps its whole file, whose pages count as resident and can be taken away at any
    time. Where a system has no such means (it is Linux's), the peak stays that of the process.
    """
    if cuda:
        torch.cuda.reset_peak_memory_stats()
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _smaller(settings: Settings) -> Iterable[tuple[str, Settings]]:
    def with_run(**changes: Any) -> Settings:
        return replace(settings, run=replace(settings.run, **changes))

    yield "--gradient-checkpointing", with_run(gradient_checkpointing=True)
    batch, accumulate = settings.run.batch, settings.run.accumulate
    while batch > 1:
        batch, accumulate = batch // 2, accumulate * 2
        flags = f"--batch {batch} --accumulate {accumulate}"
        yield flags, with_run(batch=batch, accumulate=accumulate)
        changed = with_run(batch=batch, accumulate=accumulate, gradient_checkpointing=True)
        yield f"{flags} --gradient-checkpointing", changed
    tokens = settings.data.max_tokens
    while tokens > 64:
        tokens //= 2
        changed = with_run(batch=1, gradient_checkpointing=True)
        flags = f"--batch 1 --max-tokens {tokens} --gradient-checkpointing"
        yield flags, replace(changed, data=replace(settings.data, max_tokens=tokens))
