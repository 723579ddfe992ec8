"""The command as a person runs it: a process, its output and its exit code."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from gguf import GGUFWriter


def run(*arguments: str, words: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sparsedoctor.app.tui.cli", *arguments],
        input=words,
        capture_output=True,
        text=True,
        timeout=120,
    )


def assert_one_clear_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode not in (0, 1), done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0]


@pytest.fixture
def not_gguf(tmp_path: Path) -> Path:
    path = tmp_path / "notes.gguf"
    path.write_text("These are my notes, not a model.\n")
    return path


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    path = tmp_path / "damaged.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 5, 1 << 60) + b"\0" * 64)
    return path


@pytest.fixture
def cut_short(smollm2_gguf: Path, tmp_path: Path) -> Path:
    path = tmp_path / "cut.gguf"
    with smollm2_gguf.open("rb") as source:
        path.write_bytes(source.read(4 << 20))
    return path


@pytest.fixture
def no_model_at_all(tmp_path: Path) -> Path:
    path = tmp_path / "empty.gguf"
    writer = GGUFWriter(path, "clip")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("command", [("chat",), ("ask", "What is asthma?")], ids=["chat", "ask"])
class TestBadModels:
    def test_no_such_model(self, command: tuple[str, ...]) -> None:
        assert_one_clear_line(run(*command, "--model", "nowhere.gguf"), "nowhere.gguf", "models")

    def test_a_folder(self, command: tuple[str, ...], tmp_path: Path) -> None:
        assert_one_clear_line(run(*command, "--model", str(tmp_path)), str(tmp_path))

    def test_a_text_file_named_gguf(self, command: tuple[str, ...], not_gguf: Path) -> None:
        assert_one_clear_line(run(*command, "--model", str(not_gguf)), "not a GGUF")

    def test_a_damaged_file(self, command: tuple[str, ...], damaged: Path) -> None:
        assert_one_clear_line(run(*command, "--model", str(damaged)), "damaged", str(damaged))

    def test_a_file_cut_short(self, command: tuple[str, ...], cut_short: Path) -> None:
        assert_one_clear_line(run(*command, "--model", str(cut_short)), "damaged", "cut short")

    def test_a_gguf_without_a_model(self, command: tuple[str, ...], no_model_at_all: Path) -> None:
        assert_one_clear_line(run(*command, "--model", str(no_model_at_all)), "no language model")


def test_the_chat_needs_a_terminal(smollm2_gguf: Path) -> None:
    assert_one_clear_line(run("chat", "--model", str(smollm2_gguf)), "terminal", "ask")


def test_nothing_is_assembled_for_a_screen_that_cannot_open() -> None:
    assert_one_clear_line(run("chat"), "terminal")


def test_an_empty_question_is_refused_before_anything_is_loaded() -> None:
    assert_one_clear_line(run("ask", "  "), "nothing was asked")
    assert_one_clear_line(run("ask", "-", words="\n"), "nothing was asked")


def test_help_explains_every_command() -> None:
    done = run("--help")
    assert done.returncode == 0
    for word in ("chat", "ask", "triage", "models", "emergency", "Esc", "exit codes"):
        assert word in done.stdout
    for command in ("chat", "ask", "models"):
        done = run(command, "--help")
        assert done.returncode == 0
        assert "usage:" in done.stdout


def test_without_a_command_the_help_is_shown() -> None:
    done = run()
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_the_version_is_told() -> None:
    assert run("--version").stdout.startswith("sparsedoctor-tui ")


@pytest.mark.parametrize(
    "options",
    [
        ("--seed", "-1"),
        ("--seed", "x"),
        ("--temperature", "9"),
        ("--max-tokens", "0"),
        ("--region", "XX"),
        ("--threads", "0"),
    ],
)
def test_a_wrong_option_is_named(options: tuple[str, ...]) -> None:
    done = run("ask", "hello", *options)
    assert done.returncode == 2
    assert options[0] in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


class TestModels:
    def test_an_empty_folder_is_an_empty_list(self) -> None:
        assert json.loads(run("models", "--json").stdout) == []
        assert "no model file" in run("models").stdout

    def test_every_file_is_listed_with_its_path(self, home: Path, smollm2_gguf: Path) -> None:
        folder = home / "data" / "models"
        folder.mkdir(parents=True)
        os.symlink(smollm2_gguf, folder / "plain.gguf")
        (folder / "notes.gguf").write_text("no model")
        rows = json.loads(run("models", "--json").stdout)
        assert [row["name"] for row in rows] == ["notes", "plain"]
        notes, plain = rows
        assert "not a GGUF" in notes["problem"]
        assert Path(plain["path"]).is_file()
        assert plain["size"] == smollm2_gguf.stat().st_size
        assert plain["default"] is False
        assert plain["experts"] == 0
        assert "plain model" in plain["label"]
        assert "plain model" in run("models").stdout


def test_the_screen_loads_nothing_heavy_before_it_stands() -> None:
    program = (
        "import sys\n"
        "import sparsedoctor.app.tui.application, sparsedoctor.app.tui.chat\n"
        "heavy = {'torch', 'transformers', 'gradio', 'llama_cpp', 'pandas', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
