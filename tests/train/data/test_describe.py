"""The dry run's text says how much there is and shows what is learned."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from tiny_models import write_tokenizer

from sparsedoctor.train.data.batches import pack
from sparsedoctor.train.data.describe import describe_data, show_example
from sparsedoctor.train.data.encode import EncodedData, encode, encode_all
from sparsedoctor.train.data.example import Example, Turn
from sparsedoctor.train.data.hashes import data_hashes

transformers = pytest.importorskip("transformers")


@pytest.fixture
def tokenizer(tmp_path: Path) -> Any:
    write_tokenizer(tmp_path, "llama")
    return transformers.AutoTokenizer.from_pretrained(tmp_path)


def _example(question: str, *rest: str, line: int = 1, topic: str = "t") -> Example:
    turns = [
        Turn("assistant" if n % 2 else "user", text) for n, text in enumerate((question, *rest))
    ]
    return Example(tuple(turns), topic, "folder/data.jsonl", line, "symptoms")


def test_what_is_learned_stands_between_brackets(tokenizer: Any) -> None:
    example = _example("One?", "First.", "Two?", "头痛。")
    text = show_example(example, encode(example, tokenizer, 200), tokenizer)
    assert "data.jsonl, line 1" in text
    assert text.endswith(
        "<|im_start|>user\nOne?<|im_end|>\n<|im_start|>assistant\n⟦First.<|im_end|>⟧\n"
        "<|im_start|>user\nTwo?<|im_end|>\n<|im_start|>assistant\n⟦头痛。<|im_end|>⟧"
    )


def test_a_cut_answer_is_told(tokenizer: Any) -> None:
    example = _example("One?", "A disease of the joints. " * 20)
    text = show_example(example, encode(example, tokenizer, 30), tokenizer)
    assert "30 tokens, its end cut off" in text
    assert "<|im_end|>⟧" not in text


def test_counts_add_up(tokenizer: Any) -> None:
    examples = [
        _example(f"Q{n}?", "A cough. " * n, line=n, topic=f"t{n % 3}") for n in range(1, 41)
    ]
    examples.append(_example("Why? " * 60, "So."))
    train = encode_all(examples, tokenizer, 64)
    held = encode_all(examples[:4], tokenizer, 64)
    text = describe_data(train, held, tokenizer, max_tokens=64, packed=pack(train.examples, 64))
    tokens = sum(len(e.input_ids) for e in train.examples)
    learned = sum(e.learned for e in train.examples)
    cut = sum(e.cut for e in train.examples)
    assert 0 < cut < 40
    [row] = [line for line in text.splitlines() if line.startswith("train ")]
    assert row.replace(",", "").split()[1:] == ["40", "3", str(tokens), str(learned), str(cut)]
    assert "held out" in text
    assert "left out: 1, because their question alone fills 64" in text
    assert "subjects    symptoms 40" in text
    assert "packed: 40 examples in" in text
    title = next(i for i, line in enumerate(text.splitlines()) if line.startswith("tokens of an"))
    histogram = []
    for line in text.splitlines()[title + 1 :]:
        if not line.strip():
            break
        histogram.append(int(line.split()[3].replace(",", "")))
    assert sum(histogram) == 40


def test_no_examples_at_all_is_described(tokenizer: Any) -> None:
    nothing = EncodedData([], [])
    assert "train" in describe_data(nothing, nothing, tokenizer, max_tokens=64)


def test_the_hash_of_every_file_of_a_folder_is_recorded(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(json.dumps({"question": name, "answer": "x"}))
    hashes = data_hashes([tmp_path])
    assert list(hashes) == [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]
    first = hashlib.sha256((tmp_path / "a.jsonl").read_bytes()).hexdigest()
    assert hashes[str(tmp_path / "a.jsonl")] == first
