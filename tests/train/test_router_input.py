"""A router starts as undecided and moves as far at a step, whatever the size of what it reads."""

from __future__ import annotations

import math
from pathlib import Path

import torch
import transformers
from tiny_models import make_tiny_model
from tiny_runs import tiny_settings
from torch import Tensor
from transformers import AutoModelForCausalLM

from sparsedoctor.core.moe.peft_layer import expert_layers
from sparsedoctor.core.moe.router import route
from sparsedoctor.train.router_input import TYPICAL, input_size
from sparsedoctor.train.run import Loaded, prepare


def louder(base: Path, times: float) -> None:
    """The same function, whose feed-forward blocks read vectors that are `times` as large."""
    model = AutoModelForCausalLM.from_pretrained(base)
    for layer in model.model.layers:
        layer.post_attention_layernorm.weight.data *= times
        layer.mlp.gate_proj.weight.data /= times
        layer.mlp.up_proj.weight.data /= times
    model.save_pretrained(base)


def prepared(tmp_path: Path, times: float) -> Loaded:
    folder = tmp_path / f"{times:g}"
    make_tiny_model(folder / "base", "qwen2")
    louder(folder / "base", times)
    transformers.set_seed(1)
    return prepare(tiny_settings(folder, base=str(folder / "base")), folder / "out")


def routed(loaded: Loaded) -> list[Tensor]:
    """The first logits of every layer, of one text."""
    read: list[Tensor] = []
    layers = expert_layers(loaded.model)
    for layer in layers:
        layer.register_forward_pre_hook(lambda _, given: read.append(given[0][0]))
    with torch.no_grad():
        loaded.model(torch.tensor([loaded.material.encoded.examples[0].input_ids]))
    return [route(x, layer.router, 2).logits for x, layer in zip(read, layers, strict=True)]


def test_routers_of_a_louder_base_start_alike_and_learn_as_much_slower(tmp_path: Path) -> None:
    quiet, loud = (prepared(tmp_path, times) for times in (1, 64))
    for before, after in zip(routed(quiet), routed(loud), strict=True):
        assert torch.equal(before, after)
        assert before.std() > 1e-3
    rates = []
    for loaded in (quiet, loud):
        groups = loaded.trainer.create_optimizer().param_groups
        rates.append([group["lr"] for group in groups])
    assert rates[0][0] == rates[1][0]  # the experts'
    assert rates[0][1] == 64 * rates[1][1]
    assert "routers: what they read is about" in loud.introduction()


def test_the_size_is_that_of_most_tokens_and_layers(tmp_path: Path) -> None:
    loaded = prepared(tmp_path, 1)
    layers = expert_layers(loaded.model)
    read: list[float] = []
    for layer in layers:
        layer.register_forward_pre_hook(
            lambda _, given: read.append(float(given[0][0].abs().sum(-1).median()))
        )
    tokens = loaded.material.encoded.examples[0].input_ids
    size = input_size(loaded.model, layers, tokens)
    assert min(read) <= size <= max(read)
    assert abs(math.log2(loaded.router_part * size / TYPICAL)) <= 0.5
    assert math.log2(loaded.router_part) % 1 == 0
    assert loaded.model.training  # as it was


def test_the_base_on_which_rate_and_start_were_chosen_keeps_them(
    tmp_path: Path, smollm2_gguf: Path
) -> None:
    """What was measured on it, the default adapter among it, is what a run still makes."""
    settings = tiny_settings(tmp_path, base="smollm2")
    transformers.set_seed(1)
    loaded = prepare(settings, tmp_path / "out")
    assert loaded.router_part == 1
    assert "routers:" not in loaded.introduction()
