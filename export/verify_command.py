"""`sparsedoctor-export verify`: finds what to compare, runs it, prints the outcome."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gguf import LlamaFileType

from sparsedoctor.core.base_models import DEMO_BASE, find_base
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.gguf_header import GGUFHeader, read_header
from sparsedoctor.core.models import DEFAULT, find_model
from sparsedoctor.core.paths import cache_dir
from sparsedoctor.export.default_model import default_adapter
from sparsedoctor.export.gguf_file import HASH_KEY, data_sha256
from sparsedoctor.export.mixture import ExportSettings, export_mixture
from sparsedoctor.export.progress import progress_bar
from sparsedoctor.export.references import (
    FileReference,
    Reference,
    TorchReference,
    open_engine,
    torch_is_installed,
)
from sparsedoctor.export.types import FORMATS
from sparsedoctor.export.verify import PROMPTS, THRESHOLDS, Report, compare


def run(words: Sequence[str]) -> int:
    """Parse, compare, print; 0 when the file is the same model, 1 when it is not."""
    options = _parser().parse_args(words)
    path = find_model(options.file)
    adapter, base = options.adapter, options.base
    if options.file == DEFAULT:
        adapter, base = adapter or default_adapter(), base or DEMO_BASE
    if options.against is None and (adapter is None or base is None):
        raise SparseDoctorError(
            "say what to compare with: --adapter DIR and --base BASE, or --against FILE (float32)"
        )
    header = read_header(path)
    kind = _type_name(header)
    damage = _hash_problem(path, header)
    if damage:
        raise SparseDoctorError(f"{path}: {damage}")
    prompts = _read_prompts(options.prompts) if options.prompts else PROMPTS
    engine = open_engine(path)
    try:
        with _reference(options.against, adapter, base, any_base=options.any_base) as reference:
            report = compare(engine, reference, prompts, THRESHOLDS[kind])
    finally:
        engine.close()
    if options.json:
        print(json.dumps({"file": str(path), "type": kind, **report.to_json()}, indent=1))
    else:
        _print(path, kind, report, every=options.positions)
    return 1 if report.problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "sparsedoctor-export verify",
        description="Compare an exported file in llama.cpp with the model it came from, position "
        "by position: with PyTorch when torch is installed, else with a float32 export. "
        "Exits with 1 when they differ by more than the thresholds.",
    )
    parser.add_argument("file", help='an exported GGUF file, or "default"')
    parser.add_argument("--adapter", type=Path, metavar="DIR", help="the adapter it came from")
    parser.add_argument(
        "--base",
        help="a GGUF file, a Hugging Face folder, the hub name of one in the local cache, "
        'or "smollm2"',
    )
    parser.add_argument(
        "--any-base", action="store_true", help="as in the export: other weights of the same shape"
    )
    parser.add_argument(
        "--against", type=Path, metavar="FILE", help="compare with this float32 GGUF instead"
    )
    parser.add_argument("--prompts", type=Path, metavar="FILE", help="own prompts, one a line")
    parser.add_argument("--positions", action="store_true", help="print every position")
    parser.add_argument("--json", action="store_true", help="print JSON, with every position")
    return parser


@contextmanager
def _reference(
    against: Path | None, adapter: Path | None, base: str | None, *, any_base: bool
) -> Iterator[Reference]:
    reference: Reference
    if against is not None:
        _refuse_rounded(against)
        reference = FileReference(against)
        try:
            yield reference
        finally:
            reference.close()
        return
    assert adapter is not None
    assert base is not None
    if torch_is_installed():
        reference = TorchReference(find_base(base), adapter, any_base=any_base)
        yield reference
        return
    with tempfile.TemporaryDirectory(dir=cache_dir()) as folder:
        output = Path(folder) / "float32.gguf"
        settings = ExportSettings(
            adapter, find_base(base), output, FORMATS["f32"], any_base=any_base
        )
        with progress_bar() as start:
            export_mixture(settings, start)
        with _reference(output, None, None, any_base=any_base) as reference:
            yield reference


def _refuse_rounded(path: Path) -> None:
    """A reference must be exact: beside a rounded one a wrong file may look right."""
    if _type_name(read_header(path)) != "f32":
        raise SparseDoctorError(
            f"{path} holds rounded weights; compare with a float32 export (--type f32)"
        )


def _type_name(header: GGUFHeader) -> str:
    number = header.metadata.get("general.file_type")
    names = {
        LlamaFileType.ALL_F32: "f32",
        LlamaFileType.MOSTLY_F16: "f16",
        LlamaFileType.MOSTLY_BF16: "bf16",
        LlamaFileType.MOSTLY_Q8_0: "q8_0",
        LlamaFileType.MOSTLY_Q6_K: "q6_k",
        LlamaFileType.MOSTLY_Q5_K_M: "q5_k_m",
        LlamaFileType.MOSTLY_Q4_K_M: "q4_k_m",
        LlamaFileType.MOSTLY_Q4_0: "q4_0",
    }
    for kind, name in names.items():
        if number == int(kind):
            return name
    return "q4_0"  # the widest thresholds


def _hash_problem(path: Path, header: GGUFHeader) -> str:
    noted = header.metadata.get(HASH_KEY)
    if noted and noted != data_sha256(path):
        return "its weights are not those that were exported (sha256 differs); export it again"
    return ""


def _read_prompts(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SparseDoctorError(f"cannot read the prompts in {path}: {error}") from error
    prompts = [line for line in lines if line.strip()]
    if not prompts:
        raise SparseDoctorError(f"{path} holds no prompts; write one a line")
    return prompts


def _print(path: Path, kind: str, report: Report, *, every: bool) -> None:
    found, allowed = report.difference, report.thresholds
    errors = found.relative_errors
    if every:
        print("position  relative error  KL divergence  same top-1")
        for row, (error, kl, agrees) in enumerate(zip(errors, found.kl, found.agrees, strict=True)):
            print(f"{row:8}  {error:14.2e}  {kl:13.2e}  {'yes' if agrees else 'NO':>10}")
    print(f"{path.name} ({kind}) against {report.reference}: ", end="")
    print(f"{report.prompts} prompts, {len(found.kl)} positions")
    if report.same_tokens is not None:
        print(f"  tokenizer             same tokens for {report.same_tokens} of {report.prompts}")
    print(
        f"  relative logit error  {found.relative_error:.1e}  "
        f"(worst position {errors.max():.1e}; allowed {allowed.relative_error:g})"
    )
    print(
        f"  KL divergence         {found.mean_kl:.1e}  "
        f"(worst position {found.kl.max():.1e}; allowed {allowed.kl:g}) nats"
    )
    print(
        f"  top-1 agreement       {found.agreement:.1%}  "
        f"({found.agrees.sum()} of {len(found.agrees)} positions; "
        f"at least {allowed.agreement:.0%})"
    )
    if report.routing is not None:
        worst = int(report.routing.argmin())
        print(
            f"  routing agreement     {report.routing.mean():.1%}  "
            f"(worst layer {worst}: {report.routing[worst]:.1%}; at least {allowed.routing:.1%})"
        )
    print(
        "the same model" if not report.problems else "NOT the same: " + "; ".join(report.problems)
    )
