"""Training, evaluation, the exported file and the engine ask in the same words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_adapters import make_adapter
from tiny_models import make_tiny_model

from sparsedoctor.core.bundle import read_bundle
from sparsedoctor.core.engine.child import ChildEngine
from sparsedoctor.core.engine.protocol import EngineSettings, Finished, Message, Sampling, Started

Export = Callable[..., Path]


def add_thinking(base: Path) -> None:
    """Qwen3's two tokens as the family publishes them: added, not marked as special."""
    file = base / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    first = max(entry["id"] for entry in tokenizer["added_tokens"])
    first = max(first, *tokenizer["model"]["vocab"].values()) + 1
    for number, text in enumerate(("<think>", "</think>"), start=first):
        tokenizer["added_tokens"].append(
            {"id": number, "content": text, "special": False, "normalized": False,
             "single_word": False, "lstrip": False, "rstrip": False}
        )  # fmt: skip
    file.write_text(json.dumps(tokenizer))


@pytest.mark.parametrize(("thinks", "name"), [(True, "qwen3"), (False, "chatml")])
def test_all_four_choose_the_same_template(
    tmp_path: Path, export: Export, thinks: bool, name: str
) -> None:
    transformers = pytest.importorskip("transformers", reason="needs sparsedoctor[train]")
    from sparsedoctor.train.data.encode import IGNORED, encode, template_for
    from sparsedoctor.train.data.example import Example, Turn
    from sparsedoctor.train.evaluate.backends.opening import ModelChoice
    from sparsedoctor.train.evaluate.backends.transformers_loading import load_transformers
    from sparsedoctor.train.evaluate.backends.transformers_tokens import PromptWriter

    base = make_tiny_model(tmp_path / "qwen3", "qwen3")
    if thinks:
        add_thinking(base)
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(base)
    path = export(base=base, adapter=make_adapter(tmp_path / "trained", base, family="qwen3"))
    bundle = read_bundle(path)
    assert bundle is not None
    evaluated = load_transformers(ModelChoice(str(base)), base, {}).record.template
    chosen = (bundle.prompt_template, template_for(tokenizer), evaluated)
    assert chosen == (name, name, name)

    talk = (Message("system", "Be kind."), Message("user", "I cough. 头痛?"))
    turns = (*(Turn(m.role, m.content) for m in talk), Turn("assistant", "Rest."))
    learned = encode(Example(turns, None, "f", 1), tokenizer, 512, template_for(tokenizer))
    prompt = learned.input_ids[: learned.labels.count(IGNORED)]
    assert PromptWriter(tokenizer, evaluated).prompt(talk) == prompt
    engine = ChildEngine(path, EngineSettings(context=256, threads=1))
    try:
        assert engine.load().template == name
        events = list(engine.generate(talk, Sampling(max_tokens=1, seed=1)))
    finally:
        engine.close()
    assert next(e.prompt_tokens for e in events if isinstance(e, Started)) == len(prompt)
    assert isinstance(events[-1], Finished)


def test_the_engine_alone_would_guess_the_same(tmp_path: Path, export: Export) -> None:
    """What the file says is what the engine would choose for it without being told."""
    base = make_tiny_model(tmp_path / "qwen3", "qwen3")
    add_thinking(base)
    folder = export(
        "--layout", "experts", base=base, name="experts",
        adapter=make_adapter(tmp_path / "trained", base, family="qwen3"),
    )  # fmt: skip
    told = json.loads((folder / "routing.json").read_text())["prompt_template"]
    engine = ChildEngine(folder / "expert-1.gguf", EngineSettings(context=256, threads=1))
    try:
        assert engine.load().template == told == "qwen3"
    finally:
        engine.close()
