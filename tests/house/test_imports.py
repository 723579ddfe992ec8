"""Who may import whom, and what chatting must never load."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import REPOSITORY

PARTS = ("app", "core", "export", "train")
MAY_IMPORT = {
    "app": {"app", "core"},
    "core": {"core"},
    "export": {"export", "core"},
    "train": {"train", "core"},
}


def _sources(folder: str) -> list[Path]:
    return sorted((REPOSITORY / folder).rglob("*.py"))


def _imported_modules(source: Path) -> set[str]:
    """Every module that `source` imports anywhere, also inside functions."""
    modules = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source} uses a relative import"
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


@pytest.mark.parametrize("part", PARTS)
def test_a_part_imports_only_core_and_itself(part: str) -> None:
    for source in _sources(part):
        for module in _imported_modules(source):
            if module.startswith("sparsedoctor."):
                other = module.split(".")[1]
                assert other in MAY_IMPORT[part], f"{source} imports {module}"


def test_experts_and_engine_do_not_know_each_other() -> None:
    for source in _sources("core/moe"):
        assert not any("core.engine" in name for name in _imported_modules(source)), source
    for source in _sources("core/engine"):
        assert not any("core.moe" in name for name in _imported_modules(source)), source


def test_only_the_engine_imports_llama_cpp() -> None:
    for part in PARTS:
        for source in _sources(part):
            if source.is_relative_to(REPOSITORY / "core" / "engine"):
                continue
            names = {name.split(".")[0] for name in _imported_modules(source)}
            assert "llama_cpp" not in names, source


def test_every_package_is_packaged() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(settings["tool"]["setuptools"]["packages"])
    there = {
        "sparsedoctor." + ".".join(init.parent.relative_to(REPOSITORY).parts)
        for part in PARTS
        for init in (REPOSITORY / part).rglob("__init__.py")
    }
    assert listed == there


COMMANDS = {
    "sparsedoctor.app.tui.cli": {"torch", "transformers", "gradio", "llama_cpp", "sklearn"},
    "sparsedoctor.app.web.cli": {"torch", "transformers", "gradio", "llama_cpp"},
    "sparsedoctor.export.cli": {"torch", "transformers", "gradio", "llama_cpp"},
    "sparsedoctor.train.cli": {"torch", "transformers", "gradio", "llama_cpp"},
    "sparsedoctor.train.evaluate.cli": {"torch", "transformers", "gradio", "llama_cpp"},
}


@pytest.mark.parametrize(("module", "unwanted"), COMMANDS.items(), ids=COMMANDS)
def test_help_loads_nothing_heavy(module: str, unwanted: set[str]) -> None:
    program = (
        f"import sys, {module} as command\n"
        "try:\n    command.main(['--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print('LOADED', sorted({unwanted!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
    assert done.stdout.rstrip().endswith("LOADED []"), done.stdout[-200:]


def test_nothing_installs_a_top_level_module_of_a_parts_name() -> None:
    program = f"import importlib.util as u; print([p for p in {PARTS!r} if u.find_spec(p)])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, cwd="/"
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
