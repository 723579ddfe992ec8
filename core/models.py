"""The model files of this computer, and what a model's name stands for."""

from __future__ import annotations

from pathlib import Path

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.paths import models_dir

DEFAULT = "default"
DEFAULT_FILE = "sparsedoctor-smollm2-135m-q8_0.gguf"


def default_model_path() -> Path:
    """Where the default model is, or will be once it is assembled."""
    return models_dir() / DEFAULT_FILE


def find_model(name: str) -> Path:
    """The file that `name` stands for: "default", a path, or a file name in the model folder.

    Raises SparseDoctorError when there is none.
    """
    if name == DEFAULT:
        path = default_model_path()
        if not path.is_file():
            raise SparseDoctorError(
                "the default model is not assembled yet; run sparsedoctor-export default"
            )
        return path
    given = Path(name).expanduser()
    for path in (given, models_dir() / given.name, models_dir() / f"{given.name}.gguf"):
        if path.is_file() and (path == given or given.parent == Path(".")):
            return path
    if given.is_dir():
        raise SparseDoctorError(f"{name} is a folder; give the GGUF file of a model")
    raise SparseDoctorError(
        f"there is no model {name}; sparsedoctor-tui models lists those of this computer"
    )


def list_models() -> list[Path]:
    """Every GGUF file in the model folder, by name."""
    return sorted(models_dir().glob("*.gguf"))
