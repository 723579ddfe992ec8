"""What a LoRA-MoE layer is made of and what supervises its routing. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sparsedoctor.core.errors import SparseDoctorError

KEY_SIZE = 128  # numbers in a query or key


@dataclass(frozen=True, slots=True)
class ExpertSettings:
    """The shape of one LoRA-MoE block. The same in every layer, because an exported file has
    one expert count for all of them."""

    experts: int = 4
    """Experts in each feed-forward block, E. Exported files grow with it."""
    top_k: int = 2
    """Experts each token uses. With one, the renormalised weight is always 1 and the
    language-model loss gives the router no gradient."""
    rank: int = 8
    """Rank r of each expert's pairs."""
    alpha: float = 64.0
    """Scale of an expert's update: alpha / rank. A step of AdamW changes what a pair computes by
    about alpha times the learning rate, whatever its rank: that of a dense LoRA of all experts'
    ranks lets experts learn as fast as it does."""
    sharing: float = 0.3333
    """Part of their scale that the pairs of the other experts have in an expert, 0 (none) to below
    1: every pair then learns from every token, those of the chosen experts the most. In short
    trainings a third lowered the held-out loss (docs/method.md)."""
    shared_rank: int = 0
    """Rank r0 of the pair that every token uses beside its experts; 0 for none."""
    shared_alpha: float = 32.0
    """Scale of the shared update: shared_alpha / shared_rank."""
    attention_rank: int = 0
    """Rank of an ordinary LoRA on the attention projections; 0 for none."""
    attention_alpha: float = 16.0
    """Scale of the attention update: attention_alpha / attention_rank."""

    def __post_init__(self) -> None:
        if self.experts < 2:
            raise SparseDoctorError(f"experts is {self.experts}; a mixture needs at least 2")
        if not 2 <= self.top_k <= self.experts:
            raise SparseDoctorError(
                f"top_k is {self.top_k}; it must lie between 2 and experts ({self.experts}): "
                "with one expert a token the router would learn nothing from the text"
            )
        if self.rank < 1:
            raise SparseDoctorError(f"rank is {self.rank}; it must be at least 1")
        if not 0 <= self.sharing < 1:
            raise SparseDoctorError(
                f"sharing is {self.sharing}; it must be 0 (no sharing) to below 1, where every "
                "expert would be the same"
            )
        for name in ("shared_rank", "attention_rank"):
            if getattr(self, name) < 0:
                raise SparseDoctorError(f"{name} is {getattr(self, name)}; 0 switches it off")
        for name in ("alpha", "shared_alpha", "attention_alpha"):
            if getattr(self, name) <= 0:
                raise SparseDoctorError(f"{name} is {getattr(self, name)}; it must be above 0")

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    @property
    def shared_scale(self) -> float:
        return self.shared_alpha / self.shared_rank if self.shared_rank else 0.0

    @property
    def columns(self) -> int:
        """Rows of the concatenated A matrices: all experts and the shared pair."""
        return self.experts * self.rank + self.shared_rank

    @property
    def projection_parameters(self) -> int:
        """Of the contrast's projection P in one layer; it is trained and not exported."""
        return KEY_SIZE * 2 * self.rank

    def trainable_parameters(self, hidden: int, ffn: int, layers: int) -> int:
        """Parameters of experts, shared pair and router (no attention, no projection)."""
        pairs = 3 * self.columns * (hidden + ffn)
        return layers * (pairs + self.experts * hidden)


@dataclass(frozen=True, slots=True)
class SupervisionSettings:
    """The terms beside the language-model loss. A weight of 0 switches a term off."""

    balance_weight: float = 0.01
    """lambda_b of the balance term."""
    contrast_weight: float = 0.01
    """lambda_c of the contrast term."""
    route_weight: float = 0.01
    """lambda_r of the route term."""
    route_target: Literal["similarity", "subjects"] = "similarity"
    """Where the route term sends a token: to the experts whose remembered keys are most like it,
    or, where the data names subjects, to those that remember most of its subject."""
    z_weight: float = 0.0
    """Weight of the router's z-loss."""
    temperature: float = 0.1
    """tau: similarities are divided by it."""
    queue_length: int = 256
    """Keys K remembered for each expert and layer. 0: no memory."""
    batch_keys: bool = True
    """Compare a query with the other keys of its own micro-step too. Without a memory it always
    is."""
    use_labels: bool = True
    """Where the data names a subject (department, exam class, kind of question), keys of the same
    subject are the positives; otherwise, and with False, those of the same expert."""
    queries: int = 512
    """Most tokens of a layer and micro-step that become queries and keys."""
    warmup_steps: int = 0
    """Steps over which contrast and route reach their weight, counted from the step at which
    every lane of a layer holds a quarter of its keys. 0: they have it from then on, and with keys
    of the batch from the first step."""
    release_steps: int = 0
    """Steps, from the same moment on, after which contrast and route have fallen to 0 again (evenly
    from the end of `warmup_steps`): the language-model loss alone leads the router. 0: never."""

    def __post_init__(self) -> None:
        for name in ("balance_weight", "contrast_weight", "route_weight", "z_weight"):
            if getattr(self, name) < 0:
                raise SparseDoctorError(f"{name} is {getattr(self, name)}; 0 switches it off")
        if self.route_target == "subjects" and not (self.use_labels and self.queue_length):
            raise SparseDoctorError(
                'route_target "subjects" reads subjects from the memory; it needs use_labels and a '
                "queue_length above 0"
            )
        if self.temperature <= 0:
            raise SparseDoctorError(f"temperature is {self.temperature}; it must be above 0")
        if self.queue_length < 0:
            raise SparseDoctorError(f"queue_length is {self.queue_length}; 0 switches it off")
        if self.queries < 1:
            raise SparseDoctorError(f"queries is {self.queries}; it must be at least 1")
        if self.warmup_steps < 0:
            raise SparseDoctorError(f"warmup_steps is {self.warmup_steps}; it must not be negative")
        if self.release_steps and self.release_steps <= self.warmup_steps:
            raise SparseDoctorError(
                f"release_steps is {self.release_steps}; it must be above warmup_steps "
                f"({self.warmup_steps}), or 0 for never"
            )
        if self.release_steps and not self.queue_length:
            raise SparseDoctorError(
                "release_steps counts from a filled memory; it needs a queue_length above 0"
            )

    @property
    def contrastive(self) -> bool:
        """Whether queries are formed at all."""
        return self.contrast_weight > 0 or self.route_weight > 0

    def queue_bytes(self, layers: int, experts: int) -> int:
        """Bytes of the expert memory queue: layers * E * K * (D keys of bfloat16 and a label)."""
        if not self.contrastive:
            return 0
        return layers * experts * self.queue_length * (2 * KEY_SIZE + 8)
