"""A trained adapter folder: PEFT's two files and our `sparsedoctor.json`, checked.

Tensors, after `base_model.model.model.layers.{i}.mlp.`; E experts of rank r, a shared pair of
rank r0, scales alpha/r and shared_alpha/r0:

    lora_A_gate [E, r, hidden]   lora_B_gate [E, ffn, r]     (up the same)
    lora_A_down [E, r, ffn]      lora_B_down [E, hidden, r]  lora_router [E, hidden]
    lora_shared_A_gate [r0, hidden], lora_shared_B_gate [ffn, r0], ...

and optionally PEFT's own attention LoRA. What only training needs is left unread.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.files import refuse_run
from sparsedoctor.export.safetensors_file import SafetensorsFile
from sparsedoctor.export.shape import ModelShape

Array = NDArray[np.float32]
Projection = Literal["gate", "up", "down"]
FORMAT_MAJOR = "1"
SETTINGS_FILE = "sparsedoctor.json"
_PREFIX = "base_model.model."
_TRAINING_ONLY = re.compile(r"\.mlp\.(lora_projection|.*queue)")
_ATTENTION = re.compile(r"\.self_attn\.([qkvo]_proj)\.lora_([AB])\.weight$")


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """What `sparsedoctor.json` says."""

    base_name: str
    base_sha256: str
    architecture: str
    hidden: int
    ffn: int
    layers: int
    experts: int
    top_k: int
    rank: int
    alpha: float
    sharing: float
    shared_rank: int
    shared_alpha: float
    attention_rank: int
    attention_alpha: float
    expert_names: tuple[str, ...]
    label: str
    licences: tuple[str, ...]
    training: dict[str, Any]
    evaluation: dict[str, Any]
    profile: dict[str, Any]  # what a calibration found, see core.bundle.PROFILE_SCHEMA

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    @property
    def shared_scale(self) -> float:
        return self.shared_alpha / self.shared_rank if self.shared_rank else 0.0

    @property
    def attention_scale(self) -> float:
        return self.attention_alpha / self.attention_rank if self.attention_rank else 0.0


class Adapter:
    """An open adapter folder. All tensors are read and checked at once: they are small.

    Raises SparseDoctorError for a missing, extra, mis-shaped or non-finite tensor, by its name.
    """

    def __init__(self, folder: Path, shape: ModelShape) -> None:
        self.folder = folder
        self.settings = read_settings(folder)
        check_shape(self.settings, shape, folder)
        expected = _expected(self.settings, shape)
        self._tensors: dict[str, Array] = {}
        with SafetensorsFile(weights_file(folder)) as file:
            found = {name.removeprefix(_PREFIX): name for name in file.entries}
            for name in found:
                if name not in expected and not _ignored(name):
                    raise SparseDoctorError(f"{folder} has the unknown tensor {name}")
            for name, wanted in expected.items():
                if name not in found:
                    raise SparseDoctorError(f"{folder} lacks the tensor {name}")
                stored = file.entries[found[name]].shape
                if stored != wanted:
                    raise SparseDoctorError(
                        f"{folder}: the tensor {name} is {list(stored)}, expected {list(wanted)}"
                    )
                values = file.read(found[name])
                if not np.isfinite(values).all():
                    raise SparseDoctorError(
                        f"{folder}: the tensor {name} holds values that are not finite; "
                        "the training run diverged"
                    )
                self._tensors[name] = values

    def expert_delta(self, layer: int, projection: Projection, expert: int) -> tuple[Array, Array]:
        """`s B` and `A` of one expert `[out, r]`, `[r, in]`; with sharing, of all experts beside
        each other, the others' B times `sharing`: `[out, E r]`, `[E r, in]`."""
        at = f"model.layers.{layer}.mlp.lora_"
        a, b = self._tensors[f"{at}A_{projection}"], self._tensors[f"{at}B_{projection}"]
        scale, sharing = np.float32(self.settings.scale), np.float32(self.settings.sharing)
        if not sharing:
            return scale * b[expert], a[expert]
        parts = [scale * (one if e == expert else sharing * one) for e, one in enumerate(b)]
        return np.concatenate(parts, axis=1), a.reshape(-1, a.shape[-1])

    def shared_delta(self, layer: int, projection: Projection) -> tuple[Array, Array] | None:
        """`s0 B0` and `A0` of the pair every expert shares. `[out, r0]`, `[r0, in]`"""
        if not self.settings.shared_rank:
            return None
        at = f"model.layers.{layer}.mlp.lora_shared_"
        a, b = self._tensors[f"{at}A_{projection}"], self._tensors[f"{at}B_{projection}"]
        return np.float32(self.settings.shared_scale) * b, a

    def attention_delta(self, layer: int, projection: str) -> tuple[Array, Array] | None:
        """`s B` and `A` of an attention projection ("q_proj"), None when it is not adapted."""
        at = f"model.layers.{layer}.self_attn.{projection}.lora_"
        if f"{at}A.weight" not in self._tensors:
            return None
        scale = np.float32(self.settings.attention_scale)
        return scale * self._tensors[f"{at}B.weight"], self._tensors[f"{at}A.weight"]

    def router(self, layer: int) -> Array:
        """`[E, hidden]`"""
        return self._tensors[f"model.layers.{layer}.mlp.lora_router"]


