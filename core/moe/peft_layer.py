"""How PEFT carries the experts. The only file that knows PEFT's layer classes.

`LoraConfig._register_custom_module` is private in name (peft is pinned for it): it maps the
base's feed-forward class to our layer, so that `get_peft_model`, `save_pretrained` and
`PeftModel.from_pretrained` work as for any LoRA. A PEFT without our class refuses the adapter.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from sparsedoctor.core.moe.experts import ExpertWeights, FrozenBlock, LoraPairs, mixed_experts
from sparsedoctor.core.moe.queue import ExpertMemoryQueue
from sparsedoctor.core.moe.router import route
from sparsedoctor.core.moe.settings import KEY_SIZE, ExpertSettings
from sparsedoctor.core.moe.supervision import RoutingRecord
from sparsedoctor.core.moe.swiglu import BLOCK, swiglu_class

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
PROJECTIONS = ("gate", "up", "down")
ROUTER_INIT = 0.02  # standard deviation


class LoraMoeBlock(nn.Module, LoraLayer):  # type: ignore[misc]
    """A frozen SwiGLU block with its experts and their router.

    `queue_length` None: no projection and no queue; 0: a projection without memory.
    """

    adapter_layer_names = (
        *(f"lora_{part}_{name}" for name in PROJECTIONS for part in ("A", "B")),
        *(f"lora_shared_{part}_{name}" for name in PROJECTIONS for part in ("A", "B")),
        "lora_router",
        "lora_projection",
    )
    other_param_names = ("r", "lora_alpha", "scaling", "lora_queue")
    base_layer: Any  # the base's own block
    lora_router: nn.ParameterDict
    lora_projection: nn.ParameterDict
    active_adapters: list[str]
    disable_adapters: bool
    set_adapter: Callable[[str], None]

    def __init__(
        self,
        base_layer: nn.Module,
        adapter_name: str,
        *,
        settings: ExpertSettings,
        queue_length: int | None,
        **_: Any,
    ) -> None:
        nn.Module.__init__(self)
        self.base_layer = base_layer
        self.settings = settings
        self.r: dict[str, int] = {adapter_name: settings.rank}
        self.lora_alpha: dict[str, float] = {adapter_name: settings.alpha}
        self.scaling: dict[str, float] = {adapter_name: settings.scale}
        self._disable_adapters = False
        self.merged_adapters: list[str] = []
        self.watched = False
        self.record: RoutingRecord | None = None
        for name in self.adapter_layer_names:
            setattr(self, name, nn.ParameterDict())
        self.lora_queue = nn.ModuleDict()
        self._fill(adapter_name, queue_length)
        self.set_adapter(adapter_name)

    def _fill(self, adapter: str, queue_length: int | None) -> None:
        s = self.settings
        for name in PROJECTIONS:
            linear = getattr(self.base_layer, f"{name}_proj")
            wide, out = linear.in_features, linear.out_features
            self._pairs(name)[0][adapter] = _random(s.experts, s.rank, wide, spread=wide**-0.5)
            self._pairs(name)[1][adapter] = nn.Parameter(torch.zeros(s.experts, out, s.rank))
            if s.shared_rank:
                self._shared(name)[0][adapter] = _random(s.shared_rank, wide, spread=wide**-0.5)
                self._shared(name)[1][adapter] = nn.Parameter(torch.zeros(out, s.shared_rank))
        hidden = self.base_layer.gate_proj.in_features
        self.lora_router[adapter] = nn.Parameter(torch.randn(s.experts, hidden) * ROUTER_INIT)
        if queue_length is not None:
            low = 2 * s.rank
            with torch.random.fork_rng(devices=[]):  # the same experts with contrast and without
                projection = torch.randn(KEY_SIZE, low) * low**-0.5
            self.lora_projection[adapter] = nn.Parameter(projection)
        if queue_length:
            self.lora_queue[adapter] = ExpertMemoryQueue(s.experts, queue_length, KEY_SIZE)

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        """The block's output for `x [..., hidden]`."""
        if self.disable_adapters:
            return self.base_layer(x)  # type: ignore[no-any-return]
        flat = x.reshape(-1, x.shape[-1])
        routing = route(flat, self.lora_router[self._name], self.settings.top_k)
        base = self.base_layer
        frozen = FrozenBlock(base.gate_proj, base.up_proj, base.down_proj)
        output = mixed_experts(flat, frozen, self.weights(), routing)
        if self.watched:  # not while gradient checkpointing runs this a second time
            low = output.low.view(len(flat), 2, self.settings.columns)
            experts, rank = self.settings.experts, self.settings.rank
            low = low[..., : experts * rank].view(len(flat), 2, experts, rank)
            self.record = RoutingRecord(routing, low)
        return output.y.view(x.shape)

    def weights(self) -> ExpertWeights:
        """The trained weights of the active adapter."""
        gate, up, down = (self._lora_pairs(name) for name in PROJECTIONS)
        s = self.settings
        return ExpertWeights(gate, up, down, s.scale, s.shared_scale, s.sharing)

    @property
    def router(self) -> Tensor:
        """`[E, hidden]`"""
        router: Tensor = self.lora_router[self._name]
        return router

    @property
    def projection(self) -> Tensor | None:
        """P of the contrast term, `[D, 2r]`; None when there is no contrast."""
        return self.lora_projection[self._name] if len(self.lora_projection) else None

    @property
    def queue(self) -> ExpertMemoryQueue | None:
        return self.lora_queue[self._name] if len(self.lora_queue) else None  # type: ignore[return-value]

    @property
    def _name(self) -> str:
        return str(self.active_adapters[0])

    def _pairs(self, name: str) -> tuple[nn.ParameterDict, nn.ParameterDict]:
        return getattr(self, f"lora_A_{name}"), getattr(self, f"lora_B_{name}")

    def _shared(self, name: str) -> tuple[nn.ParameterDict, nn.ParameterDict]:
        return getattr(self, f"lora_shared_A_{name}"), getattr(self, f"lora_shared_B_{name}")

    def _lora_pairs(self, name: str) -> LoraPairs:
        a, b = (part[self._name] for part in self._pairs(name))
        if not self.settings.shared_rank:
            return LoraPairs(a, b)
        return LoraPairs(a, b, *(part[self._name] for part in self._shared(name)))


