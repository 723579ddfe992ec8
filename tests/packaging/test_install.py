"""The wheel, installed with no extras into an environment of its own, chats and exports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from conftest import REPOSITORY

COMMANDS = ("tui", "web", "train", "eval", "export")


def _run(*words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        env={**os.environ, **more},
        timeout=900,
    )


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with `sparsedoctor` and no extras."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=True)
    build = _run(
        sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder / "wheel", REPOSITORY
    )
    assert build.returncode == 0, build.stderr[-2000:]
    (wheel,) = (folder / "wheel").glob("*.whl")
    binaries = folder / "bin"
    install = _run(
        binaries / "python", "-m", "pip", "install", "--disable-pip-version-check",
        "-c", REPOSITORY / "constraints.txt", wheel,
    )  # fmt: skip
    assert install.returncode == 0, install.stderr[-2000:]
    return binaries


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_without_extras(bare: Path, command: str) -> None:
    done = _run(bare / f"sparsedoctor-{command}", "--help")
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_chatting_needs_neither_torch_nor_gradio(bare: Path) -> None:
    done = _run(bare / "python", "-m", "pip", "list", "--format=freeze")
    installed = {line.split("==")[0].lower() for line in done.stdout.splitlines()}
    assert {"llama_cpp_python", "textual"} <= {name.replace("-", "_") for name in installed}
    assert installed.isdisjoint({"torch", "transformers", "peft", "gradio"})


def test_the_rules_and_their_data_are_in_the_wheel(bare: Path) -> None:
    done = _run(bare / "sparsedoctor-tui", "triage", "--json", "crushing chest pain and cold sweat")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["urgency"] == "emergency"


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (("sparsedoctor-web", "--no-browser"), "web"),
        (("sparsedoctor-train", "--data", "none.jsonl", "--output", "run"), "train"),
        (("sparsedoctor-export", "default"), "demo"),
    ],
    ids=["web", "train", "demo"],
)
def test_a_missing_extra_is_named_in_one_line(
    bare: Path, tmp_path: Path, words: tuple[str, ...], extra: str
) -> None:
    program, *rest = words
    done = subprocess.run(
        [str(bare / program), *rest],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "SPARSEDOCTOR_HOME": str(tmp_path)},
        timeout=120,
    )
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"sparsedoctor[{extra}]" in done.stderr
