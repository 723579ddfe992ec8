"""One training step: dense LoRA, this layer, and the naive form, measured side by side.

    python benchmarks/train_step.py --json

On SmolLM2-135M at 2,048 tokens a step, for E = 4 and 8 (k = 2, r = 8), float32 and bfloat16:
  dense        PEFT's LoRA of rank E * r on gate, up and down: as many trained parameters
  layer        this layer, balance term only
  contrast     this layer with contrast, route and queue
  naive        every chosen expert's whole block, frozen projections included, token by token
               sorted to its expert (how MixLoRA does it)
  bare         the frozen base, whose gradient only passes through: what no form can save
With --profile also what a step of each form spends its time on, by operation.
The feed-forward blocks are measured once more by themselves (column "blocks"), forward and
backward: the rest of a step, attention and the output layer, costs every form the same.
So are contrast, route and queue, forward and backward, with what the layers did given ("terms"):
they take less of a step than whole steps differ by from one to the next.
The forms take turns within each repetition, so that a busy machine slows all of them alike; a
ratio is the median of those within one repetition. Peak memory is the highest allocated device
memory above that of the loaded model, or on a CPU the highest resident size, in a process of its
own for each form. The base is dequantised once for all of them, and attention is the trainer's
(eager for bfloat16 on a CPU).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from eval_table_base import as_folder
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.utils import logging as transformers_logging

from sparsedoctor.core.moe.base import load_base
from sparsedoctor.core.moe.experts import (
    BlockOutput,
    ExpertWeights,
    FrozenBlock,
    LoraPairs,
)
from sparsedoctor.core.moe.peft_layer import attach_experts, expert_layers
from sparsedoctor.core.moe.router import Routing
from sparsedoctor.core.moe.settings import ExpertSettings, SupervisionSettings
from sparsedoctor.core.moe.supervision import RoutingRecord, RoutingSupervisor
from sparsedoctor.train.machine import Machine
from sparsedoctor.train.memory import peak_memory, resident_memory
from sparsedoctor.train.settings import RunSettings

FORMS = ("dense", "layer", "contrast", "naive", "bare")
TERMS = "terms"
RANK, TOP_K = 8, 2
SUPERVISED = SupervisionSettings()
UNSUPERVISED = SupervisionSettings(contrast_weight=0.0, route_weight=0.0)
PROFILED = 8  # operations told of a form

Rounds = dict[str, list[float]]  # by form, seconds of each round


@dataclass(frozen=True)
class Case:
    experts: int
    dtype: str  # float32, bfloat16

    @property
    def key(self) -> str:
        return f"E{self.experts}/{self.dtype}"


@dataclass(frozen=True)
class Measured:
    steps: Rounds  # also TERMS
    blocks: Rounds  # of the feed-forward blocks alone
    peak: dict[str, int]  # by form, bytes above the loaded model


def naive_experts(
    x: Tensor, frozen: FrozenBlock, weights: ExpertWeights, routing: Routing
) -> BlockOutput:
    """Every expert runs its whole block on the tokens that chose it."""
    y = torch.zeros_like(x)
    for e in range(weights.experts):
        token, slot = (routing.experts == e).nonzero(as_tuple=True)
        if len(token) == 0:
            continue
        mine = x[token]

        def own(projection: Any, pairs: LoraPairs, value: Tensor, e: int = e) -> Tensor:
            a, b = pairs.a[e].to(value.dtype), pairs.b[e].to(value.dtype)
            delta: Tensor = F.linear(F.linear(value, a), b) * weights.scale
            return projection(value) + delta  # type: ignore[no-any-return]

        gate = own(frozen.gate, weights.gate, mine)
        up = own(frozen.up, weights.up, mine)
        down = own(frozen.down, weights.down, F.silu(gate) * up)
        gained = down * routing.weights[token, slot, None].to(down.dtype)
        y = y.index_add(0, token, gained)
    return BlockOutput(y, x.new_zeros(len(x), 2 * weights.experts * weights.rank))


def build(
    form: str, case: Case, options: argparse.Namespace
) -> tuple[nn.Module, Callable[[Tensor], None]]:
    """A model of one form, and a function that takes one step's forward and backward pass."""
    torch.manual_seed(0)
    device = options.device
    machine = Machine.of(RunSettings(device=device, precision=case.dtype))
    base = load_base(options.base, machine.dtype, attention=machine.attention).model.to(device)
    if form == "bare":
        model = base.requires_grad_(False).train()
        embed = base.get_input_embeddings()

        def bare(ids: Tensor) -> None:
            hidden = embed(ids).requires_grad_()
            model(inputs_embeds=hidden, labels=ids).loss.backward()

        return model, bare
    if form == "dense":
        rank = case.experts * RANK
        targets = ["gate_proj", "up_proj", "down_proj"]
        model = get_peft_model(
            base, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets)
        ).train()

        def dense(ids: Tensor) -> None:
            model(input_ids=ids, labels=ids).loss.backward()

        return model, dense
    settings = ExpertSettings(experts=case.experts, top_k=TOP_K, rank=RANK)
    supervision = SUPERVISED if form == "contrast" else UNSUPERVISED
    queue = supervision.queue_length if supervision.contrastive else None
    model = attach_experts(base, settings, queue).to(device).train()
    supervisor = RoutingSupervisor(expert_layers(model), supervision)

    def step(ids: Tensor) -> None:
        with supervisor.watching():
            loss = model(input_ids=ids, labels=ids).loss
        (loss + _terms(supervisor, ids)).backward()
        supervisor.commit()

    return model, step


