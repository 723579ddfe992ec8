"""Proof that an exported file is the same model: compared at every position of real prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsedoctor.core.engine.protocol import Engine
from sparsedoctor.export.compare import Difference, difference, join, routing_agreement
from sparsedoctor.export.references import Reference

PROMPTS = (
    "What are the symptoms of asthma, and when should I see a doctor?",
    "I have had a dry cough for three weeks and feel short of breath at night.",
    "Is it safe to take ibuprofen together with paracetamol for a fever of 38.9 °C?",
    "What is the difference between type 1 and type 2 diabetes?",
    "My father is 67 and has chest pain that spreads to his left arm.\nWhat should we do?",
    "How is high blood pressure treated? Which side effects do ACE inhibitors have?",
    "<|im_start|>user\nCan I drink alcohol with antibiotics?<|im_end|>\n<|im_start|>assistant\n",
    "孩子发烧三天，体温 39 度，应该怎么办？",
)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a file may differ by. A quantised file cannot equal the float32 reference."""

    relative_error: float
    kl: float  # nats, mean
    agreement: float  # share of positions with the same first token
    routing: float  # share of the chosen experts, over all layers


# Twice the distance that a sound file was measured to have (docs/export.md): of the default model
# and, down to 8 bits, of tiny random ones, which feel rounding most; never tighter than a finer
# type. A broken file (a wrong permutation, a lost bias) has a relative error near 1.
THRESHOLDS = {
    "f32": Thresholds(2e-3, 1e-5, 1.0, 0.999),
    "f16": Thresholds(6e-3, 5e-4, 0.98, 0.998),
    "bf16": Thresholds(6e-2, 1.5e-2, 0.95, 0.99),
    "q8_0": Thresholds(1e-1, 6e-2, 0.88, 0.98),
    "q6_k": Thresholds(1.3e-1, 6e-2, 0.88, 0.96),
    "q5_k_m": Thresholds(3e-1, 1.6e-1, 0.72, 0.91),
    "q4_k_m": Thresholds(3e-1, 1.6e-1, 0.65, 0.91),
    "q4_0": Thresholds(6.6e-1, 6.4e-1, 0.28, 0.82),
}


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a comparison."""

    reference: str
    prompts: int
    difference: Difference
    routing: NDArray[np.float64] | None  # share of experts both chose, per layer
    thresholds: Thresholds
    same_tokens: int | None = None  # prompts that both tokenizers cut alike
    problems: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Everything, with one row per position."""
        found = self.difference
        return {
            "reference": self.reference,
            "prompts": self.prompts,
            "positions": len(found.kl),
            "relative_error": found.relative_error,
            "kl_divergence": found.mean_kl,
            "top1_agreement": found.agreement,
            "routing_agreement": None if self.routing is None else float(self.routing.mean()),
            "routing_agreement_by_layer": None if self.routing is None else self.routing.tolist(),
            "same_tokens": self.same_tokens,
            "thresholds": {
                name: getattr(self.thresholds, name) for name in self.thresholds.__slots__
            },
            "by_position": [
                {"relative_error": error, "kl_divergence": kl, "same_top1": bool(agrees)}
                for error, kl, agrees in zip(
                    found.relative_errors.tolist(), found.kl.tolist(), found.agrees, strict=True
                )
            ],
            "problems": list(self.problems),
            "passed": not self.problems,
        }


def compare(
    engine: Engine, reference: Reference, prompts: Sequence[str], thresholds: Thresholds
) -> Report:
    """Run both models over the same tokens. Reads only as much as the engine's context holds."""
    parts, ours, theirs, same = [], [], [], 0
    tokenize = getattr(reference, "tokenize", None)
    for prompt in prompts:
        tokens = engine.tokenize(prompt, control=True)
        if tokenize is not None:
            same += tokenize(prompt) == tokens
        expected, found = reference.evaluate(tokens), engine.evaluate(tokens)
        rows = min(expected.logits.shape[1], found.logits.shape[1])
        parts.append(difference(expected.logits[:, :rows], found.logits[:, :rows]))
        if expected.experts is not None and found.experts is not None:
            ours.append(found.experts)
            theirs.append(expected.experts)
    routing = None
    if ours:
        routing = routing_agreement(np.concatenate(theirs), np.concatenate(ours))
    joined = join(parts)
    same_tokens = same if tokenize is not None else None
    problems = _problems(joined, routing, thresholds, same_tokens, len(prompts))
    return Report(
        reference.name, len(prompts), joined, routing, thresholds, same_tokens, tuple(problems)
    )


def _problems(
    found: Difference,
    routing: NDArray[np.float64] | None,
    allowed: Thresholds,
    same_tokens: int | None,
    prompts: int,
) -> list[str]:
    problems = []
    if not found.relative_error <= allowed.relative_error:  # also catches NaN
        problems.append(f"relative logit error {found.relative_error:.1e}")
    if not found.mean_kl <= allowed.kl:
        problems.append(f"KL divergence {found.mean_kl:.1e}")
    if not found.agreement >= allowed.agreement:
        problems.append(f"top-1 agreement {found.agreement:.1%}")
    if routing is not None and not routing.mean() >= allowed.routing:
        problems.append(f"routing agreement {routing.mean():.1%}")
    if same_tokens is not None and same_tokens < prompts:
        problems.append(f"only {same_tokens} of {prompts} prompts give the same tokens")
    return problems
