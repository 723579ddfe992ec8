"""The file runs without our code, and the export bears a hostile disk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_adapters import make_adapter
from tiny_models import make_tiny_model

from sparsedoctor.core.engine.protocol import Message
from sparsedoctor.core.engine.templates import find_template
from sparsedoctor.core.gguf_header import read_header
from sparsedoctor.export import folder, gguf_file
from sparsedoctor.export.cli import main
from sparsedoctor.export.modelfile import TEMPLATES, modelfile

Export = Callable[..., Path]

PLAIN = """
import sys
import llama_cpp
model = llama_cpp.Llama(sys.argv[1], n_ctx=256, n_threads=1, verbose=False, seed=1)
answer = model.create_chat_completion(
    [{"role": "user", "content": "What helps against a cold?"}], max_tokens=12, temperature=0)
assert "sparsedoctor" not in sys.modules
print(model.metadata["sparsedoctor.format_version"], answer["usage"]["completion_tokens"],
      answer["choices"][0]["message"]["content"])
"""


def plain_llama_cpp(path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, str(path)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_plain_llama_cpp_python_chats_with_the_files_own_template(
    tmp_path: Path, export: Export, family: str
) -> None:
    base = make_tiny_model(tmp_path / family, family)  # type: ignore[arg-type]
    adapter = make_adapter(tmp_path / "trained", base, family=family)
    told = plain_llama_cpp(export(base=base, adapter=adapter))
    version, tokens, *_ = told.split(maxsplit=2)
    assert version == "1.0"
    assert int(tokens) >= 1


def test_the_real_base_answers_in_words_in_plain_llama_cpp_python(
    tmp_path: Path, export: Export, smollm2_gguf: Path
) -> None:
    adapter = make_adapter(
        tmp_path / "faint", smollm2_gguf, hidden=576, ffn=1536, layers=30, experts=2, rank=2,
        size=0.001,
    )  # fmt: skip
    told = plain_llama_cpp(export(base=smollm2_gguf, adapter=adapter))
    assert sum(word.isalpha() for word in told.split()) >= 4


def test_a_modelfile_names_the_file_and_the_ends_of_a_turn(export: Export) -> None:
    path = export("--modelfile")
    text = (path.parent / "Modelfile").read_text()
    assert text == modelfile(path)
    assert text.startswith("FROM ./model.gguf\n")
    assert 'PARAMETER stop "<|im_end|>"' in text
    assert "{{ .Content }}<|im_end|>" in text
    assert "CC BY 4.0" in text


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_modelfile_asks_in_the_words_of_the_engine(name: str) -> None:
    body, after = re.fullmatch(
        r"{{- range .Messages }}(.*?){{ end }}(.*)", TEMPLATES[name], re.DOTALL
    ).groups()  # type: ignore[union-attr]
    talk = (Message("system", "Be kind."), Message("user", "I cough."))
    text = "".join(
        body.replace("{{ .Role }}", message.role).replace("{{ .Content }}", message.content)
        for message in talk
    )
    expected = "".join(segment.text for segment in find_template(name).write(talk))
    assert text + after == expected


def test_gguf_dump_prints_our_keys(export: Export) -> None:
    path = export()
    command = [sys.executable, "-m", "gguf.scripts.gguf_dump", "--no-tensors", str(path)]
    told = subprocess.run(command, capture_output=True, text=True).stdout
    assert "sparsedoctor.format_version = '1.0'" in told
    assert "sparsedoctor.expert_names" in told


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from sparsedoctor.export.cli import main
sys.exit(main(sys.argv[2:]))
"""


def test_a_disk_that_fills_up_while_writing_leaves_nothing(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    """A limit on the size of files stands for the full disk: writes fail halfway."""
    folder = tmp_path / "out"
    folder.mkdir()
    words = ["--adapter", str(adapter), "--base", str(base), "--output", str(folder / "m.gguf")]
    command = [sys.executable, "-c", LIMITED, "150000", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(folder.iterdir()) == []


def mounted(folder: Path, size: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("layout", "kind", "size"),
    [
        ("moe", "q8_0", "200k"),
        ("moe", "q4_k_m", "200k"),  # full while the float32 file is written
        ("moe", "q4_k_m", "1100k"),  # while llama.cpp quantises it
        ("experts", "f32", "700k"),
        ("hf", "f32", "300k"),
    ],
)
def test_a_small_disk_is_refused_before_writing_and_told_when_it_fills(
    layout: str,
    kind: str,
    size: str,
    base: Path,
    adapter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if not mounted(disk, size):
        pytest.skip("a tmpfs cannot be mounted here (needs root)")
    words = ["--adapter", str(adapter), "--base", str(base), "--output", str(disk / "out")]
    words += ["--layout", layout, "--type", kind]
    try:
        assert main(words) == 2
        assert "MB free" in capsys.readouterr().err
        # Somebody else takes the disk after the check.
        monkeypatch.setattr(gguf_file, "check_disk", lambda *_: None)
        monkeypatch.setattr(folder, "check_disk", lambda *_: None)
        assert main(words) == 2
        told = capsys.readouterr().err.strip().splitlines()
        assert "is full" in told[-1]
        assert [line for line in told if line.startswith("error")] == told[-1:]
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_too_little_disk_is_refused_with_both_numbers(
    export: Export,
    base: Path,
    adapter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Usage:
        free = 1_000_000

    monkeypatch.setattr(gguf_file.shutil, "disk_usage", lambda _: Usage)
    output = tmp_path / "m.gguf"
    words = ["--adapter", str(adapter), "--base", str(base), "--output", str(output)]
    assert main([*words, "--type", "f32"]) == 2
    assert "needs 2 MB" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(
    base: Path, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    words = ["--adapter", str(adapter), "--base", str(base), "--output", str(locked / "m.gguf")]
    assert main(words) == 2
    assert "cannot write" in capsys.readouterr().err


def test_an_output_that_is_a_folder_is_refused(
    base: Path, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--adapter", str(adapter), "--base", str(base), "--output", str(tmp_path)]
    assert main([*words, "--force"]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_a_place_that_refuses_writing_is_named(
    base: Path, adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--adapter", str(adapter), "--base", str(base), "--output", "/proc/m.gguf"]
    if not Path("/proc").is_dir():
        pytest.skip("needs /proc, which nobody can write to")
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "/proc" in told
    assert len(told.strip().splitlines()) == 1


PEAK = """
import sys
from sparsedoctor.export.cli import main
assert main(sys.argv[1:]) == 0
# Not getrusage: its peak begins with that of the process that started this one.
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
"""


def peak(folder: Path, layers: int) -> int:
    """Peak memory of an export, KiB."""
    sizes = {"hidden": 512, "ffn": 1536, "layers": layers}
    base = make_tiny_model(folder / "base", "llama", **sizes)  # type: ignore[arg-type]
    adapter = make_adapter(folder / "adapter", base, query=512, key=256, rank=2, **sizes)
    words = ["--adapter", str(adapter), "--base", str(base), "--output", str(folder / "m.gguf")]
    done = subprocess.run([sys.executable, "-c", PEAK, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


def test_four_times_the_layers_take_no_more_memory(tmp_path: Path) -> None:
    if not Path("/proc/self/status").is_file():
        pytest.skip("the peak of a process is read from /proc")
    few, many = peak(tmp_path / "few", 4), peak(tmp_path / "many", 16)
    assert read_header(tmp_path / "many" / "m.gguf").file_size > 130_000_000
    assert many < 1.1 * few