def attach_experts(
    model: nn.Module, settings: ExpertSettings, queue_length: int | None = None
) -> PeftModel:
    """Freeze `model` and give each of its SwiGLU blocks experts, A drawn at random and B zero.

    Raises SparseDoctorError for a base without SwiGLU blocks.
    """
    config = expert_config(model, settings, queue_length)
    return get_peft_model(model, config)


def expert_config(
    model: nn.Module,
    settings: ExpertSettings,
    queue_length: int | None,
    config: LoraConfig | None = None,
) -> LoraConfig:
    """PEFT's own configuration (a new one, or one that was read) that knows our layer."""
    if config is None:
        attention = ATTENTION if settings.attention_rank else ()
        config = LoraConfig(
            task_type="CAUSAL_LM",
            target_modules=[BLOCK, *attention],
            r=settings.rank,
            lora_alpha=settings.alpha,
            rank_pattern=dict.fromkeys(attention, settings.attention_rank),
            alpha_pattern=dict.fromkeys(attention, settings.attention_alpha),
            lora_dropout=0.0,
        )
    layer = partial(LoraMoeBlock, settings=settings, queue_length=queue_length)
    config._register_custom_module({swiglu_class(model): layer})
    return config


def expert_layers(model: nn.Module) -> list[LoraMoeBlock]:
    """The LoRA-MoE blocks of a model, from the first layer to the last."""
    return [module for module in model.modules() if isinstance(module, LoraMoeBlock)]


def _random(*shape: int, spread: float) -> nn.Parameter:
    """Uniform in [-spread, spread], as PEFT draws A."""
    return nn.Parameter(torch.empty(shape).uniform_(-spread, spread))
