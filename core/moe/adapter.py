"""Adapter folders: PEFT's two files and `sparsedoctor.json`, what PEFT has no place for."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from safetensors import safe_open

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.moe.adapter_description import DESCRIPTION_FILE, AdapterDescription
from sparsedoctor.core.moe.base import Base
from sparsedoctor.core.moe.peft_layer import expert_config

TRAINING_ONLY = ("lora_projection", "lora_queue")  # of no use once training is over


def save_adapter(
    model: PeftModel,
    folder: Path,
    description: AdapterDescription,
    *,
    dtype: torch.dtype | None = None,
    for_training: bool = False,
    state: dict[str, torch.Tensor] | None = None,
) -> None:
    """Write an adapter folder; a reader sees the old one or the whole new one.

    `dtype` casts the weights; `for_training` keeps projections and queues; `state` is what
    `adapter_state` said of the model, where only all processes together can say it.
    """
    state = adapter_state(model) if state is None else state
    kept = {
        name: tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor
        for name, tensor in state.items()
        if for_training or not any(part in name for part in TRAINING_ONLY)
    }
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    for config in model.peft_config.values():
        config.base_model_name_or_path = description.base.name  # no path of this machine
    model.save_pretrained(str(fresh), state_dict=kept, save_embedding_layers=False)
    # safetensors lets nobody else read its file; what others may do is the umask's business.
    shutil.copymode(fresh / "adapter_config.json", fresh / "adapter_model.safetensors")
    (fresh / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    text = json.dumps(description.to_json(), indent=2, ensure_ascii=False) + "\n"
    (fresh / DESCRIPTION_FILE).write_text(text, encoding="utf-8")
    replace_folder(fresh, folder)


def replace_folder(fresh: Path, folder: Path) -> None:
    """Put `fresh` in the place of `folder`."""
    for file in fresh.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def load_adapter(base: Base, folder: Path, *, trainable: bool = False) -> PeftModel:
    """Put the adapter of `folder` on its base (which is changed in place).

    Raises SparseDoctorError when the adapter is of another base, or damaged.
    """
    description = AdapterDescription.read(folder)
    description.check_base(base.name, base.sha256)
    try:
        config = LoraConfig.from_pretrained(str(folder))
        config = expert_config(base.model, description.experts, None, config)
        model = PeftModel.from_pretrained(
            base.model, str(folder), config=config, is_trainable=trainable
        )
    except SparseDoctorError:
        raise
    except Exception as error:  # PEFT and safetensors raise many kinds for a damaged folder
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SparseDoctorError(f"the adapter in {folder} cannot be loaded: {reason}") from error
    _check_complete(model, folder)
    _check_finite(model, folder)
    return model


def _check_complete(model: Any, folder: Path) -> None:
    """PEFT only warns about tensors that are missing; here a missing one is an error."""
    with safe_open(str(folder / "adapter_model.safetensors"), framework="pt") as file:
        present = set(file.keys())
    missing = sorted(set(adapter_state(model)) - present)
    if missing:
        raise SparseDoctorError(
            f"the adapter in {folder} lacks {len(missing)} tensors, the first is {missing[0]}"
        )


def _check_finite(model: Any, folder: Path) -> None:
    for name, tensor in adapter_state(model).items():
        if not bool(tensor.isfinite().all()):
            raise SparseDoctorError(
                f"the adapter in {folder} holds values that are not finite ({name}); the training "
                "diverged: train again with a lower learning_rate"
            )


def adapter_state(model: Any) -> dict[str, torch.Tensor]:
    """The adapter's tensors by PEFT's names, whole also where FSDP has spread them over
    processes: then every process has to call this."""
    # Without the argument PEFT asks the hub whether the vocabulary grew.
    state: dict[str, torch.Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {
        name: tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
        for name, tensor in state.items()
    }
