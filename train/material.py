"""From data files to the rows a run trains on and the rows it is measured on."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.data.batches import Packed, pack
from sparsedoctor.train.data.encode import Encoded, EncodedData, encode_all, template_for
from sparsedoctor.train.data.example import Example
from sparsedoctor.train.data.formats import read_examples
from sparsedoctor.train.data.overlap import exclude_overlap
from sparsedoctor.train.data.split import shared_topics, split_by_topic
from sparsedoctor.train.settings import DataSettings


@dataclass(frozen=True, slots=True)
class Material:
    """Rows in the order of the files; the sampler shuffles them by the run's seed."""

    training: Sequence[Encoded | Packed]
    encoded: EncodedData  # every training example, before packing
    measured: EncodedData  # the held-out ones

    @property
    def held_out(self) -> list[Encoded]:
        return self.measured.examples

    @property
    def tokens(self) -> int:
        """Tokens of all training examples."""
        return sum(len(example.input_ids) for example in self.encoded.examples)

    @property
    def too_long(self) -> int:
        """Examples left out, of both parts, because their question does not fit."""
        return len(self.encoded.too_long) + len(self.measured.too_long)

    @property
    def learned(self) -> int:
        """Tokens of their answers."""
        return sum(example.learned for example in self.encoded.examples)

    def most_learned(self, rows: int) -> int:
        """The most tokens that any `rows` of the training rows learn together."""
        counts = (
            sum(example.learned for example in row.examples)
            if isinstance(row, Packed)
            else row.learned
            for row in self.training
        )
        return sum(heapq.nlargest(rows, counts))


@dataclass(frozen=True, slots=True)
class Examples:
    """What was read, before any tokenizer is needed."""

    training: list[Example]
    held_out: list[Example]


def choose_examples(settings: DataSettings, seed: int) -> Examples:
    """Read, split and draw. Raises SparseDoctorError naming file and line."""
    training = _read(settings.data, settings.format)
    if settings.held_out:
        held_out = _read(settings.held_out, settings.format)
    else:
        training, held_out = split_by_topic(training, settings.held_out_fraction, seed)
    if settings.exclude:
        overlap = exclude_overlap(training, [Path(name) for name in settings.exclude])
        print(overlap.report())
        training = overlap.kept
        if not training:
            raise SparseDoctorError(
                "every training example is asked by the files of --exclude too; nothing is left"
            )
    if settings.held_out:
        topics, sharing = shared_topics(training, held_out)
        if sharing:
            print(
                f"note: {len(topics):,} topics of the held-out files are trained on as well "
                f"({len(sharing):,} examples), so that the held-out loss is a little too good; "
                "--exclude leaves out questions that are the same"
            )
    training = draw(training, settings.limit, seed)
    return Examples(training, draw(held_out, settings.held_out_limit, seed))


def encode_material(examples: Examples, settings: DataSettings, tokenizer: Any) -> Material:
    """Tokens, and rows of them. Raises SparseDoctorError when nothing fits."""
    template = template_for(tokenizer)
    encoded = encode_all(examples.training, tokenizer, settings.max_tokens, template)
    if not encoded.examples:
        raise SparseDoctorError(
            f"no example fits in {settings.max_tokens} tokens; raise max_tokens"
        )
    rows: Sequence[Encoded | Packed] = encoded.examples
    if settings.pack:
        # Files come sorted by topic; rows should not be of one.
        mixed = random.Random(0).sample(encoded.examples, len(encoded.examples))
        rows = pack(mixed, settings.max_tokens)
    measured = encode_all(examples.held_out, tokenizer, settings.max_tokens, template)
    if measured.too_long and not measured.examples:
        raise SparseDoctorError(
            f"no held-out example fits in {settings.max_tokens} tokens; raise max_tokens, or hold "
            "out 0 (held_out_fraction) to measure nothing"
        )
    return Material(rows, encoded, measured)


def draw(examples: list[Example], number: int, seed: int) -> list[Example]:
    """`number` examples at random, in their order; all of them for 0."""
    if not number or number >= len(examples):
        return examples
    places = random.Random(seed).sample(range(len(examples)), number)
    return [examples[place] for place in sorted(places)]


def _read(files: Sequence[str], format: str | None) -> list[Example]:
    examples = [example for name in files for example in read_examples(Path(name), format)]
    if not examples:
        raise SparseDoctorError(f"{', '.join(files)}: there is no example in it")
    return examples
