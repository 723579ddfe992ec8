"""With a llama.cpp that names or computes the routing in another way, chatting goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from engine.small_gguf import SmallModel

from sparsedoctor.core.engine import trace
from sparsedoctor.core.engine.cancelling import CancelFlag
from sparsedoctor.core.engine.child import ChildEngine
from sparsedoctor.core.engine.llama_model import LlamaModel, LoadSettings
from sparsedoctor.core.engine.native_log import NativeLog
from sparsedoctor.core.engine.protocol import EngineSettings, Finished, Message, Notice, Sampling
from sparsedoctor.core.engine.trace import TraceUnavailable

TOKENS = list(range(300, 340))


def other_names(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(trace, "_WEIGHTS", b"ffn_moe_gates-")


def no_library(patch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise TraceUnavailable("no ggml-base library")

    patch.setattr(trace, "_library_path", missing)


def other_shapes(patch: pytest.MonkeyPatch) -> None:
    def other(self: Any, *_: Any) -> Any:
        raise ValueError("another shape")

    patch.setattr(trace.GgmlBase, "rows", other)


def other_signature(patch: pytest.MonkeyPatch) -> None:
    patch.delattr(trace.llama, "ggml_backend_sched_eval_callback")


def load(moe: SmallModel, *, traced: bool) -> LlamaModel:
    settings = LoadSettings(str(moe.path), 256, 64, 1, 0, 4, 4, 2, traced)
    return LlamaModel(settings, CancelFlag(), NativeLog())


@pytest.fixture
def plain_logits(moe: SmallModel) -> Iterator[np.ndarray[Any, Any]]:
    model = load(moe, traced=False)
    yield model.evaluate(TOKENS).logits
    model.close()


@pytest.mark.parametrize("change", [other_names, no_library, other_shapes, other_signature])
def test_the_trace_goes_off_and_the_model_computes_the_same(
    moe: SmallModel, plain_logits: Any, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    change(monkeypatch)
    model = load(moe, traced=True)
    evaluation = model.evaluate(TOKENS)
    assert model.trace_problem
    assert not model.traced
    assert evaluation.experts is None
    assert np.array_equal(evaluation.logits, plain_logits)
    model.close()


def test_a_trace_that_fails_in_the_middle_of_an_answer(
    moe: SmallModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before is read again without the trace."""
    model = load(moe, traced=True)
    whole = model.evaluate(TOKENS).logits
    model.rewind(0)
    model.evaluate(TOKENS[:20])
    monkeypatch.setattr(trace.RoutingTrace, "complete", lambda self: False)
    rest = model.evaluate(TOKENS[20:])
    assert rest.experts is None
    np.testing.assert_allclose(rest.logits, whole[20:], rtol=0.02, atol=0.05)
    model.close()


def test_a_graph_that_changes_between_tokens_is_noticed(moe: SmallModel) -> None:
    """Stale addresses are found by name and the token is decoded again."""
    model = load(moe, traced=True)
    expected = model.evaluate(TOKENS).experts
    assert expected is not None
    model.rewind(0)
    found = []
    for at, token in enumerate(TOKENS):
        if at == 20:  # as if the next graph lay elsewhere in memory
            tracer = model._trace
            assert tracer is not None
            tracer._wanted.update({node + 8: row for node, row in tracer._wanted.items()})
            for node in [node for node in tracer._wanted if node + 8 in tracer._wanted]:
                del tracer._wanted[node]
        found.append(model.evaluate([token]).experts)
    assert model.traced
    assert np.array_equal(np.concatenate([e for e in found if e is not None]), expected)
    model.close()


def test_the_notice_reaches_the_conversation(
    moe: SmallModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """In the real child: a sitecustomize module stands for another llama-cpp-python."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sparsedoctor.core.engine.trace as trace\ntrace._WEIGHTS = b'ffn_moe_gates-'\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    engine = ChildEngine(moe.path, EngineSettings(context=256, threads=1))
    info = engine.load()
    events = list(engine.generate([Message("user", "Hello")], Sampling(max_tokens=6)))
    engine.close()
    assert (info.experts, info.routing_traced) == (4, False)
    assert any(isinstance(e, Notice) and "experts" in e.message for e in events)
    assert isinstance(events[-1], Finished)


def test_gpu_layers_without_a_gpu_build_are_told(moe: SmallModel) -> None:
    engine = ChildEngine(moe.path, EngineSettings(context=256, threads=1, gpu_layers=-1))
    engine.load()
    events = list(engine.generate([Message("user", "Hello")], Sampling(max_tokens=6)))
    engine.close()
    if not any(isinstance(e, Notice) and "without a GPU" in e.message for e in events):
        pytest.skip("this llama-cpp-python has a GPU")
    assert isinstance(events[-1], Finished)
