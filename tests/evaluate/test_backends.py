"""Every backend reads the same bytes and gives the same numbers for the same model."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="these backends are PyTorch; install sparsedoctor[train]")
pytest.importorskip("peft", reason="adapters are loaded through PEFT; install sparsedoctor[train]")

import torch
from evaluate.conftest import TinyModel
from evaluate.scored_questions import EN, SEVERAL, ZH, asked, flat, opened, scored

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.evaluate.backends.backend import Backend
from sparsedoctor.train.evaluate.backends.transformers_model import TransformersBackend
from sparsedoctor.train.evaluate.questions import Question
from sparsedoctor.train.evaluate.scoring import Settings, requests_for


@pytest.fixture(scope="module")
def ours(tiny: TinyModel) -> Iterator[Backend]:
    backend = opened(tiny.adapter, base=str(tiny.base))
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def exported(tiny: TinyModel) -> Iterator[Backend]:
    backend = opened(tiny.gguf, exact=True)
    yield backend
    backend.close()


SCORINGS = [
    Settings(),
    Settings(scoring="logprob-mean", candidates="text"),
    Settings(scoring="logprob-permuted"),
    Settings(scoring="logprob-pmi", candidates="cloze"),
]


@pytest.mark.parametrize("shots", [0, 1])
@pytest.mark.parametrize("settings", SCORINGS, ids=lambda settings: settings.scoring)
def test_adapter_and_export_give_the_same_scores(
    settings: Settings, shots: int, ours: Backend, exported: Backend
) -> None:
    requests = asked(settings=settings, shots=shots)
    torch_scores, gguf_scores = scored(ours, requests), scored(exported, requests)
    assert [len(tokens) for request in torch_scores for tokens in request] == [
        len(tokens) for request in gguf_scores for tokens in request
    ]
    # With keys and values in half precision a token near a tie chooses other experts here.
    assert flat(torch_scores) == pytest.approx(flat(gguf_scores), abs=1e-3)


@pytest.mark.parametrize("shots", [0, 1])
@pytest.mark.parametrize("settings", SCORINGS, ids=lambda settings: settings.scoring)
def test_batches_with_a_shared_prefix_equal_a_loop_over_single_sequences(
    settings: Settings, shots: int, ours: Backend
) -> None:
    """The dumb way: one forward over prompt and candidate, read off token by token."""
    assert isinstance(ours, TransformersBackend)
    requests = asked(settings=settings, shots=shots)
    expected = []
    with torch.inference_mode():
        for request in requests:
            prompt = ours._writer.prompt(request.messages)
            for text in request.continuations:
                tokens = ours._writer.plain(text)
                logits = ours._model(input_ids=torch.tensor([prompt + tokens])).logits[0]
                logprobs = logits.float().log_softmax(-1)
                expected += [
                    float(logprobs[len(prompt) + i - 1, token]) for i, token in enumerate(tokens)
                ]
    assert flat(scored(ours, requests)) == pytest.approx(expected, abs=1e-4)


def test_the_loss_of_a_reference_is_the_same_in_both(ours: Backend, exported: Backend) -> None:
    question = Question(
        "open",
        "怎么办?",
        {},
        "",
        "s",
        "zh",
        reference="多喝水，休息三天。",
        history=(("咳嗽", "多久?"),),
    )
    requests = requests_for(question, [], "open", Settings(scoring="loss"))
    (torch_tokens,), (gguf_tokens,) = scored(ours, requests)[0], scored(exported, requests)[0]
    assert len(torch_tokens) > 5
    assert torch_tokens == pytest.approx(gguf_tokens, abs=1e-3)


def test_small_batches_change_nothing(tiny: TinyModel, ours: Backend) -> None:
    requests = [
        request for n in (0, 1) for request in asked(settings=Settings(candidates="text"), shots=n)
    ]
    narrow = opened(tiny.adapter, base=str(tiny.base), batch_tokens=1)
    assert flat(scored(narrow, requests)) == pytest.approx(flat(scored(ours, requests)), abs=1e-4)


def test_every_backend_reads_the_same_bytes(
    tiny: TinyModel, ours: Backend, exported: Backend, server: FakeServer
) -> None:
    """What is sent, what is tokenised and what is hashed is one text."""
    base, remote = opened(tiny.base), opened(server.address)
    requests = [*asked(settings=Settings()), *asked(settings=Settings(), shots=0)]
    for request in requests:
        prompts = {
            backend.prompt(request.messages).encode() for backend in (base, ours, exported, remote)
        }
        assert len(prompts) == 1
    # The tokenizer's ids stand for just that text, and they are the engine's own tokens.
    assert isinstance(ours, TransformersBackend)
    engine = exported._engine  # type: ignore[attr-defined]
    for request in requests:
        text = ours.prompt(request.messages)
        ids = ours._writer.prompt(request.messages)
        assert ours._tokenizer.decode(ids, skip_special_tokens=False) == text
        if "<|im_end|> fever" not in text:  # there the person's own words look like control
            assert engine.tokenize(text, control=True) == ids
    # And the server was sent it.
    list(remote.generate(requests, 4, 0))
    assert server.prompts == [ours.prompt(request.messages) for request in requests]


def test_words_of_a_question_never_become_control_tokens(ours: Backend) -> None:
    assert isinstance(ours, TransformersBackend)
    end = ours._tokenizer.convert_tokens_to_ids("<|im_end|>")
    (request,) = requests_for(EN, [], "exam-en", Settings())
    assert "<|im_end|>" in request.messages[0].content
    assert ours._writer.prompt(request.messages).count(end) == 1  # the turn's own


def test_greedy_answers_do_not_depend_on_their_batch(ours: Backend) -> None:
    settings = Settings(scoring="generate")
    requests = asked(settings=settings)
    together = dict(ours.generate(requests, 8, 0))
    alone = {
        index: text
        for index, request in enumerate(requests)
        for _, text in ours.generate([request], 8, 0)
    }
    assert together == alone


def test_a_peft_lora_changes_its_base(tiny: TinyModel, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    from sparsedoctor.core.moe.base import load_base

    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    model = get_peft_model(load_base(str(tiny.base)).model, config)
    model.save_pretrained(str(tmp_path / "lora"))
    requests = asked(settings=Settings())
    description = tmp_path / "lora" / "adapter_config.json"
    settings = json.loads(description.read_text()) | {"base_model_name_or_path": "gone/away"}
    description.write_text(json.dumps(settings))
    with pytest.raises(SparseDoctorError, match="--base"):
        opened(tmp_path / "lora")
    lora = opened(tmp_path / "lora", base=str(tiny.base))
    base = opened(tiny.base)
    assert lora.record.kind == "peft"
    assert lora.record.sha256 != base.record.sha256
    assert flat(scored(lora, requests)) != pytest.approx(flat(scored(base, requests)), abs=1e-2)


def test_the_adapter_of_a_run_bears_its_name(ours: Backend, tiny: TinyModel) -> None:
    assert ours.record.name == f"{tiny.adapter.parent.name}/adapter"


def test_an_adapter_of_another_base_is_refused(tiny: TinyModel, tmp_path: Path) -> None:
    from tiny_models import make_tiny_model

    other = make_tiny_model(tmp_path / "other", "qwen2", seed=7)
    with pytest.raises(SparseDoctorError, match="belongs to"):
        opened(tiny.adapter, base=str(other))


def test_a_prompt_that_is_too_long_names_its_question(ours: Backend) -> None:
    requests = requests_for(ZH, [ZH] * 60, "exam-zh", Settings())
    with pytest.raises(SparseDoctorError, match=r"zh has .* tokens"):
        list(ours.score(requests))


class FakeServer:
    """Answers like an OpenAI-compatible server; keeps the prompts it is sent."""

    def __init__(self, echoes: bool, right: bool = True) -> None:
        self.prompts: list[str] = []
        self.echoes, self.right = echoes, right
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply({"data": [{"id": "tiny"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._reply({"choices": [outer.choice(body)]})

            def _reply(self, document: Any) -> None:
                data = json.dumps(document).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def choice(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt = body["prompt"]
        if body.get("echo") and self.echoes:
            # One token a character; a character's log-probability is minus its code modulo 11,
            # or, in the wrong way, that of its neighbour.
            codes = [-float(ord(sign) % 11) for sign in prompt + "!"]
            values = [None, *(codes[1:] if self.right else codes[:-1])]
            return {
                "text": prompt + "!",
                "logprobs": {"tokens": list(prompt + "!"), "token_logprobs": values},
            }
        if self.echoes and body["logprobs"] == 1:  # the written token, as the echo has it
            return {"text": "B", "logprobs": {"top_logprobs": [{"B": -float(ord("B") % 11)}]}}
        self.prompts.append(prompt)
        listed = {" B": -0.3, "B": -2.0, "A": -1.5, "x": -4.0}
        return {"text": " B. ", "logprobs": {"top_logprobs": [listed]}}

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer(echoes=False)
    yield fake
    fake.close()


def test_a_server_that_echoes_scores_any_continuation() -> None:
    fake = FakeServer(echoes=True)
    try:
        backend = opened(fake.address)
        (request,) = requests_for(ZH, [], "exam-zh", Settings(candidates="text"))
        scores = scored(backend, [request])[0]
        assert scores == [[-float(ord(sign) % 11) for sign in text] for text in ZH.options.values()]
    finally:
        fake.close()


def test_a_server_whose_echo_is_shifted_is_not_believed() -> None:
    fake = FakeServer(echoes=True, right=False)
    try:
        backend = opened(fake.address)
        (request,) = requests_for(ZH, [], "exam-zh", Settings())
        assert scored(backend, [request])[0] == [[-1.5], [-0.3], [-5.0], [-5.0]]  # as listed
        (texts,) = requests_for(ZH, [], "exam-zh", Settings(candidates="text"))
        with pytest.raises(SparseDoctorError, match="--scoring generate"):
            scored(backend, [texts])
    finally:
        fake.close()


def test_a_server_that_lists_next_tokens_scores_letters_and_refuses_more(
    server: FakeServer,
) -> None:
    backend = opened(server.address)
    assert backend.record.name == "tiny"
    (request,) = requests_for(ZH, [], "exam-zh", Settings())
    assert scored(backend, [request])[0] == [[-1.5], [-0.3], [-5.0], [-5.0]]
    (sets,) = requests_for(SEVERAL, [], "exam-zh", Settings())
    with pytest.raises(SparseDoctorError, match="--scoring generate"):
        scored(backend, [sets])
    assert list(backend.generate([request], 4, 0)) == [(0, "B.")]


def test_a_server_that_is_not_there_is_told_in_one_line() -> None:
    with pytest.raises(SparseDoctorError, match="is the server running"):
        opened("http://127.0.0.1:9")
