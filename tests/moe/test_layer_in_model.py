"""The layer inside a model: identity, invariance, gradients, PEFT's round trip."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.moe.adapter import load_adapter, save_adapter
from sparsedoctor.core.moe.adapter_description import AdapterDescription, BaseShape
from sparsedoctor.core.moe.base import Base
from sparsedoctor.core.moe.peft_layer import LoraMoeBlock, attach_experts, expert_layers
from sparsedoctor.core.moe.reference import reference_experts
from sparsedoctor.core.moe.router import route
from sparsedoctor.core.moe.settings import ExpertSettings, SupervisionSettings
from sparsedoctor.core.moe.supervision import RoutingSupervisor, Terms, _layers_at_once

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
SETTINGS = ExpertSettings(experts=4, top_k=2, rank=3, alpha=6, shared_rank=2, shared_alpha=4)


def _shake(model: nn.Module, seed: int = 5) -> None:
    """Make B nonzero, as after some training."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "_B_" in name:
                parameter.normal_(std=0.1)


def _ids(seed: int = 0, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, 500, shape or (2, 24), generator=generator)


@pytest.mark.parametrize("family", FAMILIES)
def test_with_b_zero_the_logits_are_the_bases(family: str, tiny_base: Callable[..., Base]) -> None:
    base = tiny_base(family)
    ids = _ids()
    with torch.no_grad():
        plain = base.model(ids).logits
        model = attach_experts(base.model, SETTINGS, 16).eval()
        torch.testing.assert_close(model(ids).logits, plain, rtol=1e-5, atol=1e-4)
        _shake(model)
        assert (model(ids).logits - plain).abs().max() > 0.1  # and B is what was zero
        with model.disable_adapter():
            torch.testing.assert_close(model(ids).logits, plain, rtol=0, atol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_block_in_a_model_is_the_formula(family: str, tiny_base: Callable[..., Base]) -> None:
    model = attach_experts(tiny_base(family).model, SETTINGS)
    _shake(model)
    layer = expert_layers(model)[1]
    x = torch.randn(2, 5, 64)
    base = layer.base_layer
    expected = reference_experts(
        x.view(10, 64),
        base.gate_proj.weight,
        base.up_proj.weight,
        base.down_proj.weight,
        layer.weights(),
        route(x.view(10, 64), layer.router, SETTINGS.top_k),
    )
    torch.testing.assert_close(layer(x), expected.view(2, 5, 64), rtol=1e-4, atol=1e-5)


def test_only_adapter_weights_train_and_all_are_parameters(tiny_base: Callable[..., Base]) -> None:
    model = attach_experts(tiny_base().model, SETTINGS, 16)
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    assert names
    assert all("lora_" in name for name in names)
    count = sum(p.numel() for n, p in model.named_parameters() if n in names and "proj" not in n)
    assert count == SETTINGS.trainable_parameters(hidden=64, ffn=128, layers=2)


def test_experts_begin_alike_with_contrast_and_without(tiny_base: Callable[..., Base]) -> None:
    """Else a comparison of the two would be one of two random beginnings."""
    begun = {}
    for queue in (None, 0, 16):
        base = tiny_base()
        torch.manual_seed(3)
        model = attach_experts(base.model, SETTINGS, queue)
        begun[queue] = {
            name: p.clone()
            for name, p in model.named_parameters()
            if p.requires_grad and "lora_projection" not in name
        }
    for queue in (0, 16):
        assert begun[queue].keys() == begun[None].keys()
        assert all(torch.equal(p, begun[None][name]) for name, p in begun[queue].items())


def test_eval_is_deterministic(tiny_base: Callable[..., Base]) -> None:
    model = attach_experts(tiny_base().model, SETTINGS)
    _shake(model)
    model.train()
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(_ids()).logits, model(_ids()).logits)


def test_padding_and_neighbours_change_nothing(tiny_base: Callable[..., Base]) -> None:
    model = attach_experts(tiny_base().model, SETTINGS).eval()
    _shake(model)
    short = _ids(1, 1, 9)
    row = torch.cat((short, torch.zeros(1, 7, dtype=torch.int64)), dim=1)
    batch = torch.cat((row, _ids(2, 1, 16)))
    mask = torch.ones_like(batch)
    mask[0, 9:] = 0
    with torch.no_grad():
        alone = model(short).logits[0]
        together = model(batch, attention_mask=mask).logits[0, :9]
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)


