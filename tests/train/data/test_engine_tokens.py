"""What is learned is, token for token, what llama.cpp is asked in a chat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsedoctor.core.engine.child import ChildEngine
from sparsedoctor.core.engine.protocol import EngineSettings, Message
from sparsedoctor.core.engine.templates import Control, find_template
from sparsedoctor.train.data.encode import IGNORED, encode, joined
from sparsedoctor.train.data.example import Example, Turn
from sparsedoctor.train.data.formats import read_examples

CONTROLS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
_ODD = (
    "38.5 °C",
    "头痛",
    " ",
    "\n\n",
    "  ",
    "don't",
    "x²",
    "🙂",
    "é",
    "1,000 mg",
    "-",
    "\t",
    "\u3000",
)
words = st.sampled_from((*CONTROLS, *_ODD, "assistant\n", "ß", "A.", "\u200b"))
texts = st.lists(words | st.text(max_size=6), min_size=1, max_size=8).map("".join)


@pytest.fixture(scope="module")
def engine(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChildEngine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARSEDOCTOR_HOME", str(tmp_path_factory.mktemp("home")))
        engine = ChildEngine(smollm2_gguf, EngineSettings(context=256, threads=1))
        engine.load()
        yield engine
        engine.close()


def _asked(engine: ChildEngine, example: Example, number: int) -> list[int]:
    """The tokens of the prompt of the answer at `number`, from llama.cpp's own vocabulary."""
    messages = [Message(turn.role, turn.content) for turn in example.turns[:number]]
    ids: list[int] = []
    for segment in joined(find_template("chatml").write(messages)):
        ids += engine.tokenize(segment.text, control=isinstance(segment, Control))
    return ids


def test_published_questions_are_learned_as_they_are_asked(
    engine: ChildEngine, tokenizer: Any, shared_data: Path
) -> None:
    examples = [
        *read_examples(shared_data / "train/medquad_train.jsonl.gz")[::1500],
        *read_examples(shared_data / "train/cmtmedqa_multiturn.jsonl.gz")[::200],
        *read_examples(shared_data / "train/mts_dialog/MTS-Dialog-TrainingSet.csv")[::200],
        *read_examples(shared_data / "train/en_exam_train.jsonl.gz")[::500],
    ]
    assert len(examples) > 20
    for example in examples:
        encoded = encode(example, tokenizer, 1_000_000)
        number = len(example.turns) - 1
        asked = _asked(engine, example, number)
        end = engine.tokenize("<|im_end|>", control=True)
        answer = engine.tokenize(example.turns[number].content)
        assert encoded.input_ids == [*asked, *answer, *end], example.source
        assert encoded.labels[len(asked) :] == [*answer, *end]


@settings(
    max_examples=25, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(question=texts, answer=texts, then=texts)
def test_whatever_is_written_is_text_for_both(
    engine: ChildEngine, tokenizer: Any, question: str, answer: str, then: str
) -> None:
    turns = (Turn("user", question), Turn("assistant", answer), Turn("user", then))
    example = Example((*turns, Turn("assistant", "Good.")), None, "f", 1)
    encoded = encode(example, tokenizer, 1_000_000)
    start, end = (tokenizer.convert_tokens_to_ids(name) for name in CONTROLS[:2])
    assert encoded.input_ids.count(start) == 4
    assert encoded.input_ids.count(end) == 4
    assert [label for label in encoded.labels if label == end] == [end, end]
    # From the last question on, both cut the text at the same places.
    last = max(n for n, token in enumerate(encoded.input_ids) if token == start)
    asked = _asked(engine, example, 3)
    before = max(n for n, token in enumerate(asked) if token == start)
    assert encoded.input_ids[last:][: len(asked) - before] == asked[before:]
    assert encoded.labels[last + len(asked) - before] != IGNORED
    assert encoded.input_ids[:3] == asked[:3]
    question_ids = engine.tokenize(f"user\n{question}")
    assert encoded.input_ids[1 : 1 + len(question_ids)] == question_ids