def terms_alone(model: nn.Module, ids: Tensor) -> Callable[[Tensor], None]:
    """Contrast, route and queue by themselves, on what the layers made of `ids` once."""
    supervisor = RoutingSupervisor(expert_layers(model), SUPERVISED)
    with torch.no_grad(), supervisor.watching():
        model(input_ids=ids)
    records = supervisor.records()

    def leaf(tensor: Tensor) -> Tensor:
        return tensor.detach().requires_grad_(tensor.is_floating_point())

    def step(ids: Tensor) -> None:
        for layer, record in zip(supervisor.layers, records, strict=True):
            routing = Routing(*map(leaf, record.routing))
            layer.record = RoutingRecord(routing, leaf(record.low))
        _terms(supervisor, ids).backward()
        supervisor.commit()

    return step


def _terms(supervisor: RoutingSupervisor, ids: Tensor) -> Tensor:
    """The weighted terms of a pass over `ids`, each row of a subject of its own."""
    subjects = torch.arange(len(ids), device=ids.device)[:, None].expand_as(ids)
    return supervisor.terms(torch.ones_like(ids, dtype=torch.bool), subjects).total


def timed(form: str, model: nn.Module, step: Callable[[Tensor], None], given: Tensor) -> float:
    """Seconds of one step, gradients cleared before."""
    import sparsedoctor.core.moe.peft_layer as peft_layer

    fast = peft_layer.mixed_experts
    model.zero_grad()
    _wait(given)
    began = time.perf_counter()
    try:
        peft_layer.mixed_experts = naive_experts if form == "naive" else fast
        step(given)
    finally:
        peft_layer.mixed_experts = fast
    _wait(given)
    return time.perf_counter() - began


