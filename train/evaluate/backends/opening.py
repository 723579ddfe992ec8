"""From what a person names to a model that answers. torch is imported only when it is needed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from sparsedoctor.core.base_models import DEMO_BASE, base_fingerprint, find_base
from sparsedoctor.core.engine.protocol import EngineSettings
from sparsedoctor.core.engine.templates import find_template
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.models import find_model
from sparsedoctor.train.evaluate.backends.backend import Backend, ModelRecord

KINDS = ("auto", "gguf", "transformers", "server")


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """What to score, as given on the command line."""

    model: str  # "default", "smollm2", a GGUF file, a folder, an adapter folder or an address
    base: str | None = None  # of an adapter
    kind: str = "auto"
    template: str | None = None
    served_model: str | None = None
    context: int | None = None  # tokens, of a GGUF file
    threads: int | None = None
    gpu_layers: int = 0
    dtype: str = "auto"
    batch_tokens: int | None = None
    exact: bool = False  # float32 keys and values, of a GGUF file


def open_backend(choice: ModelChoice) -> Backend:
    """Load the model. Raises SparseDoctorError with what to do when that is not possible."""
    if choice.kind == "server" or choice.model.startswith(("http://", "https://")):
        return _open_server(choice)
    folder = Path(choice.model).expanduser()
    if folder.is_dir():
        if choice.kind == "gguf":
            raise SparseDoctorError(f"{folder} is a folder; --backend gguf needs a GGUF file")
        return _open_transformers(choice, folder)
    path = find_base(DEMO_BASE) if choice.model == DEMO_BASE else find_model(choice.model)
    if choice.kind == "transformers":
        return _open_transformers(choice, path)
    return _open_gguf(choice, path)


def _open_gguf(choice: ModelChoice, path: Path) -> Backend:
    from sparsedoctor.core.engine.child import ChildEngine
    from sparsedoctor.train.evaluate.backends.gguf_model import EngineBackend

    if choice.template:
        raise SparseDoctorError("a GGUF file brings its template; leave --template out")
    # Scores need no routing trace, and without it every batch is faster.
    settings = EngineSettings(
        context=choice.context,
        threads=choice.threads,
        gpu_layers=choice.gpu_layers,
        trace=False,
        exact=choice.exact,
    )
    engine = ChildEngine(path, settings)
    try:
        info = engine.load()
    except BaseException:
        engine.close()
        raise
    record = ModelRecord(
        name=info.bundle.label if info.bundle else info.name,
        kind="gguf",
        sha256=base_fingerprint(path),
        template=info.template,
        base=info.bundle.base_name if info.bundle else "",
        versions=_versions("llama-cpp-python"),
        details={"file": path.name, "architecture": info.architecture}
        | ({"keys and values": "float32"} if choice.exact else {}),
    )
    return EngineBackend(engine, record)


def _open_transformers(choice: ModelChoice, path: Path) -> Backend:
    missing = [name for name in ("torch", "transformers", "peft") if not _installed(name)]
    if missing:
        raise SparseDoctorError(
            f"{path} is scored with {', '.join(missing)}, which is not installed; "
            'run pip install "sparsedoctor[train]"'
        )
    # Everything is a local file; without this the libraries look things up on the hub.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from sparsedoctor.train.evaluate.backends.transformers_loading import load_transformers

    return load_transformers(choice, path, _versions("torch", "transformers", "peft"))


def _open_server(choice: ModelChoice) -> Backend:
    from sparsedoctor.train.evaluate.backends.server_model import ServerBackend, served_model

    key = os.environ.get("OPENAI_API_KEY", "")
    template = find_template(choice.template or "chatml").name
    name = choice.served_model or served_model(choice.model, key)
    record = ModelRecord(name, "server", "", template, versions=_versions(), details={})
    return ServerBackend(choice.model, record, key)


def adapter_hash(folder: Path, base_sha256: str) -> str:
    """sha256 of a base with an adapter: of the base's hash and the adapter's own files."""
    digest = hashlib.sha256(base_sha256.encode())
    for name in ("adapter_config.json", "adapter_model.safetensors", "sparsedoctor.json"):
        if (folder / name).is_file():
            digest.update(name.encode() + hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()


def read_json(path: Path) -> dict[str, object]:
    """A JSON object. Raises SparseDoctorError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SparseDoctorError(f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise SparseDoctorError(f"{path} holds no JSON object")
    return document


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _versions(*packages: str) -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("sparsedoctor", *packages):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
