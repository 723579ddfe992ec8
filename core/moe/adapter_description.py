"""`sparsedoctor.json` of an adapter folder: its experts, its base, how it was trained."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.moe.settings import ExpertSettings

DESCRIPTION_FILE = "sparsedoctor.json"
FORMAT_VERSION = "1.0"


@dataclass(frozen=True, slots=True)
class BaseShape:
    """The base an adapter belongs to."""

    name: str
    sha256: str  # core.base_models.base_fingerprint
    architecture: str  # model_type of transformers
    hidden_size: int
    intermediate_size: int
    layers: int


@dataclass(frozen=True, slots=True)
class AdapterDescription:
    base: BaseShape
    experts: ExpertSettings
    training: dict[str, Any] = field(default_factory=dict)
    licences: tuple[str, ...] = ()
    expert_names: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        shape = asdict(self.experts)
        document = {"format_version": FORMAT_VERSION, "base": asdict(self.base), **shape}
        document |= {"training": self.training, "licences": list(self.licences)}
        if self.expert_names:
            document["expert_names"] = list(self.expert_names)
        return document

    @classmethod
    def read(cls, folder: Path) -> AdapterDescription:
        """Read a folder's description. Raises SparseDoctorError when it is none of ours."""
        path = folder / DESCRIPTION_FILE
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            version = str(document["format_version"])
            if version.split(".")[0] != FORMAT_VERSION.split(".")[0]:
                raise SparseDoctorError(
                    f"{path} is of format {version}, this program reads {FORMAT_VERSION}; "
                    "update SparseDoctor"
                )
            document.setdefault("sharing", 0.0)  # adapters from before there was any
            fields = ExpertSettings.__dataclass_fields__
            return cls(
                base=BaseShape(**document["base"]),
                experts=ExpertSettings(**{name: document[name] for name in fields}),
                training=document.get("training", {}),
                licences=tuple(document.get("licences", ())),
                expert_names=tuple(document.get("expert_names", ())),
            )
        except FileNotFoundError as error:
            raise SparseDoctorError(
                f"{folder} holds no {DESCRIPTION_FILE}; it is no adapter of SparseDoctor"
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SparseDoctorError(f"{path} is damaged: {error}") from error

    def check_base(self, name: str, sha256: str) -> None:
        """Raise SparseDoctorError unless the base is the one this adapter was trained on."""
        if sha256 != self.base.sha256:
            raise SparseDoctorError(
                f"the adapter belongs to {self.base.name} (sha256 {self.base.sha256[:12]}), "
                f"not to {name} (sha256 {sha256[:12]})"
            )