def _terms(
    model: nn.Module,
    supervision: SupervisionSettings,
    counted: torch.Tensor,
    labels: torch.Tensor | None = None,
) -> Terms:
    supervisor = RoutingSupervisor(expert_layers(model), supervision)
    ids = _ids()
    model.train()
    for _ in range(4):  # fill the queues
        with supervisor.watching():
            model(ids)
        terms = supervisor.terms(counted, labels)
        supervisor.commit()
    return terms


def _gradient(model: nn.Module, part: str) -> float:
    gradients = [
        p.grad.norm() for n, p in model.named_parameters() if part in n and p.grad is not None
    ]
    return float(sum(gradients))


SUPERVISED = {"queue_length": 16, "warmup_steps": 1, "balance_weight": 0.0}


@pytest.mark.parametrize(("weight", "reaches"), [(1.0, True), (0.0, False)])
def test_contrast_reaches_the_experts(
    weight: float, reaches: bool, tiny_base: Callable[..., Base]
) -> None:
    model = attach_experts(tiny_base().model, SETTINGS, 16)
    # route stays on, so that queries are formed in the control too
    supervision = SupervisionSettings(contrast_weight=weight, route_weight=1e-3, **SUPERVISED)
    _terms(model, supervision, torch.ones(2, 24, dtype=torch.bool)).total.backward()
    assert (_gradient(model, "lora_A_gate") > 1e-4) is reaches
    assert (_gradient(model, "lora_A_up") > 1e-4) is reaches
    assert (_gradient(model, "lora_projection") > 1e-4) is reaches


@pytest.mark.parametrize(("weight", "reaches"), [(1.0, True), (0.0, False)])
def test_route_reaches_the_router(
    weight: float, reaches: bool, tiny_base: Callable[..., Base]
) -> None:
    model = attach_experts(tiny_base().model, SETTINGS, 16)
    supervision = SupervisionSettings(contrast_weight=1e-3, route_weight=weight, **SUPERVISED)
    terms = _terms(model, supervision, torch.ones(2, 24, dtype=torch.bool))
    terms.total.backward()
    first = expert_layers(model)[-1].router.grad  # nothing behind it but its own terms
    assert (first is not None and float(first.norm()) > 1e-4) is reaches


def test_layers_compared_together_are_bounded_by_memory() -> None:
    cpu, other, mebibyte = torch.device("cpu"), torch.device("cuda"), 2**20
    assert _layers_at_once(cpu, 30, mebibyte) == 1
    assert _layers_at_once(other, 30, mebibyte) == 30
    assert _layers_at_once(other, 30, 16 * mebibyte) == 8
    assert _layers_at_once(other, 30, 1000 * mebibyte) == 1


