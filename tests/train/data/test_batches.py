"""Conversations packed into one row compute what each computes alone."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import make_tiny_model

from sparsedoctor.train.data.batches import (
    NO_TOPIC,
    collate,
    filled_tokens,
    pack,
    topic_id,
)
from sparsedoctor.train.data.encode import IGNORED, Encoded

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def _encoded(length: int, start: int = 5, topic: str | None = None) -> Encoded:
    ids = [start + n for n in range(length)]
    return Encoded(ids, [IGNORED, *ids[1:]], topic)


def test_a_batch_is_padded_on_the_right_and_padding_is_neither_seen_nor_learned() -> None:
    batch = collate([_encoded(3, topic="heart"), _encoded(5)], pad_id=9)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 9, 9], [5, 6, 7, 8, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert batch["labels"].tolist() == [[-100, 6, 7, -100, -100], [-100, 6, 7, 8, 9]]
    heart = topic_id("heart")
    assert batch["topic_ids"].tolist() == [[heart] * 3 + [NO_TOPIC] * 2, [NO_TOPIC] * 5]
    assert batch["use_cache"] is False
    assert "position_ids" not in batch


def test_padding_is_no_token_that_was_trained_on() -> None:
    rows = [_encoded(3), _encoded(2), _encoded(4), _encoded(2)]
    assert int(filled_tokens(collate(rows, pad_id=0))) == 11
    packed = collate(pack(rows, 6), pad_id=0)
    assert packed["input_ids"].numel() > 11
    assert int(filled_tokens(packed)) == 11


def test_a_packed_batch_restarts_its_positions() -> None:
    rows = pack([_encoded(3, topic="a"), _encoded(2, topic="b"), _encoded(4)], 6)
    assert [len(row) for row in rows] == [5, 4]
    batch = collate(rows, pad_id=0)
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1], [0, 1, 2, 3, 0]]
    assert batch["topic_ids"][0].tolist() == [topic_id("a")] * 3 + [topic_id("b")] * 2
    assert batch["labels"][0].tolist() == [-100, 6, 7, -100, 6]
    assert "attention_mask" not in batch


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(50, 120))
def test_packing_loses_nothing_overfills_nothing_and_is_deterministic(
    lengths: list[int], room: int
) -> None:
    examples = [_encoded(length, start=number) for number, length in enumerate(lengths)]
    rows = pack(examples, room)
    assert all(0 < len(row) <= room for row in rows)
    packed = [example for row in rows for example in row.examples]
    assert sorted(packed, key=lambda e: e.input_ids) == sorted(examples, key=lambda e: e.input_ids)
    assert pack(examples, room) == rows
    # Two neighbouring rows that would fit into one have not been left apart.
    assert all(len(one) + len(two) > room for one, two in pairwise(rows))


def test_what_is_too_long_to_pack_is_refused() -> None:
    with pytest.raises(ValueError, match="7 tokens does not fit in 6"):
        pack([_encoded(7)], 6)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_packed_logits_and_loss_equal_those_of_each_example_alone(
    tmp_path: Path, family: Any, attention: str
) -> None:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        make_tiny_model(tmp_path, family), attn_implementation=attention, dtype=torch.float32
    ).eval()
    examples = [
        Encoded(ids, [IGNORED, IGNORED, *ids[2:]], None)
        for ids in (torch.randint(5, 400, (n,)).tolist() for n in (11, 7, 4, 9, 13))
    ]
    rows = pack(examples, 24)
    assert max(len(row.examples) for row in rows) == 3
    batch = collate(rows, pad_id=0)
    labels = batch.pop("labels")
    batch.pop("topic_ids")
    with torch.no_grad():
        logits = model(**batch).logits
        alone = [model(input_ids=torch.tensor([e.input_ids])).logits[0] for e in examples]
        crossed = model(**{**batch, "use_cache": True}).logits
    place = {id(e): n for n, e in enumerate(examples)}
    worst, mixed = 0.0, 0.0
    for number, row in enumerate(rows):
        begin = 0
        for example in row.examples:
            end = begin + len(example.input_ids)
            expected = alone[place[id(example)]]
            scale = expected.abs().max()
            worst = max(worst, float((logits[number, begin:end] - expected).abs().max() / scale))
            mixed = max(mixed, float((crossed[number, begin:end] - expected).abs().max() / scale))
            begin = end
    assert worst < 1e-5
    # The control: were the borders not seen (a cache hides them), the logits would differ.
    assert mixed > 1e-2

    packed_loss = model.loss_function(logits, labels, model.config.vocab_size)
    separate = [
        torch.nn.functional.cross_entropy(own[:-1], torch.tensor(e.labels[1:]), reduction="sum")
        for own, e in zip(alone, examples, strict=True)
    ]
    learned = sum(e.learned for e in examples)
    torch.testing.assert_close(packed_loss, torch.stack(separate).sum() / learned)


def test_a_padded_row_computes_what_it_computes_alone(tmp_path: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(
        make_tiny_model(tmp_path, "llama"), dtype=torch.float32
    ).eval()
    short, long = _encoded(6), _encoded(17, start=40)
    batch = collate([short, long], pad_id=0)
    with torch.no_grad():
        logits = model(**{n: batch[n] for n in ("input_ids", "attention_mask", "use_cache")}).logits
        alone = model(input_ids=torch.tensor([short.input_ids])).logits[0]
    torch.testing.assert_close(logits[0, :6], alone, rtol=1e-4, atol=1e-4)


def test_a_topics_number_does_not_depend_on_the_process() -> None:
    assert topic_id("Gout") == 1630276371
    assert topic_id(None) == NO_TOPIC
    assert len({topic_id(f"topic {n}") for n in range(5000)}) == 5000
