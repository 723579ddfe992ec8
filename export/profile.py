"""What each expert attends to: experts by topic on a calibration set, with a shuffled baseline.

Counted from llama.cpp's own routing. Every token of a text belongs to the text's topic. Any table
of experts by topics shows differences, also one of topics drawn by lot; so the same is counted with
the topics shuffled among the texts, many times, and only what lies beyond that stands out.

    information = mean over layers of  sum_te p(t, e) log( p(t, e) / (p(t) p(e)) )      [nats]

with p(t, e) the share of gate weight that topic t gave expert e in a layer. The measure of
specialisation is the field's own (mutual information); its use here is our design.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsedoctor.core.engine.protocol import Evaluation

Counts = NDArray[np.float64]
_SHUFFLES = 500
_QUANTILE = 0.95


@dataclass(frozen=True, slots=True)
class RoutedText:
    """One text's routing, summed over its tokens."""

    topic: str
    tokens: int
    weight: Counts  # [layers, experts] summed gate weight
    chosen: Counts  # [layers, experts] times chosen


def routed_text(topic: str, evaluation: Evaluation, experts: int) -> RoutedText:
    """Sum a traced evaluation `[tokens, layers, k]` over its tokens. Layers without experts
    (marked -1) count nothing."""
    assert evaluation.experts is not None
    assert evaluation.weights is not None
    picks = evaluation.experts[..., None] == np.arange(experts)  # [tokens, layers, k, experts]
    weight = (picks * evaluation.weights[..., None]).sum(axis=(0, 2), dtype=np.float64)
    chosen = picks.sum(axis=(0, 2), dtype=np.float64)
    return RoutedText(topic, len(evaluation.experts), weight, chosen)


def make_profile(
    texts: Sequence[RoutedText], name: str, seed: int = 0, shuffles: int = _SHUFFLES
) -> dict[str, Any]:
    """The profile as `core.bundle.PROFILE_SCHEMA` has it. At least two topics are needed."""
    topics = sorted({text.topic for text in texts})
    if len(topics) < 2:
        raise ValueError("a profile needs texts of at least two topics")
    labels = np.array([topics.index(text.topic) for text in texts])
    weights = np.stack([text.weight for text in texts])  # [texts, layers, experts]
    table = _by_topic(weights, labels, len(topics))
    rng = np.random.default_rng(seed)
    shuffled = [_by_topic(weights, rng.permutation(labels), len(topics)) for _ in range(shuffles)]
    by_lot = np.array([information(found) for found in shuffled])
    shares, lot = _shares(table), np.stack([_shares(found) for found in shuffled])
    highest = np.quantile(lot, _QUANTILE, axis=0)  # [topics, experts]
    overall = weights.sum(axis=(0, 1)) / weights.sum()
    # How far any expert may lie above its overall share by lot, for each topic.
    margin = np.quantile((lot - overall).max(axis=2), _QUANTILE, axis=0)  # [topics]
    found_information = information(table)
    told_apart = found_information > float(np.quantile(by_lot, _QUANTILE))
    rows = []
    for number, topic in enumerate(topics):
        above = shares[number] - overall
        best = int(above.argmax())
        mine = [text for text in texts if text.topic == topic]
        rows.append(
            {
                "name": topic,
                "examples": len(mine),
                "tokens": sum(text.tokens for text in mine),
                "shares": _rounded(shares[number]),
                "baseline": _rounded(highest[number]),
                "favours": best if told_apart and above[best] > margin[number] else None,
            }
        )
    used = np.sum([text.chosen for text in texts], axis=0)
    utilisation = used / np.maximum(used.sum(axis=1, keepdims=True), 1.0)
    return {
        "data": {
            "name": name,
            "examples": len(texts),
            "tokens": sum(text.tokens for text in texts),
        },
        "topics": rows,
        "baseline": {
            "information": round(found_information, 6),
            "shuffled_mean": round(float(by_lot.mean()), 6),
            "shuffled_95": round(float(np.quantile(by_lot, _QUANTILE)), 6),
            "shuffles": shuffles,
        },
        "utilisation": [_rounded(layer) for layer in utilisation],
        "entropy": _rounded(_entropy(utilisation)),
    }


def information(table: Counts) -> float:
    """Mutual information of topic and expert, mean over layers, nats. `[topics, layers, E]`"""
    joint = table / np.maximum(table.sum(axis=(0, 2), keepdims=True), 1e-300)
    apart = joint.sum(axis=0, keepdims=True) * joint.sum(axis=2, keepdims=True)
    ratio = np.divide(joint, apart, out=np.ones_like(joint), where=joint > 0)
    return float((joint * np.log(ratio)).sum(axis=(0, 2)).mean())


def _by_topic(weights: Counts, labels: NDArray[np.int_], topics: int) -> Counts:
    """`[topics, layers, experts]`"""
    table = np.zeros((topics, *weights.shape[1:]))
    np.add.at(table, labels, weights)
    return table


def _shares(table: Counts) -> Counts:
    """Gate weight per expert over all layers. `[topics, experts]`, rows add up to 1"""
    whole = table.sum(axis=1)
    return np.asarray(whole / np.maximum(whole.sum(axis=1, keepdims=True), 1e-300))


def _entropy(utilisation: Counts) -> Counts:
    logs = np.log(utilisation, out=np.zeros_like(utilisation), where=utilisation > 0)
    return np.asarray(np.abs((utilisation * logs).sum(axis=1)))


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), 5) for value in values]
