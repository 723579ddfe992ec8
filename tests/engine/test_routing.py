"""The routing that is shown is the routing that was computed."""

from __future__ import annotations

import numpy as np
import pytest
from engine.small_gguf import LAYERS, SmallModel

from sparsedoctor.core.engine.cancelling import CancelFlag
from sparsedoctor.core.engine.child import ChildEngine
from sparsedoctor.core.engine.llama_model import LlamaModel, LoadSettings
from sparsedoctor.core.engine.native_log import NativeLog
from sparsedoctor.core.engine.protocol import (
    EngineSettings,
    Finished,
    Message,
    Notice,
    RoutingUpdate,
    Sampling,
)

pytest.importorskip("torch", reason="the reference is computed with PyTorch")
from engine.llama_reference import run_reference

TEXT = "A cold usually passes by itself. Drink enough and rest. 感冒 🙂 " * 6


def test_every_choice_and_logit_equals_pytorch(engine: ChildEngine, moe: SmallModel) -> None:
    tokens = engine.tokenize(TEXT)[:120]
    found, expected = engine.evaluate(tokens), run_reference(moe, tokens)
    assert found.experts is not None
    assert found.weights is not None
    assert np.array_equal(found.experts, expected.experts.numpy())
    np.testing.assert_allclose(found.weights, expected.weights.numpy(), atol=2e-3)
    logits = expected.logits.numpy()
    error = np.linalg.norm(found.logits - logits) / np.linalg.norm(logits)
    assert error < 2e-3
    assert np.array_equal(found.logits.argmax(-1), logits.argmax(-1))


def test_evaluating_in_small_batches_gives_the_same_choices(moe: SmallModel) -> None:
    small = ChildEngine(moe.path, EngineSettings(context=512, threads=1, batch=7))
    large = ChildEngine(moe.path, EngineSettings(context=512, threads=1, batch=256))
    tokens = small.tokenize(TEXT)[:100]
    first, second = small.evaluate(tokens), large.evaluate(tokens)
    small.close()
    large.close()
    assert first.experts is not None
    assert np.array_equal(first.experts, second.experts)


def test_reading_without_outputs_leaves_the_same_memory_and_routing(moe: SmallModel) -> None:
    """A prompt's batches end at the last layer's choice; what follows them must not notice."""
    found = []
    for more in (False, True):
        settings = LoadSettings(str(moe.path), 256, 64, 1, 0, LAYERS, LAYERS, 2, trace=True)
        model = LlamaModel(settings, CancelFlag(), NativeLog())
        tokens = list(range(300, 400))
        model.read(tokens[:60], more=more)
        model.read(tokens[60:99], more=more)
        last = model.evaluate(tokens[99:])
        routing = model.routing(0, 100)
        found.append((last.logits, routing[0].copy(), routing[1].copy()))
        model.close()
    for whole, short in zip(*found, strict=True):
        assert np.array_equal(whole, short)


@pytest.mark.parametrize("turns", [1, 2])
def test_updates_of_an_answer_add_up_to_what_evaluate_says(engine: ChildEngine, turns: int) -> None:
    """Also in a second turn, whose prompt is partly in memory already."""
    messages = [Message("user", "What helps against a cold?")]
    for _ in range(turns):
        events = list(engine.generate(messages, Sampling(seed=3, max_tokens=24)))
        finished = events[-1]
        assert isinstance(finished, Finished)
        updates = {e.phase: e for e in events if isinstance(e, RoutingUpdate)}
        asked = list(messages)
        messages += [Message("assistant", finished.text), Message("user", "And a cough?")]
    prompt = _prompt_tokens(engine, asked)
    evaluation = engine.evaluate(prompt)
    assert evaluation.experts is not None
    assert evaluation.weights is not None
    update = updates["prompt"]
    assert update.tokens == len(prompt) == finished.statistics.prompt_tokens
    for layer in range(LAYERS):
        counts = np.bincount(evaluation.experts[:, layer].ravel(), minlength=4)
        assert update.chosen[layer] == tuple(counts)
        sums = np.bincount(
            evaluation.experts[:, layer].ravel(), evaluation.weights[:, layer].ravel(), 4
        )
        np.testing.assert_allclose(update.weight[layer], sums, rtol=1e-3)
    answer = updates["answer"]
    assert answer.tokens == finished.statistics.answer_tokens
    assert all(sum(row) == 2 * answer.tokens for row in answer.chosen)
    np.testing.assert_allclose([sum(row) for row in answer.weight], answer.tokens, rtol=1e-4)


def test_a_dense_model_has_no_routing(dense: SmallModel) -> None:
    engine = ChildEngine(dense.path, EngineSettings(context=512, threads=1))
    info = engine.load()
    events = list(engine.generate([Message("user", "Hello")], Sampling(max_tokens=8)))
    tokens = engine.tokenize(TEXT)[:50]
    evaluation, expected = engine.evaluate(tokens), run_reference(dense, tokens).logits.numpy()
    engine.close()
    assert (info.experts, info.experts_used, info.routing_traced) == (0, 0, False)
    assert not any(isinstance(event, RoutingUpdate | Notice) for event in events)
    assert evaluation.experts is None
    assert np.linalg.norm(evaluation.logits - expected) / np.linalg.norm(expected) < 2e-3


def test_the_trace_can_be_switched_off(moe: SmallModel) -> None:
    engine = ChildEngine(moe.path, EngineSettings(context=512, threads=1, trace=False))
    assert engine.load().routing_traced is False
    events = list(engine.generate([Message("user", "Hello")], Sampling(max_tokens=8)))
    engine.close()
    assert isinstance(events[-1], Finished)
    assert not any(isinstance(event, RoutingUpdate) for event in events)


def _prompt_tokens(engine: ChildEngine, messages: list[Message]) -> list[int]:
    """ChatML, as the vocabulary of the small model asks for, written by hand."""
    text = "".join(f"<|im_start|>{m.role}\n{m.content}<|im_end|>\n" for m in messages)
    return engine.tokenize(text + "<|im_start|>assistant\n", control=True)
