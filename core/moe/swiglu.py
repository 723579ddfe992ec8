"""Which blocks of a base can carry experts: SwiGLU feed-forward blocks."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from sparsedoctor.core.errors import SparseDoctorError

BLOCK = "mlp"  # what every supported base calls its feed-forward block
KNOWN = "Llama, Mistral, SmolLM2, Qwen2, Qwen2.5 and Qwen3"


def swiglu_class(model: nn.Module) -> type[nn.Module]:
    """The class of the model's feed-forward blocks: W_down(silu(W_gate x) * W_up x).

    Raises SparseDoctorError, naming the model, when they are something else.
    """
    blocks = [module for name, module in model.named_modules() if name.rpartition(".")[2] == BLOCK]
    classes = {type(block) for block in blocks if is_swiglu(block)}
    if not blocks or len(classes) != 1 or not all(is_swiglu(block) for block in blocks):
        kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
        raise SparseDoctorError(
            f"the base is a {kind} model, whose feed-forward blocks are not SwiGLU blocks; "
            f"experts can be given to {KNOWN}"
        )
    return classes.pop()


def is_swiglu(block: nn.Module) -> bool:
    """Whether `block` has the three projections and the silu between them."""
    if not all(hasattr(block, f"{name}_proj") for name in ("gate", "up", "down")):
        return False
    activation = getattr(block, "act_fn", None)
    probe = torch.linspace(-3, 3, 7)
    return callable(activation) and torch.allclose(activation(probe), F.silu(probe))
