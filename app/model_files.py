"""From a model's name to a file that is there and sound, before any screen opens.

    name ─▶ the default model is assembled if it must be ─▶ header checked ─▶ ModelFile

Only the header is read: a text file, a damaged or a cut file is refused here in one line, long
before llama.cpp would meet it.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.messages import in_language
from sparsedoctor.core.bundle import RoutingMetadata, parse_bundle
from sparsedoctor.core.engine.protocol import ModelInfo
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.gguf_header import read_header
from sparsedoctor.core.models import DEFAULT, default_model_path, find_model, list_models

_WARNING = "no medical advice"
PLAIN_LABEL = f"plain model of another program, {_WARNING}"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file whose header was read and found sound."""

    path: Path
    size: int  # bytes
    architecture: str
    experts: int  # 0 for a dense model
    bundle: RoutingMetadata | None  # None: SparseDoctor did not write this file

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def label(self) -> str:
        """What interfaces call the model, always visible, with a warning in any case."""
        label = self.bundle.label if self.bundle else PLAIN_LABEL
        return label if _WARNING in label else f"{label}, {_WARNING}"

    def known(self) -> ModelInfo:
        """What the file says; the rest is known once the model is loaded."""
        return ModelInfo(
            path=self.path,
            name=self.name,
            architecture=self.architecture,
            size=self.size,
            layers=0,
            experts=self.experts,
            experts_used=0,
            context=0,
            context_trained=0,
            vocabulary=0,
            routing_traced=self.experts > 0,  # until the engine says that it cannot
            bundle=self.bundle,
        )


def open_model(name: str, language: Language = "en") -> ModelFile:
    """The file that `name` ("default", a path, a name in the model folder) stands for, checked.

    Assembles the default model when it is asked for and not there yet. Raises SparseDoctorError
    when there is no such file, when it is no GGUF file, damaged, or no language model.
    """
    if name == DEFAULT and not default_model_path().is_file():
        _assemble_default(language)
    return check_model(find_model(name))


def check_model(path: Path) -> ModelFile:
    """Read the header of `path`. Raises SparseDoctorError for what no engine can run."""
    header = read_header(path)
    bundle = parse_bundle(header, path)
    architecture = header.architecture
    if not architecture or not header.tensors:
        raise SparseDoctorError(
            f"{path} holds no language model (no architecture or no weights); choose another file"
        )
    experts = header.metadata.get(f"{architecture}.expert_count", 0)
    return ModelFile(
        path=path,
        size=header.file_size,
        architecture=architecture,
        experts=experts if isinstance(experts, int) else 0,
        bundle=bundle,
    )


def needs_assembly(name: str) -> bool:
    """Whether opening `name` would assemble the default model first."""
    return name == DEFAULT and not default_model_path().is_file()


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One row of the list of models: a sound file, or what is wrong with it."""

    path: Path
    file: ModelFile | None
    problem: str = ""

    def fields(self) -> dict[str, object]:
        """The row as JSON fields; the names are an interface for scripts."""
        file = self.file
        return {
            "name": self.path.stem,
            "path": str(self.path.absolute()),
            "size": self.path.stat().st_size,
            "default": self.path == default_model_path(),
            "label": file.label if file else None,
            "experts": file.experts if file else None,
            "architecture": file.architecture if file else None,
            "problem": self.problem or None,
        }


def listed_models() -> list[ListedModel]:
    """Every model file of this computer; a damaged one is listed with its problem."""
    rows = []
    for path in list_models():
        try:
            rows.append(ListedModel(path, check_model(path)))
        except SparseDoctorError as error:
            rows.append(ListedModel(path, None, str(error)))
    return rows


def _assemble_default(language: Language) -> None:
    """Run the export command, whose progress bar the person sees on standard error.

    A process of its own, because an interface knows nothing of the export. Its standard output
    goes to standard error: that of `ask` belongs to the answer.
    """
    said = in_language("The default model is not there yet and is assembled now.", language)
    print(said, file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "sparsedoctor.export.cli", "default"]
    done = subprocess.run(command, stdout=sys.stderr, check=False)
    if done.returncode == 130 or done.returncode < 0:
        raise KeyboardInterrupt
    if done.returncode != 0 or not default_model_path().is_file():
        raise SparseDoctorError(
            "the default model could not be assembled (the reason stands above); "
            "sparsedoctor-export default tries again"
        )
