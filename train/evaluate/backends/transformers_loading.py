"""Load a model of transformers for scoring: a base, ours on a base, a PEFT LoRA on a base."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from peft import PeftModel
from transformers.utils import logging as transformers_logging

from sparsedoctor.core.base_models import DEMO_BASE, base_fingerprint, find_base
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.files import ADAPTER
from sparsedoctor.core.moe.adapter import load_adapter
from sparsedoctor.core.moe.adapter_description import DESCRIPTION_FILE, AdapterDescription
from sparsedoctor.core.moe.base import Base, load_base
from sparsedoctor.train.data.encode import template_for
from sparsedoctor.train.evaluate.backends.backend import ModelRecord
from sparsedoctor.train.evaluate.backends.opening import ModelChoice, adapter_hash, read_json
from sparsedoctor.train.evaluate.backends.transformers_model import TransformersBackend

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_transformers(
    choice: ModelChoice, path: Path, versions: dict[str, str]
) -> TransformersBackend:
    """Load `path`, on the GPU where there is one. Raises SparseDoctorError."""
    _quieten()
    if choice.threads:
        torch.set_num_threads(choice.threads)
    dtype, device = _placement(choice.dtype)
    adapter = path if (path / "adapter_config.json").is_file() else None
    base = load_base(_base_of(choice, adapter) if adapter else str(path), dtype)
    model, kind, sha256 = base.model, "transformers", base.sha256
    if adapter:
        model, kind = _with_adapter(base, adapter)
        sha256 = adapter_hash(adapter, base.sha256)
    record = ModelRecord(
        name=_name_of(path),
        kind=kind,
        sha256=sha256,
        template=choice.template or template_for(base.tokenizer),
        base=base.name if adapter else "",
        versions=versions,
        details={"dtype": str(dtype).removeprefix("torch."), "device": device},
    )
    return TransformersBackend(model.to(device), base.tokenizer, record, choice.batch_tokens)


def _name_of(path: Path) -> str:
    """What tables call it: every run has an `adapter` folder, so the run's name stands first."""
    path = path.absolute()
    return f"{path.parent.name}/{path.name}" if path.name == ADAPTER else path.name


def _quieten() -> None:
    """The libraries' notes to their own users are not for the person who scores a model."""
    transformers_logging.set_verbosity_error()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)\.")
    warnings.filterwarnings("ignore", message="Could not find a config file")


def _placement(name: str) -> tuple[torch.dtype, str]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "auto":
        return (torch.bfloat16 if device == "cuda" else torch.float32), device
    if name not in DTYPES:
        raise SparseDoctorError(f"--dtype is auto or one of {', '.join(DTYPES)}")
    return DTYPES[name], device


def _with_adapter(base: Base, folder: Path) -> tuple[torch.nn.Module, str]:
    if (folder / DESCRIPTION_FILE).is_file():
        return load_adapter(base, folder), "adapter"
    try:
        return PeftModel.from_pretrained(base.model, str(folder)), "peft"
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SparseDoctorError(f"the adapter in {folder} does not fit: {reason}") from error


def _base_of(choice: ModelChoice, folder: Path) -> str:
    """The base that the person named, or the one that the adapter names and that is here."""
    if choice.base:
        return choice.base
    if (folder / DESCRIPTION_FILE).is_file():
        wanted = AdapterDescription.read(folder).base
        try:
            if base_fingerprint(find_base(DEMO_BASE)) == wanted.sha256:
                return DEMO_BASE
        except SparseDoctorError:
            pass  # the demonstration base is not installed; another one is wanted anyway
        name = wanted.name
    else:
        name = str(read_json(folder / "adapter_config.json").get("base_model_name_or_path") or "")
    if Path(name).exists():
        return name
    raise SparseDoctorError(
        f"the adapter in {folder} belongs to {name or 'a base it does not name'}, which is not "
        "here under that name; name its file or folder with --base"
    )
