"""SentencePiece vocabularies (Llama 2, Mistral 7B): llama.cpp cuts a text as transformers does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_adapters import make_adapter
from tiny_models import make_tiny_model

from sparsedoctor.core.engine.child import ChildEngine
from sparsedoctor.core.engine.protocol import EngineSettings
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.gguf_header import read_header
from sparsedoctor.export.tokenizer import tokenizer_fields

Export = Callable[..., Path]
Json = dict[str, Any]

VOCAB = 900
BLANK = "\u2581"
LEARNT_FROM = (
    "The doctor asks how long the cough has lasted and whether there is fever or pain.",
    "Asthma is a condition of the airways; it makes breathing difficult and can cause a cough.",
    "Drink enough water, rest, and see a doctor when the fever does not go down in 3 days.",
    "    def dose(weight):\n        return 15 * weight  # mg",
    "医生会问咳嗽持续了多久，是否发烧或疼痛。头痛三天，体温 38.5 度，应当休息并多喝水。",
)
TEXTS = (
    "What are the symptoms of asthma?",
    "Is it safe to take 400 mg ibuprofen (with food) for a fever of 38.9 °C?",
    "头痛三天，体温 38.5，怎么办?  应当休息。",
    "🤒 I feel sick 👩🏽‍⚕️🇩🇪!",
    " one blank before",
    "   three before, three   inside, two behind  ",
    "tab\tand\n\nnew lines\r\n",
    "wide\u3000blank, no-break\u00a0blank, zero\u200bwidth",
    "naïve café e\u0301 ﬁ ½ Å ß",
    "أشعر بألم في صدري",
    "a",
    " ",
    "</S> <unk <0x41> [INST] <|im_start|>",
)
# The two ways in which published checkpoints say the same: Llama 2's and, later, Mistral's.
LLAMA2 = {
    "normalizer": {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": BLANK},
            {"type": "Replace", "pattern": {"String": " "}, "content": BLANK},
        ],
    },
    "pre_tokenizer": None,
}
MISTRAL = {
    "normalizer": None,
    "pre_tokenizer": {
        "type": "Metaspace", "replacement": BLANK, "prepend_scheme": "first", "split": False,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def learnt() -> Json:
    """A `tokenizer.json` as transformers makes it from a SentencePiece model: pieces in the order
    they were learnt, and as merges every two pieces that make a third."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=BLANK, split=True)
    own = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=own, show_progress=False)
    tokenizer.train_from_iterator(LEARNT_FROM, trainer)
    made = json.loads(tokenizer.to_str())
    vocab: dict[str, int] = made["model"]["vocab"]
    learned = [f"{left}{right}" for left, right in made["model"]["merges"]]
    # SentencePiece learns runs of blanks as well, and numbers what it merged before the letters.
    runs = [BLANK * count for count in (2, 4)]
    letters = [text for text in vocab if text not in own and text not in learned]
    order = [*own, *runs, *dict.fromkeys(learned), *letters]
    vocab = {text: number for number, text in enumerate(order)}
    made["model"]["vocab"] = vocab
    made["model"]["merges"] = [
        [text[:cut], text[cut:]]
        for text in [*runs, *dict.fromkeys(learned)]
        for cut in range(1, len(text))
        if text[:cut] in vocab and text[cut:] in vocab
    ]
    made["added_tokens"] = made["added_tokens"][:3]
    return dict(made)


