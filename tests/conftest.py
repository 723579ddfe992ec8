"""What tests of every part share. A real part that is absent skips with the reason."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from sparsedoctor.core.base_models import DEMO_BASE, find_base
from sparsedoctor.core.errors import SparseDoctorError

REPOSITORY = Path(__file__).resolve().parent.parent

settings.register_profile("sparsedoctor", deadline=None)  # no test asserts a time
settings.load_profile("sparsedoctor")

# A shell's background job ignores Ctrl-C and so does everything that it starts. Tests that
# interrupt a command need one that listens.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own home for every test: nothing touches the person's data."""
    path = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("SPARSEDOCTOR_HOME", str(path))
    return path


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """The real base model, SmolLM2-135M-Instruct as GGUF Q4_1."""
    try:
        return find_base(DEMO_BASE)
    except SparseDoctorError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The public data sets (docs/data.md); SPARSEDOCTOR_DATA names another place."""
    path = Path(os.environ.get("SPARSEDOCTOR_DATA", REPOSITORY.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"the public data sets are not at {path} (see docs/data.md)")
    return path
