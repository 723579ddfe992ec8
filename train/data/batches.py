"""Batches, and several conversations packed into one row without seeing each other.

    input_ids      a a a a b b b c c .        . is padding
    position_ids   0 1 2 3 0 1 2 0 1 0

A packed batch carries no `attention_mask`. transformers reads the borders from the position ids,
which restart at 0 (`masking_utils.find_packed_sequence_indices`), and gives every attention
implementation its own block mask: a boolean one for sdpa, an additive one for eager, lengths for
flash attention. It does so only without a key-value cache, so every batch says
`use_cache=False`; training never needs one. A padding token is a border of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparsedoctor.train.data.encode import IGNORED, Encoded

if TYPE_CHECKING:
    from torch import Tensor

FEW_SHAPES = 16  # tokens that lengths are rounded up to, where every new shape costs memory
NO_TOPIC = -1  # the expert memory queue's own word for "no label"


@dataclass(frozen=True, slots=True)
class Packed:
    """Conversations that share one row."""

    examples: tuple[Encoded, ...]

    def __len__(self) -> int:
        return sum(len(example.input_ids) for example in self.examples)


def pack(examples: Sequence[Encoded], max_tokens: int) -> list[Packed]:
    """Rows of at most `max_tokens` tokens, first come, first placed.

    An example goes into the first of the last few open rows that has room, so that rows are
    full and the order of the data is kept but for a few places. The same input gives the same rows.
    """
    rows: list[list[Encoded]] = []
    room: list[int] = []
    for example in examples:
        length = len(example.input_ids)
        if length > max_tokens:
            raise ValueError(f"an example of {length} tokens does not fit in {max_tokens}")
        near = range(max(0, len(rows) - _OPEN_ROWS), len(rows))
        place = next((number for number in near if room[number] >= length), None)
        if place is None:
            rows.append([])
            room.append(max_tokens)
            place = len(rows) - 1
        rows[place].append(example)
        room[place] -= length
    return [Packed(tuple(row)) for row in rows]


_OPEN_ROWS = 32


def collate(rows: Sequence[Encoded | Packed], pad_id: int, *, multiple: int = 1) -> dict[str, Any]:
    """A batch for the model, padded on the right to its longest row, and on to a `multiple`.

    `input_ids`, `labels` and `topic_ids` are int64 `[batch, tokens]`; `labels` are IGNORED and
    `topic_ids` NO_TOPIC in padding. Without packed rows there is an `attention_mask` of the same
    shape, with them `position_ids` instead (see the module's text).
    """
    import torch  # reading and describing data must not wait for it

    packed = any(isinstance(row, Packed) for row in rows)
    lines = [row.examples if isinstance(row, Packed) else (row,) for row in rows]
    width = max(sum(len(example.input_ids) for example in line) for line in lines)
    width += -width % multiple
    shape = (len(rows), width)
    input_ids = torch.full(shape, pad_id)
    labels = torch.full(shape, IGNORED)
    topic_ids = torch.full(shape, NO_TOPIC)
    filled = torch.zeros(shape, dtype=torch.int64)
    position_ids = torch.zeros(shape, dtype=torch.int64)
    for number, line in enumerate(lines):
        begin = 0
        for example in line:
            end = begin + len(example.input_ids)
            input_ids[number, begin:end] = torch.tensor(example.input_ids)
            labels[number, begin:end] = torch.tensor(example.labels)
            # Nothing before the first token predicts it; in a packed row, the loss's shift would
            # let the last token of the example before do so.
            labels[number, begin] = IGNORED
            topic_ids[number, begin:end] = topic_id(example.topic)
            filled[number, begin:end] = 1
            position_ids[number, begin:end] = torch.arange(end - begin)
            begin = end
    batch: dict[str, Tensor | bool] = {
        "input_ids": input_ids,
        "labels": labels,
        "topic_ids": topic_ids,
        "use_cache": False,
    }
    batch["position_ids" if packed else "attention_mask"] = position_ids if packed else filled
    return batch


def filled_tokens(batch: Mapping[str, Any]) -> Tensor:
    """How many tokens of a batch are not padding (scalar)."""
    mask: Tensor | None = batch.get("attention_mask")
    if mask is not None:
        return mask.sum()
    # An example of a packed row has one position 1 and n - 1 above 0; padding has neither.
    positions: Tensor = batch["position_ids"]
    return (positions > 0).sum() + (positions == 1).sum()


def topic_id(topic: str | None) -> int:
    """A number for a topic, the same in every process and run, or NO_TOPIC.

    31 bits of the name's checksum: no list of topics needs to be kept with a checkpoint.
    """
    return NO_TOPIC if topic is None else zlib.crc32(topic.encode()) & 0x7FFFFFFF
