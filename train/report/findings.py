"""What a run's record says, in sentences a person can check against its pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from sparsedoctor.train.report.record import HealthState, RunRecord
from sparsedoctor.train.report.specialisation import Specialisation

FEW = 3  # lines of the log whose mean is the training loss at a time
CLEARLY = 1.1  # times as high: no longer the chance of a few batches
LITTLE = 0.25  # of an even share: a layer's least used expert below it is called little used


@dataclass(frozen=True, slots=True)
class Finding:
    kind: Literal["good", "note", "warning"]
    text: str


def findings(record: RunRecord, found: Specialisation | None) -> list[Finding]:
    """In the order in which they matter: the loss, the routers, the topics, the files."""
    return [
        *_losses(record),
        *_ended(record),
        *(_routers(record.health[-1], _top_k(record)) if record.health else []),
        *_topics(record, found),
        *_files(record),
    ]


def _losses(record: RunRecord) -> list[Finding]:
    said: list[Finding] = []
    steps, losses = record.series("loss")
    broken = [step for step, loss in zip(steps, losses, strict=True) if not math.isfinite(loss)]
    if broken:
        said.append(
            Finding(
                "warning",
                f"The training loss is not a number at step {broken[0]}, on {len(broken)} line(s) "
                "in all. Do not trust the weights of this run; lower the learning rate.",
            )
        )
    held_steps, held = record.series("held_out_loss")
    points = [(loss, step) for step, loss in zip(held_steps, held, strict=True)
              if math.isfinite(loss)]  # fmt: skip
    if len(points) >= 2:
        first, (best, at), last = points[0], min(points), points[-1]
        if best < first[0]:
            text = (
                f"Held-out loss went from {first[0]:.3f} (perplexity {_perplexity(first[0])}) at "
                f"step {first[1]} to {best:.3f} ({_perplexity(best)}) at step {at}, its best."
            )
            said.append(Finding("good", text))
        else:
            text = (
                f"Held-out loss was {best:.3f} (perplexity {_perplexity(best)}) at step {at}, when "
                "it was first measured, and never lower afterwards."
            )
            said.append(Finding("warning", text))
        if last[0] > best + 0.01 and last[1] > at:
            said.append(_rose(record, at, last[0]))
    elif not points:
        said.append(
            Finding(
                "note",
                "No held-out loss was measured, so this page cannot say whether the model "
                "improved on questions it has not seen.",
            )
        )
    return said


def _rose(record: RunRecord, at: int, last: float) -> Finding:
    """Why the held-out loss may have risen after step `at`: the training loss tells."""
    best = "The checkpoint of the best step is the one to use."
    steps, losses = record.series("loss")
    until = [loss for step, loss in zip(steps, losses, strict=True) if step <= at][-FEW:]
    since = [loss for step, loss in zip(steps, losses, strict=True) if step > at][-FEW:]
    rose = f"After step {at} it rose again to {last:.3f}"
    if not until or not since:
        return Finding("note", f"{rose}. {best}")
    before, after = fmean(until), fmean(since)
    if not after < CLEARLY * before:  # also where it is no number
        return Finding(
            "warning",
            f"{rose}, and the training loss from {before:.3f} to {after:.3f}: the learning rate "
            f"is too high. {best}",
        )
    heart = ": the run began to learn its examples by heart" if after < before else ""
    return Finding("note", f"{rose}{heart}. {best}")


def _ended(record: RunRecord) -> list[Finding]:
    """Why a finished run has taken fewer steps than it was to take."""
    run = record.settings("run")
    planned, patience = run.get("steps"), run.get("patience")
    step = max(record.log, default=0)
    if not (record.adapter and patience and isinstance(planned, int) and step < planned):
        return []
    return [
        Finding(
            "note",
            f"It stopped at step {step} of {planned}: {patience} measurement(s) in a row had no "
            "better held-out loss (patience).",
        )
    ]


def _routers(state: HealthState, top_k: int | None) -> list[Finding]:
    said: list[Finding] = []
    experts = len(state.layers[0].load)
    dead = sum(int(layer.dead) for layer in state.layers if math.isfinite(layer.dead))
    total = experts * len(state.layers)
    if dead:
        where = [str(n) for n, layer in enumerate(state.layers) if layer.dead > 0]
        said.append(
            Finding(
                "warning",
                f"{dead} of {total} experts are dead at step {state.step}: they receive less than "
                f"5 % of an even share (in layers {_listed(where)}). Try a higher balance weight.",
            )
        )
    else:
        said.append(Finding("good", f"None of {total} experts is dead at step {state.step}."))
    little = [
        str(number)
        for number, layer in enumerate(state.layers)
        if not layer.dead > 0 and min(layer.load) * experts < LITTLE
    ]
    if little:
        said.append(
            Finding(
                "note",
                f"In layers {_listed(little)} an expert receives less than {LITTLE:.0%} of an "
                "even share.",
            )
        )
    balances = [layer.balance for layer in state.layers if math.isfinite(layer.balance)]
    if balances:
        collapsed = f"{experts / top_k:.3g}" if top_k else f"{experts}/k"
        worst = max(range(len(state.layers)), key=lambda n: _or_zero(state.layers[n].balance))
        said.append(
            Finding(
                "note",
                f"Balance is {sum(balances) / len(balances):.2f} on average and "
                f"{max(balances):.2f} in the worst layer ({worst}); 1 is even, {collapsed} "
                "collapsed onto the fewest experts.",
            )
        )
    return said


def _top_k(record: RunRecord) -> int | None:
    top_k = record.settings("experts").get("top_k")
    return top_k if isinstance(top_k, int) and top_k > 0 else None


def _topics(record: RunRecord, found: Specialisation | None) -> list[Finding]:
    if found is None:
        if record.choices is None:
            return []
        return [
            Finding("note", "Too few examples have a topic to ask whether experts attend to it.")
        ]
    numbers = (
        f"topic and expert share {found.mean:.4f} bits on average over layers; with the topics "
        f"shuffled {found.baseline:.4f} (95 % below {found.baseline_high:.4f}; "
        f"{len(found.shuffled)} shuffles of {sum(found.examples)} examples, "
        f"p = {found.p_value:.3g})"
    )
    if found.p_value <= 0.05:
        return [Finding("good", f"Experts attend to topics more than by chance: {numbers}.")]
    return [Finding("note", f"Experts do not measurably attend to topics: {numbers}.")]


def _files(record: RunRecord) -> list[Finding]:
    return [
        Finding(
            "note",
            f"{count} line(s) of {name} could not be read and are left out; a run that was killed "
            "leaves a half-written line.",
        )
        for name, count in sorted(record.unreadable.items())
    ]


def _perplexity(loss: float) -> str:
    return f"{math.exp(loss):.2f}" if loss < 50 else "very large"


def _or_zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _listed(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