def write_tokenizer(folder: Path, learnt: Json, kind: Json, loader: str) -> None:
    decoder = [
        {"type": "Replace", "pattern": {"String": BLANK}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]
    template = [
        {"SpecialToken": {"id": "<s>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ]
    beginning = {
        "type": "TemplateProcessing", "single": template, "pair": template,
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
    }  # fmt: skip
    made = learnt | kind | {"decoder": {"type": "Sequence", "decoders": decoder}}
    made["post_processor"] = beginning
    (folder / "tokenizer.json").write_text(json.dumps(made))
    settings = {
        "tokenizer_class": loader,
        "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "add_bos_token": True, "add_eos_token": False,
        "chat_template": "{{ '[INST] ' + messages[0]['content'] + ' [/INST]' }}",
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


AS_WRITTEN, LLAMA = "PreTrainedTokenizerFast", "LlamaTokenizer"


@pytest.fixture(
    params=[("llama", LLAMA2, AS_WRITTEN), ("llama", LLAMA2, LLAMA), ("mistral", MISTRAL, LLAMA)],
    ids=["llama2 as written", "llama2", "mistral"],
)
def base(request: pytest.FixtureRequest, tmp_path: Path, learnt: Json) -> Path:
    family, kind, loader = request.param
    folder = make_tiny_model(tmp_path / "base", family, vocab=VOCAB, tied=False)
    write_tokenizer(folder, learnt, kind, loader)
    return folder


@pytest.fixture
def engine(base: Path, tmp_path: Path, export: Export) -> Iterator[ChildEngine]:
    path = export(base=base, adapter=make_adapter(tmp_path / "trained", base))
    engine = ChildEngine(path, EngineSettings(context=128, threads=1))
    yield engine
    engine.close()


def test_llama_cpp_cuts_as_transformers_does(base: Path, engine: ChildEngine) -> None:
    transformers = pytest.importorskip("transformers", reason="needs sparsedoctor[train]")
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    assert tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id == 1
    for text in TEXTS:
        # SentencePiece and llama.cpp put a blank before every text; transformers' Llama tokenizer
        # leaves it out where the text begins with one (docs/export.md).
        left_out = tokenizer("a b").tokens()[:2] == tokenizer(" a b").tokens()[:2]
        read = f" {text}" if left_out and text.startswith(" ") else text
        expected = tokenizer(read, add_special_tokens=False)["input_ids"]
        assert engine.tokenize(text) == expected, text
    assert len(engine.tokenize(LEARNT_FROM[0])) < len(LEARNT_FROM[0]) / 2  # pieces, not letters


def test_the_file_names_kind_scores_and_bytes(base: Path, tmp_path: Path, export: Export) -> None:
    path = export(base=base, adapter=make_adapter(tmp_path / "trained", base))
    keys = read_header(path, want=("tokenizer.ggml.token_type",)).metadata
    assert keys["tokenizer.ggml.model"] == "llama"
    assert keys["tokenizer.ggml.add_space_prefix"] is True
    assert keys["tokenizer.ggml.token_type"][:4] == [2, 3, 3, 6]
    assert keys["tokenizer.ggml.bos_token_id"] == 1
    assert keys["tokenizer.ggml.add_bos_token"] is True


CUT_OTHERWISE: dict[str, Callable[[Json], object]] = {
    "NFKC": lambda t: t.update(normalizer={"type": "NFKC"}),
    "Precompiled": lambda t: t["normalizer"]["normalizers"].append(
        {"type": "Precompiled", "precompiled_charsmap": ""}
    ),
    "Whitespace": lambda t: t.update(pre_tokenizer={"type": "Whitespace"}),
    "split": lambda t: t.update(
        normalizer=None,
        pre_tokenizer={"type": "Metaspace", "replacement": BLANK, "prepend_scheme": "first",
                       "split": True},
    ),
    "<0x41>": lambda t: t["model"]["vocab"].pop("<0x41>"),
    "does not join": lambda t: t["model"]["merges"].pop(),
    "ignore_merges": lambda t: t["model"].update(ignore_merges=True),
}  # fmt: skip


@pytest.mark.parametrize("named", CUT_OTHERWISE)
def test_what_llama_cpp_would_cut_otherwise_is_refused_by_name(
    tmp_path: Path, learnt: Json, named: str
) -> None:
    changed = json.loads(json.dumps(learnt | LLAMA2))
    CUT_OTHERWISE[named](changed)
    write_tokenizer(tmp_path, changed, {}, AS_WRITTEN)
    with pytest.raises(SparseDoctorError) as refusal:
        tokenizer_fields(tmp_path, VOCAB)
    assert named in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_merge_order_that_scores_cannot_say_is_refused(tmp_path: Path, learnt: Json) -> None:
    changed = json.loads(json.dumps(learnt))
    merges = changed["model"]["merges"]
    several = next(
        number
        for number in range(len(merges) - 1)
        if "".join(merges[number]) == "".join(merges[number + 1])
    )
    merges.append(merges.pop(several))
    write_tokenizer(tmp_path, changed, LLAMA2, AS_WRITTEN)
    with pytest.raises(SparseDoctorError, match="order"):
        tokenizer_fields(tmp_path, VOCAB)
