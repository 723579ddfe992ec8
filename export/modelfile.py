"""A Modelfile, with which Ollama takes an exported file."""

from __future__ import annotations

from pathlib import Path

from sparsedoctor.core.bundle import parse_bundle
from sparsedoctor.core.engine.templates import find_template
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.gguf_header import read_header

_CHATML = """\
{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
_QWEN3 = f"{_CHATML}<think>\n\n</think>\n\n"  # as the engine asks: the thought is left empty
_LLAMA3 = """\
{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>

{{ .Content }}<|eot_id|>{{ end }}<|start_header_id|>assistant<|end_header_id|>

"""
TEMPLATES = {"chatml": _CHATML, "qwen3": _QWEN3, "llama3": _LLAMA3}
_SYSTEM = (
    "You are a careful medical assistant. You give general information, no diagnosis. "
    "In an emergency, tell the person to call their local emergency number."
)


def write_modelfile(model: Path, *, force: bool = False) -> Path:
    """Write `Modelfile` beside `model` and return it. Raises SparseDoctorError."""
    path = modelfile_place(model, force=force)
    text = modelfile(model)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SparseDoctorError(f"cannot write {path}: {error.strerror}") from error
    return path


def modelfile_place(model: Path, *, force: bool = False) -> Path:
    """Where the Modelfile of `model` goes. Raises SparseDoctorError when there is one already."""
    path = model.parent / "Modelfile"
    if path.exists() and not force:
        raise SparseDoctorError(f"{path} exists already; --force replaces it")
    return path


def modelfile(model: Path) -> str:
    """The text of a Modelfile for `model`, which it names without its folder."""
    bundle = parse_bundle(read_header(model), model)
    if bundle is None:
        raise SparseDoctorError(f"{model} holds no routing metadata; it is no export of ours")
    lines = [f"FROM ./{model.name}"]
    if bundle.prompt_template in TEMPLATES:
        lines.append(f'TEMPLATE """{TEMPLATES[bundle.prompt_template]}"""')
    lines += [f'PARAMETER stop "{stop}"' for stop in find_template(bundle.prompt_template).stops]
    lines += ["PARAMETER temperature 0.3", f'SYSTEM "{_SYSTEM}"']
    lines += [f'LICENSE """{licence}"""' for licence in bundle.licences]
    return "\n".join(lines) + "\n"
