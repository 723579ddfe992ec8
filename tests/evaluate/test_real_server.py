"""The server backend against a real one: llama-cpp-python's own, with the exported tiny model."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the tiny model is PyTorch; install sparsedoctor[train]")

from evaluate.conftest import TinyModel
from evaluate.exam_files import write_cmexam
from evaluate.scored_questions import EN, SEVERAL, ZH, asked, flat, opened, scored
from model_server import model_server

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.evaluate.cli import main
from sparsedoctor.train.evaluate.scoring import Settings, requests_for


@pytest.fixture(scope="module")
def server(tiny: TinyModel) -> Iterator[str]:
    """A server that tells log-probabilities."""
    with model_server(tiny.gguf, "tiny") as address:
        yield address


def test_the_server_reads_what_the_engine_reads(server: str, tiny: TinyModel) -> None:
    """Its model counts as many tokens in the prompt as ours does, and begins its answer alike."""
    remote, ours = opened(server), opened(tiny.gguf)
    settings = Settings(scoring="generate")
    requests = [
        request
        for question, wording in ((ZH, "exam-zh"), (SEVERAL, "exam-zh"))
        for request in requests_for(question, [question], wording, settings)
    ]
    engine = ours._engine  # type: ignore[attr-defined]
    for request in requests:
        prompt = remote.prompt(request.messages)
        assert prompt == ours.prompt(request.messages)
        sent = json.dumps({"model": "tiny", "prompt": prompt, "max_tokens": 1}).encode()
        call = urllib.request.Request(
            f"{server}/v1/completions", sent, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(call, timeout=60) as reply:
            counted = json.load(reply)["usage"]["prompt_tokens"]
        assert counted == len(engine.tokenize(prompt, control=True))
    theirs, own = dict(remote.generate(requests, 2, 0)), dict(ours.generate(requests, 2, 0))
    # The server goes past the limit where a character would be cut.
    assert all(own[i] and theirs[i].startswith(own[i]) for i in range(len(requests)))
    ours.close()


def test_the_server_scores_letters_as_the_engine_does(server: str, tiny: TinyModel) -> None:
    """Its listing holds 20 of the tokens; what it does not list lies below all that it does."""
    remote, ours = opened(server), opened(tiny.gguf)
    (request,) = requests_for(ZH, [], "exam-zh", Settings())
    (told,), (exact,) = scored(remote, [request]), scored(ours, [request])
    floor = min(flat([told]))
    listed = [(a, b) for a, b in zip(flat([told]), flat([exact]), strict=True) if a > floor]
    for theirs, own in listed:
        assert theirs == pytest.approx(own, abs=0.1)
    ours.close()


def test_whole_texts_need_another_server_or_generation(server: str) -> None:
    remote = opened(server)
    for settings in (Settings(candidates="text"), Settings()):
        with pytest.raises(SparseDoctorError, match="--scoring generate"):
            scored(remote, asked(settings=settings))  # EN's candidates have several letters


def test_a_run_over_the_server(server: str, tmp_path: Path) -> None:
    data = write_cmexam(tmp_path / "cmexam.csv")
    call = ["run", "--model", server, "--benchmark", "cmexam", "--data", str(data), "--quiet"]
    call += ["--scoring", "generate", "--max-tokens", "6", "--output", str(tmp_path / "run")]
    assert main(call) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["model"]["kind"], result["model"]["name"], result["n"]) == ("server", "tiny", 3)
    assert set(result["levels"]) == {"exact", "first-letter", "lenient"}


def test_a_server_without_log_probabilities_says_what_to_do(tiny: TinyModel) -> None:
    with model_server(tiny.gguf, "tiny", more=("--logits_all", "false")) as address:
        backend = opened(address)
        (request,) = requests_for(EN, [], "exam-en", Settings())
        with pytest.raises(SparseDoctorError, match="--scoring generate") as told:
            scored(backend, [request])
        assert "\n" not in str(told.value)
        assert [text for _, text in backend.generate([request], 4, 0)]
