"""A held-out part that shares no topic with what is trained."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.data.example import Example


def split_by_topic(
    examples: Sequence[Example], fraction: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """(train, held out), each in the order of `examples`.

    Whole topics are held out until at least `fraction` of the examples are; an example without
    a topic is a topic of its own, by its question. Which topics depends on their names and
    `seed` alone, not on the order of the examples or on Python's hashing.
    """
    if not 0 <= fraction < 1:
        raise SparseDoctorError(f"the held-out fraction is {fraction}; expected 0 to below 1")
    sizes: dict[str, int] = {}
    for example in examples:
        sizes[topic_of(example)] = sizes.get(topic_of(example), 0) + 1
    wanted = fraction * len(examples)
    held: set[str] = set()
    count = 0
    for topic in sorted(sizes, key=lambda name: _draw(name, seed)):
        if count >= wanted:
            break
        held.add(topic)
        count += sizes[topic]
    train = [example for example in examples if topic_of(example) not in held]
    if not train:
        raise SparseDoctorError(
            f"holding out {fraction:.0%} by topic leaves nothing to train on: the data has "
            f"{len(sizes)} topic(s); add data or hold out 0"
        )
    return train, [example for example in examples if topic_of(example) in held]


def shared_topics(
    examples: Sequence[Example], held_out: Sequence[Example]
) -> tuple[set[str], list[Example]]:
    """Topics that stand on both sides, and the ones of `examples` that have such a topic."""
    both = {topic_of(example) for example in held_out} & {topic_of(example) for example in examples}
    return both, [example for example in examples if topic_of(example) in both]


def topic_of(example: Example) -> str:
    """What `example` is about, the same for two that may not stand on different sides."""
    # Case and spaces vary within MedQuAD's own topics.
    if example.topic is not None:
        return "topic " + " ".join(example.topic.casefold().split())
    return "question " + " ".join(example.question.casefold().split())


def _draw(topic: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {topic}".encode()).digest()
