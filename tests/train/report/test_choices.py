"""What is written about topics is what the routers chose, for answers' tokens alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_models import make_tiny_model

from sparsedoctor.train.data.encode import IGNORED, Encoded
from sparsedoctor.train.report.record import read_run

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture
def model(tmp_path: Path) -> Any:
    from sparsedoctor.core.moe.peft_layer import attach_experts
    from sparsedoctor.core.moe.settings import ExpertSettings

    torch.manual_seed(0)
    base = transformers.AutoModelForCausalLM.from_pretrained(
        make_tiny_model(tmp_path / "tiny", "qwen2", layers=3), dtype=torch.float32
    )
    return attach_experts(base, ExpertSettings(experts=5, top_k=2, rank=2), 8)


def _supervisor(model: Any) -> Any:
    from sparsedoctor.core.moe.peft_layer import expert_layers
    from sparsedoctor.core.moe.settings import SupervisionSettings
    from sparsedoctor.core.moe.supervision import RoutingSupervisor

    return RoutingSupervisor(expert_layers(model), SupervisionSettings())


def _example(seed: int, length: int, topic: str | None) -> Encoded:
    ids = torch.randint(5, 400, (length,), generator=torch.manual_seed(seed)).tolist()
    return Encoded(ids, [IGNORED] * 4 + ids[4:], topic)


def test_choices_are_those_of_each_answer_alone(tmp_path: Path, model: Any) -> None:
    from sparsedoctor.train.report.choices import write_choices

    examples = [_example(n, 6 + 3 * n, "ab"[n % 2]) for n in range(5)]
    examples.insert(2, _example(9, 12, None))  # without a topic: not counted
    supervisor = _supervisor(model)
    model.train()
    seen: list[int] = []
    path = write_choices(
        tmp_path, model, supervisor, examples, pad_id=0, batch=3, progress=seen.append
    )
    assert path == tmp_path / "choices.jsonl"
    assert seen == [1, 2, 3, 4, 5]
    assert model.training
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    named = [example for example in examples if example.topic]
    assert [line["topic"] for line in lines] == [example.topic for example in named]
    for example, line in zip(named, lines, strict=True):
        with torch.no_grad(), supervisor.watching():
            model(input_ids=torch.tensor([example.input_ids]))
        for record, chosen in zip(supervisor.records(), line["chosen"], strict=True):
            expected = torch.bincount(record.routing.experts[4:].flatten(), minlength=5)
            assert chosen == expected.tolist()
            assert sum(chosen) == 2 * example.learned

    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 1.0}\n')
    choices = read_run(tmp_path).choices
    assert choices is not None
    assert choices.counts.shape == (5, 3, 5)


def test_without_topics_nothing_is_written(tmp_path: Path, model: Any) -> None:
    from sparsedoctor.train.report.choices import write_choices

    examples = [_example(0, 8, None)]
    assert write_choices(tmp_path, model, _supervisor(model), examples, pad_id=0) is None
    assert not (tmp_path / "choices.jsonl").exists()
