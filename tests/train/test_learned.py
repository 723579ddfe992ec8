"""A training pass computes the logits of learned tokens alone, and the same loss from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_models import make_tiny_model

from sparsedoctor.train.data.batches import FEW_SHAPES, collate, pack
from sparsedoctor.train.data.encode import IGNORED, Encoded

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from sparsedoctor.core.moe.base import load_base  # noqa: E402
from sparsedoctor.train.learned import LearnedLogits  # noqa: E402

SHAPES = [(12, 6), (20, 9), (15, 5)]  # tokens, those of the question


def _examples(shapes: list[tuple[int, int]]) -> list[Encoded]:
    rows = [(list(range(5, 5 + length)), asked) for length, asked in shapes]
    return [Encoded(ids, [IGNORED] * asked + ids[asked:], None) for ids, asked in rows]


def _batch(examples: list[Encoded], packed: bool = False, multiple: int = 1) -> dict[str, Any]:
    rows = pack(examples, 80) if packed else examples
    batch = collate(rows, pad_id=0, multiple=multiple)
    del batch["topic_ids"]
    return batch


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
@pytest.mark.parametrize("packed", [False, True])
def test_loss_and_gradient_are_those_of_all_logits(
    tmp_path: Path, family: Any, packed: bool
) -> None:
    model = load_base(str(make_tiny_model(tmp_path, family))).model
    batch = _batch(_examples(SHAPES), packed)
    whole = model(**batch)
    logits = LearnedLogits(model)
    with logits.of(batch) as given:
        short = model(**given)
    assert short.logits.shape[:2] == (1, sum(length - asked for length, asked in SHAPES) + 1)
    weight = model.model.layers[0].mlp.up_proj.weight
    gradients = [torch.autograd.grad(output.loss, weight)[0] for output in (whole, short)]
    torch.testing.assert_close(short.loss, whole.loss)
    torch.testing.assert_close(*gradients)
    # Outside, every token has its logits again.
    assert model(**batch).logits.shape == whole.logits.shape
    assert batch["labels"].shape == batch["input_ids"].shape


def test_a_batch_in_which_nothing_is_learned_has_one_row_that_does_not_count(
    tmp_path: Path,
) -> None:
    model = load_base(str(make_tiny_model(tmp_path, "llama"))).model
    with LearnedLogits(model).of(_batch([Encoded([5, 6, 7], [IGNORED] * 3, None)])) as given:
        assert model(**given).logits.shape[:2] == (1, 1)
        assert given["labels"].tolist() == [[IGNORED]]


@pytest.mark.parametrize("packed", [False, True])
def test_rounded_numbers_change_no_loss_and_leave_few_shapes(tmp_path: Path, packed: bool) -> None:
    model = load_base(str(make_tiny_model(tmp_path, "llama"))).model
    counts, lengths = set(), set()
    for length in range(23, 47, 3):
        examples = _examples([(length, 21), (20, 1)])
        batch = _batch(examples, packed)
        whole = model(**batch).loss
        batch = _batch(examples, packed, FEW_SHAPES)
        with LearnedLogits(model, FEW_SHAPES).of(batch) as given:
            output = model(**given)
        torch.testing.assert_close(output.loss, whole)
        counts.add(output.logits.shape[1])
        lengths.add(batch["input_ids"].shape[1])
    assert all(number % FEW_SHAPES == 0 for number in counts | lengths)
    assert len(counts) <= 3


def test_the_output_layer_is_given_no_slice(tmp_path: Path) -> None:
    """torch would copy its weights for every row of the batch."""
    model = load_base(str(make_tiny_model(tmp_path, "llama"))).model
    seen = []
    layer = model.get_output_embeddings()
    layer.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    ids = torch.arange(24).view(2, 12)
    last = model(input_ids=ids, logits_to_keep=3).logits
    assert seen[0].shape[:2] == (2, 3)
    assert seen[0].is_contiguous()
    torch.testing.assert_close(last, model(input_ids=ids).logits[:, -3:])