def weights_file(folder: Path) -> Path:
    """The adapter's tensors; raises SparseDoctorError when they are not there."""
    file = folder / "adapter_model.safetensors"
    if not file.is_file():
        raise SparseDoctorError(f"{folder} has no adapter_model.safetensors; it is no adapter")
    return file


def read_settings(folder: Path) -> AdapterSettings:
    """`sparsedoctor.json` of an adapter folder."""
    file = folder / SETTINGS_FILE
    if not folder.is_dir():
        raise SparseDoctorError(f"there is no adapter folder {folder}")
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        refuse_run(folder)
        raise SparseDoctorError(
            f"{folder} has no {SETTINGS_FILE}; it is no adapter that sparsedoctor-train wrote"
        ) from None
    except (OSError, ValueError) as error:
        raise SparseDoctorError(f"cannot read {file}: {error}") from error
    try:
        version = str(settings["format_version"])
        if version.partition(".")[0] != FORMAT_MAJOR:
            raise SparseDoctorError(
                f"{file} has the format version {version}, this program reads {FORMAT_MAJOR}.x; "
                "update SparseDoctor"
            )
        base = settings["base"]
        parsed = AdapterSettings(
            base_name=str(base["name"]),
            base_sha256=str(base["sha256"]),
            architecture=str(base["architecture"]),
            hidden=int(base["hidden_size"]),
            ffn=int(base["intermediate_size"]),
            layers=int(base["layers"]),
            experts=int(settings["experts"]),
            top_k=int(settings["top_k"]),
            rank=int(settings["rank"]),
            alpha=float(settings["alpha"]),
            sharing=float(settings.get("sharing") or 0.0),
            shared_rank=int(settings.get("shared_rank") or 0),
            shared_alpha=float(settings.get("shared_alpha") or 0.0),
            attention_rank=int(settings.get("attention_rank") or 0),
            attention_alpha=float(settings.get("attention_alpha") or 0.0),
            expert_names=tuple(str(name) for name in settings.get("expert_names") or ()),
            label=str(settings.get("label") or ""),
            licences=tuple(str(text) for text in settings.get("licences") or ()),
            training=dict(settings.get("training") or {}),
            evaluation=dict(settings.get("evaluation") or {}),
            profile=dict(settings.get("profile") or {}),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SparseDoctorError(
            f"{file} is incomplete or damaged ({type(error).__name__}: {error})"
        ) from error
    if not (parsed.rank > 0 and 1 <= parsed.top_k <= parsed.experts and parsed.experts >= 2):
        raise SparseDoctorError(
            f"{file}: experts {parsed.experts}, top_k {parsed.top_k} and rank {parsed.rank} "
            "do not make a mixture"
        )
    if parsed.expert_names and len(parsed.expert_names) != parsed.experts:
        raise SparseDoctorError(
            f"{file} names {len(parsed.expert_names)} of {parsed.experts} experts"
        )
    return parsed


def check_shape(settings: AdapterSettings, shape: ModelShape, folder: Path) -> None:
    """Refuse an adapter made for a model of other sizes, naming the first that differs."""
    for name, theirs, ours in (
        ("hidden size", settings.hidden, shape.hidden),
        ("feed-forward size", settings.ffn, shape.ffn),
        ("number of layers", settings.layers, shape.layers),
    ):
        if theirs != ours:
            raise SparseDoctorError(
                f"{folder} was trained on another base ({settings.base_name}): "
                f"its {name} is {theirs}, this base's is {ours}"
            )


def check_fingerprint(settings: AdapterSettings, fingerprint: str, folder: Path) -> None:
    """Refuse an adapter of a base with the same sizes but other weights, by the hash."""
    if settings.base_sha256 != fingerprint:
        raise SparseDoctorError(
            f"{folder} was trained on another base ({settings.base_name}, sha256 "
            f"{settings.base_sha256[:12]}), this one is {fingerprint[:12]}; "
            "--any-base merges all the same"
        )


def _ignored(name: str) -> bool:
    return bool(_TRAINING_ONLY.search(name))


def _expected(settings: AdapterSettings, shape: ModelShape) -> dict[str, tuple[int, ...]]:
    experts, rank, shared = settings.experts, settings.rank, settings.shared_rank
    sizes = {
        "gate": (shape.ffn, shape.hidden),
        "up": (shape.ffn, shape.hidden),
        "down": (shape.hidden, shape.ffn),
    }
    widths = {
        "q_proj": (shape.query_width, shape.hidden),
        "k_proj": (shape.key_width, shape.hidden),
        "v_proj": (shape.key_width, shape.hidden),
        "o_proj": (shape.hidden, shape.query_width),
    }
    expected: dict[str, tuple[int, ...]] = {}
    for layer in range(shape.layers):
        mlp = f"model.layers.{layer}.mlp.lora_"
        expected[f"{mlp}router"] = (experts, shape.hidden)
        for name, (out, inner) in sizes.items():
            expected[f"{mlp}A_{name}"] = (experts, rank, inner)
            expected[f"{mlp}B_{name}"] = (experts, out, rank)
            if shared:
                expected[f"{mlp}shared_A_{name}"] = (shared, inner)
                expected[f"{mlp}shared_B_{name}"] = (out, shared)
        if settings.attention_rank:
            for name, (out, inner) in widths.items():
                attention = f"model.layers.{layer}.self_attn.{name}.lora_"
                expected[f"{attention}A.weight"] = (settings.attention_rank, inner)
                expected[f"{attention}B.weight"] = (out, settings.attention_rank)
    return expected
