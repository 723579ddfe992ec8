"""Do experts attend to topics, or would any routing look as if they did?

The mutual information of topic and expert, layer by layer, in bits. It is never zero in a finite
sample, so it means nothing by itself: it is compared with what the same choices give when the
topics are dealt out again at random among the examples. Examples are shuffled, not tokens,
because the tokens of one answer are no independent observations; and every example weighs the
same, so that long answers do not speak for their topic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Specialisation:
    topics: tuple[str, ...]  # [T] sorted by name
    examples: tuple[int, ...]  # [T]
    table: Array  # [layers, T, E] part of a topic's choices; rows add up to 1
    information: Array  # [layers] bits
    shuffled: Array  # [permutations, layers] bits

    @property
    def lift(self) -> Array:
        """`table` as multiples of each expert's share over all topics, `[layers, T, E]`; 1 is
        no preference, so a popular expert does not look like a specialist."""
        weights = np.array(self.examples) / sum(self.examples)  # [T]
        overall = np.einsum("t,lte->le", weights, self.table)[:, None, :]
        lift: Array = np.divide(
            self.table, overall, out=np.ones_like(self.table), where=overall > 0
        )
        return lift

    @property
    def mean(self) -> float:
        """Mutual information, averaged over layers, in bits."""
        return float(self.information.mean())

    @property
    def baseline(self) -> float:
        """The same with shuffled topics, averaged over permutations."""
        return float(self.shuffled.mean())

    @property
    def baseline_high(self) -> float:
        """What 95 % of the permutations stay below."""
        return float(np.quantile(self.shuffled.mean(axis=1), 0.95))

    @property
    def p_value(self) -> float:
        """Part of permutations that reach the measured mean (one-sided, never 0)."""
        reached = int((self.shuffled.mean(axis=1) >= self.mean - 1e-12).sum())
        return (1 + reached) / (1 + len(self.shuffled))

    @property
    def strongest(self) -> int:
        """The layer that exceeds its own baseline most."""
        return int((self.information - self.shuffled.mean(axis=0)).argmax())


def specialisation(
    topics: tuple[str, ...],
    counts: Array,
    *,
    permutations: int = 500,
    seed: int = 0,
    least: int = 5,
) -> Specialisation | None:
    """`topics [N]` of examples and how often each chose each expert, `counts [N, layers, E]`.

    Topics of fewer than `least` examples are left out. None when fewer than two topics are left.
    """
    counts = np.asarray(counts, dtype=np.float64)
    sizes = {topic: topics.count(topic) for topic in set(topics)}
    names = tuple(sorted(topic for topic, size in sizes.items() if size >= least))
    # An example that chose nothing in some layer has no share there.
    used = np.array([topic in names for topic in topics]) & (counts.sum(axis=2) > 0).all(axis=1)
    kept = [topic for topic, use in zip(topics, used, strict=True) if use]
    names = tuple(name for name in names if name in kept)
    if len(names) < 2:
        return None
    number = np.array([names.index(topic) for topic in kept])  # [N]
    shares = counts[used] / counts[used].sum(axis=2, keepdims=True)  # [N, layers, E]
    joint = _joint(number, shares, len(names))
    generator = np.random.default_rng(seed)
    shuffled = np.stack(
        [
            mutual_information(_joint(generator.permutation(number), shares, len(names)))
            for _ in range(permutations)
        ]
    )
    return Specialisation(
        topics=names,
        examples=tuple(int((number == topic).sum()) for topic in range(len(names))),
        table=joint / joint.sum(axis=2, keepdims=True),
        information=mutual_information(joint),
        shuffled=shuffled,
    )


def mutual_information(joint: Array) -> Array:
    """Bits shared by the last two dimensions of `joint [..., T, E]`, whose sum is 1."""
    independent = joint.sum(axis=-1, keepdims=True) * joint.sum(axis=-2, keepdims=True)
    ratio = np.divide(joint, independent, out=np.ones_like(joint), where=joint > 0)
    information: Array = (joint * np.log2(ratio)).sum(axis=(-2, -1))
    return np.maximum(information, 0.0)


def _joint(number: NDArray[np.int64], shares: Array, topics: int) -> Array:
    """Probability of topic and expert together, `[layers, T, E]`."""
    members = np.eye(topics)[number]  # [N, T]
    joint: Array = np.einsum("nt,nle->lte", members, shares) / len(number)
    return joint
