"""What the processes of one run tell each other about the routing."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import Tensor

from sparsedoctor.core.errors import SparseDoctorError


def process_count() -> int:
    """Processes of this run; `accelerate launch` and `torchrun` set it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def check_launch() -> None:
    """Refuse what `accelerate launch` was asked for and training cannot do (SparseDoctorError)."""
    fsdp = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    if fsdp and os.environ.get("FSDP_VERSION", "1") != "2":
        raise SparseDoctorError(
            "experts are trained with FSDP 2 only; add --fsdp_version 2 and "
            "--fsdp_reshard_after_forward true to accelerate launch"
        )


def total(tensor: Tensor) -> Tensor:
    """The sum of `tensor` over all processes."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        tensor = tensor.clone()
        dist.all_reduce(tensor)
    return tensor


def gather(tensor: Tensor) -> Tensor:
    """`tensor [n, ...]` of all processes behind each other, by rank; n may differ."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return tensor
    length = torch.tensor([tensor.shape[0]], device=tensor.device)
    lengths = [torch.zeros_like(length) for _ in range(dist.get_world_size())]
    dist.all_gather(lengths, length)
    longest = max(int(n) for n in lengths)
    padded = tensor.new_zeros((longest, *tensor.shape[1:]))
    padded[: tensor.shape[0]] = tensor
    parts = [torch.zeros_like(padded) for _ in lengths]
    dist.all_gather(parts, padded)
    return torch.cat([part[: int(n)] for part, n in zip(parts, lengths, strict=True)])