@pytest.mark.parametrize("queue_length", [0, 16])
def test_all_layers_at_once_are_supervised_like_one_after_another(
    queue_length: int, tiny_base: Callable[..., Base], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU takes layer by layer, other devices all of them."""
    supervision = SupervisionSettings(**SUPERVISED | {"queue_length": queue_length})
    counted = torch.ones(2, 24, dtype=torch.bool)
    counted[0, 10:] = False
    labels = torch.arange(48).view(2, 24) % 3 - 1  # NO_LABEL, 0, 1
    found = []
    for at_once in (1, 2):
        monkeypatch.setattr(
            "sparsedoctor.core.moe.supervision._layers_at_once", lambda *_, n=at_once: n
        )
        torch.manual_seed(0)
        model = attach_experts(tiny_base().model, SETTINGS, queue_length)
        assert len(expert_layers(model)) == 2
        terms = _terms(model, supervision, counted, labels)
        terms.total.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        queues = [layer.queue.keys for layer in expert_layers(model) if layer.queue is not None]
        found.append((terms, gradients, queues))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)
    assert found[0][0].contrast > 0.1


def test_the_contrast_gradient_is_ordinary_while_b_is_zero(tiny_base: Callable[..., Base]) -> None:
    """Queries are made of A x; made of the LoRA's output they would explode here."""
    model = attach_experts(tiny_base().model, SETTINGS, 16)
    supervision = SupervisionSettings(contrast_weight=1.0, route_weight=0.0, **SUPERVISED)
    _terms(model, supervision, torch.ones(2, 24, dtype=torch.bool)).contrast.backward()
    norms = [p.grad.norm() for p in model.parameters() if p.grad is not None]
    assert max(float(n) for n in norms) < 1e3


def test_uncounted_tokens_change_no_term_and_enter_no_queue(tiny_base: Callable[..., Base]) -> None:
    counted = torch.zeros(2, 24, dtype=torch.bool)
    counted[:, 10:20] = True
    model = attach_experts(tiny_base().model, SETTINGS, 64).train()
    supervisor = RoutingSupervisor(
        expert_layers(model), SupervisionSettings(queue_length=64, warmup_steps=0)
    )
    results = []
    for tail in (1, 2):
        ids = _ids()
        ids[:, 20:] = _ids(tail, 2, 4)  # after the counted tokens: causal attention hides it
        with supervisor.watching():
            model(ids)
        results.append(supervisor.terms(counted))
        supervisor.discard()
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    with supervisor.watching():
        model(_ids())
    supervisor.terms(counted)
    supervisor.commit()
    for layer in expert_layers(model):
        assert layer.queue is not None
        assert int(layer.queue.count.sum()) == 20


def _save(base: Base, model: nn.Module, folder: Path, **options: object) -> AdapterDescription:
    shape = BaseShape(base.name, base.sha256, "llama", 64, 128, 2)
    description = AdapterDescription(shape, SETTINGS, {"steps": 3}, ("CC BY 4.0",))
    save_adapter(model, folder, description, **options)  # type: ignore[arg-type]
    return description


def test_an_adapter_survives_save_and_load(tiny_base: Callable[..., Base], tmp_path: Path) -> None:
    base = tiny_base()
    settings = ExpertSettings(
        rank=3, alpha=6, sharing=0.25, shared_rank=2, shared_alpha=4, attention_rank=2
    )
    model = attach_experts(base.model, settings, 16)
    _shake(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "self_attn" in name and "lora_B" in name:
                parameter.normal_(std=0.1)
        expected = model.eval()(_ids()).logits
    shape = BaseShape(base.name, base.sha256, "llama", 64, 128, 2)
    description = AdapterDescription(shape, settings)
    save_adapter(model, tmp_path / "adapter", description)
    assert AdapterDescription.read(tmp_path / "adapter") == description
    readable = {file.stat().st_mode for file in (tmp_path / "adapter").iterdir()}
    assert len(readable) == 1  # a colleague who may read one may read all
    again = load_adapter(tiny_base(), tmp_path / "adapter").eval()
    with torch.no_grad():
        torch.testing.assert_close(again(_ids()).logits, expected, rtol=0, atol=0)


def test_an_adapter_that_says_nothing_of_sharing_has_none(tmp_path: Path) -> None:
    alone = replace(SETTINGS, sharing=0.0)
    described = AdapterDescription(BaseShape("b", "0" * 64, "llama", 64, 128, 2), alone)
    document = described.to_json()
    del document["sharing"]
    (tmp_path / "sparsedoctor.json").write_text(json.dumps(document))
    assert AdapterDescription.read(tmp_path) == described


def test_the_folder_has_the_names_and_shapes_that_export_reads(
    tiny_base: Callable[..., Base], tmp_path: Path
) -> None:
    base = tiny_base()
    model = attach_experts(base.model, SETTINGS, 16)
    _save(base, model, tmp_path / "adapter", dtype=torch.float16)
    assert sorted(file.name for file in (tmp_path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "sparsedoctor.json",
    ]
    tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    prefix = "base_model.model.model.layers.1.mlp."
    shapes = {
        name.removeprefix(prefix): tuple(t.shape)
        for name, t in tensors.items()
        if name.startswith(prefix)
    }
    assert shapes == {
        "lora_A_gate": (4, 3, 64),
        "lora_A_up": (4, 3, 64),
        "lora_A_down": (4, 3, 128),
        "lora_B_gate": (4, 128, 3),
        "lora_B_up": (4, 128, 3),
        "lora_B_down": (4, 64, 3),
        "lora_shared_A_gate": (2, 64),
        "lora_shared_A_up": (2, 64),
        "lora_shared_A_down": (2, 128),
        "lora_shared_B_gate": (128, 2),
        "lora_shared_B_up": (128, 2),
        "lora_shared_B_down": (64, 2),
        "lora_router": (4, 64),
    }
    assert {t.dtype for t in tensors.values()} == {torch.float16}
    written = (tmp_path / "adapter" / "adapter_config.json").read_text()
    assert json.loads(written)["base_model_name_or_path"] == base.name
    document = json.loads((tmp_path / "adapter" / "sparsedoctor.json").read_text())
    assert document["experts"] == 4
    assert document["top_k"] == 2
    assert document["base"]["sha256"] == base.sha256


def test_an_adapter_of_another_base_is_refused_by_its_hash(
    tiny_base: Callable[..., Base], tmp_path: Path
) -> None:
    base = tiny_base("llama")
    _save(base, attach_experts(base.model, SETTINGS), tmp_path / "adapter")
    with pytest.raises(SparseDoctorError, match=base.sha256[:12]):
        load_adapter(tiny_base("qwen2"), tmp_path / "adapter")


def test_a_damaged_adapter_is_refused(tiny_base: Callable[..., Base], tmp_path: Path) -> None:
    base = tiny_base()
    _save(base, attach_experts(base.model, SETTINGS), tmp_path / "adapter")
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(weights)
    lost = tensors.pop("base_model.model.model.layers.0.mlp.lora_router")
    save_file(tensors, weights)
    with pytest.raises(SparseDoctorError, match=r"layers\.0\.mlp\.lora_router"):
        load_adapter(tiny_base(), tmp_path / "adapter")
    tensors["base_model.model.model.layers.0.mlp.lora_router"] = lost.clone()
    tensors["base_model.model.model.layers.0.mlp.lora_router"][0, 0] = float("nan")
    save_file(tensors, weights)
    with pytest.raises(SparseDoctorError, match="not finite"):
        load_adapter(tiny_base(), tmp_path / "adapter")
    tensors["base_model.model.model.layers.0.mlp.lora_router"] = lost[:2].clone()
    save_file(tensors, weights)
    with pytest.raises(SparseDoctorError, match="cannot be loaded"):
        load_adapter(tiny_base(), tmp_path / "adapter")
    weights.write_bytes(b"not safetensors")
    with pytest.raises(SparseDoctorError, match="cannot be loaded"):
        load_adapter(tiny_base(), tmp_path / "adapter")
    (tmp_path / "adapter" / "sparsedoctor.json").write_text("{")
    with pytest.raises(SparseDoctorError, match="damaged"):
        load_adapter(tiny_base(), tmp_path / "adapter")


def test_a_base_without_swiglu_is_refused_by_name() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=50))
    with pytest.raises(SparseDoctorError, match="gpt2"):
        attach_experts(model, SETTINGS)


def test_gradient_checkpointing_gives_the_same_gradients_and_one_record(
    tiny_base: Callable[..., Base],
) -> None:
    """The second forward of a checkpointed region is not watched: nothing enters twice."""
    results, counts = [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = attach_experts(tiny_base().model, SETTINGS, 64).train()
        _shake(model)
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        supervisor = RoutingSupervisor(
            expert_layers(model), SupervisionSettings(queue_length=64, warmup_steps=1)
        )
        for _ in range(3):
            model.zero_grad()
            with supervisor.watching():
                loss = model(input_ids=_ids(), labels=_ids()).loss
            terms = supervisor.terms(torch.ones(2, 24, dtype=torch.bool))
            (loss + terms.total).backward()
            supervisor.commit()
        results.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
        counts.append([layer.queue.count.tolist() for layer in expert_layers(model) if layer.queue])
        assert all(layer.record is None for layer in expert_layers(model))
    assert counts[0] == counts[1]
    assert sum(counts[0][0]) <= 3 * 48
    for name, gradient in results[0].items():
        torch.testing.assert_close(gradient, results[1][name], rtol=1e-4, atol=1e-7)


def test_blocks_are_the_only_layers_replaced(tiny_base: Callable[..., Base]) -> None:
    model = attach_experts(tiny_base().model, SETTINGS)
    assert [type(m) for m in expert_layers(model)] == [LoraMoeBlock, LoraMoeBlock]