def run_blocks(model: nn.Module, hidden: Tensor) -> None:
    """Every feed-forward block by itself, both ways, on `hidden [rows, tokens, width]`."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    for layer in base.model.layers:
        x = hidden.detach().requires_grad_()
        layer.mlp(x).backward(hidden)


def measure_times(case: Case, options: argparse.Namespace) -> tuple[Rounds, Rounds]:
    """`repeat` rounds in which every form takes one step, and runs its blocks."""
    ids = _tokens(options)
    built = {form: build(form, case, options) for form in FORMS}
    weight = built[FORMS[0]][0].get_input_embeddings().weight
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(*ids.shape, weight.shape[1], generator=generator).to(weight)
    supervised = built["contrast"][0]
    terms = terms_alone(supervised, ids)
    steps: Rounds = {form: [] for form in (*FORMS, TERMS)}
    blocks: Rounds = {form: [] for form in FORMS}
    for _ in range(options.warmup + options.repeat):
        for form, (model, step) in built.items():
            steps[form].append(timed(form, model, step, ids))
            blocks[form].append(timed(form, model, partial(run_blocks, model), hidden))
        steps[TERMS].append(timed(TERMS, supervised, terms, ids))
    return _without(options.warmup, steps), _without(options.warmup, blocks)


def _without(warmup: int, rounds: Rounds) -> Rounds:
    return {form: seconds[warmup:] for form, seconds in rounds.items()}


def ratio(rounds: Rounds, form: str, other: str) -> float:
    """How many times as long as `other` a form takes, in the middle of the rounds."""
    pairs = zip(rounds[form], rounds[other], strict=True)
    return statistics.median(mine / its for mine, its in pairs)


def measure_peak(form: str, case: Case, options: argparse.Namespace) -> int:
    """Bytes above the loaded model at the peak of a step, on a CPU of a fresh process."""
    ids = _tokens(options)
    model, step = build(form, case, options)
    if options.device == "cuda":
        loaded = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        timed(form, model, step, ids)
        return torch.cuda.max_memory_allocated() - loaded
    loaded = resident_memory(cuda=False)
    _forget_peak()  # loading may take more than a step
    timed(form, model, step, ids)
    return peak_memory(cuda=False) - loaded


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--base", default="smollm2", help="smollm2, a GGUF file or a folder")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tokens", type=int, default=2048, help="tokens of a step")
    parser.add_argument("--row", type=int, default=512, help="tokens of a row")
    parser.add_argument("--repeat", type=int, default=5, help="rounds")
    parser.add_argument("--warmup", type=int, default=1, help="rounds before the first timed one")
    parser.add_argument("--profile", action="store_true", help="operations of a step, by time")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--experts", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--peak", nargs=3, metavar=("FORM", "EXPERTS", "DTYPE"),
                        help=argparse.SUPPRESS)  # fmt: skip
    options = parser.parse_args()
    transformers_logging.set_verbosity_error()
    warnings.filterwarnings("ignore", category=FutureWarning)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.peak:
        form, experts, dtype = options.peak
        print(measure_peak(form, Case(int(experts), dtype), options))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        options.base = as_folder(options.base, Path(folder) / "base")
        measured = measure(options)
    if options.json:
        print(json.dumps(summary(measured, options.device)))
    return 0


def measure(options: argparse.Namespace) -> dict[str, Measured]:
    """Every case, printed as soon as it is measured."""
    heads = ("s/step", "tokens/s", "MiB", "x dense", "x naive", "memory x")
    heads += ("blocks s", "x dense", "x naive")
    print(f"{'':<14}{'form':<10}" + "".join(f"{head:>10}" for head in heads))
    measured = {}
    for dtype in options.dtypes:
        for experts in options.experts:
            case = Case(experts, dtype)
            peak_of = measure_peak if options.device == "cuda" else _peak_in_a_process
            peak = {form: peak_of(form, case, options) for form in FORMS}
            measured[case.key] = Measured(*measure_times(case, options), peak)
            print_case(case, measured[case.key], options)
            if options.profile:
                print_profiles(case, options)
    return measured


def print_case(case: Case, measured: Measured, options: argparse.Namespace) -> None:
    tokens = _tokens(options).numel()
    for form in FORMS:
        seconds, blocks = (
            statistics.median(rounds[form]) for rounds in (measured.steps, measured.blocks)
        )
        peak = measured.peak[form]
        cells = (
            f"{seconds:.3f}", f"{tokens / seconds:.0f}", f"{peak / 2**20:.0f}",
            *(f"{ratio(measured.steps, form, other):.2f}" for other in ("dense", "naive")),
            f"{peak / measured.peak['dense']:.2f}", f"{blocks:.3f}",
            *(f"{ratio(measured.blocks, form, other):.2f}" for other in ("dense", "naive")),
        )  # fmt: skip
        print(f"{case.key:<14}{form:<10}" + "".join(f"{cell:>10}" for cell in cells), flush=True)
    alone = statistics.median(measured.steps[TERMS])
    part = ratio(measured.steps, TERMS, "layer")
    print(f"{case.key:<14}{TERMS:<10}{alone:>10.3f}, {part:.3f} of a step of the layer", flush=True)


def print_profiles(case: Case, options: argparse.Namespace) -> None:
    """The operations that take most of a second step's time, milliseconds of their own each."""
    ids = _tokens(options)
    activity = getattr(torch.profiler.ProfilerActivity, options.device.upper())
    for form in FORMS:
        model, step = build(form, case, options)
        timed(form, model, step, ids)
        with torch.profiler.profile(activities=[activity]) as profile:
            timed(form, model, step, ids)
        where = f"self_{options.device}_time_total".replace("cuda", "device")
        spent = {row.key: getattr(row, where) / 1e3 for row in profile.key_averages()}
        most = sorted(spent.items(), key=lambda one: -one[1])[:PROFILED]
        rest = sum(spent.values()) - sum(time for _, time in most)
        shown = ", ".join(f"{name.removeprefix('aten::')} {time:.0f}" for name, time in most)
        print(f"{case.key:<14}{form:<10}  ms: {shown}, the rest {rest:.0f}", flush=True)


def summary(measured: dict[str, Measured], device: str) -> dict[str, Any]:
    """The ratios by case."""
    compared: dict[str, Callable[[Measured], float]] = {
        "step_over_dense": lambda one: ratio(one.steps, "layer", "dense"),
        "step_over_naive": lambda one: ratio(one.steps, "layer", "naive"),
        "memory_over_dense": lambda one: one.peak["layer"] / one.peak["dense"],
        "step_contrast_over_plain": lambda one: ratio(one.steps, "contrast", "layer"),
        "terms_over_plain": lambda one: ratio(one.steps, TERMS, "layer"),
        "blocks_over_dense": lambda one: ratio(one.blocks, "layer", "dense"),
        "blocks_over_naive": lambda one: ratio(one.blocks, "layer", "naive"),
    }
    ratios = {
        name: {key: round(of(one), 4) for key, one in measured.items()}
        for name, of in compared.items()
    }
    return ratios | {"device": device}


def _peak_in_a_process(form: str, case: Case, options: argparse.Namespace) -> int:
    command = [
        sys.executable, __file__, "--peak", form, str(case.experts), case.dtype,
        "--base", options.base, "--device", options.device,
        "--tokens", str(options.tokens), "--row", str(options.row),
        "--threads", str(options.threads),
    ]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.split()[-1])


def _tokens(options: argparse.Namespace) -> Tensor:
    row = min(options.row, options.tokens)
    generator = torch.Generator().manual_seed(0)
    shape = (max(1, options.tokens // row), row)
    return torch.randint(100, 40_000, shape, generator=generator).to(options.device)


def _wait(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize()


def _forget_peak() -> None:
    """Begin the process's peak of resident memory again, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    sys.exit(main())
