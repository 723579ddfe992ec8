"""A Hugging Face tokenizer as the `tokenizer.*` keys of a GGUF file.

Two kinds are carried over: byte-level BPE ("gpt2" to llama.cpp: SmolLM2, Llama 3, Qwen, Mistral's
Tekken) and SentencePiece BPE (Llama 2, Mistral 7B: `sentencepiece.py`). llama.cpp
has the splitting rules of byte-level BPE built in under names, so a rule that it does not know by
one of these names is refused: it would cut words elsewhere and the model would read other tokens.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gguf import Keys, SpecialVocab, TokenType

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.export.sentencepiece import BYTE_TOKEN, sentencepiece_fields, steps

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_SPLITS = {  # the published splitting rule -> llama.cpp's name of it
    _CONTRACTIONS + _WORDS + r"\p{N}|" + _REST: "qwen2",
    _CONTRACTIONS + _WORDS + r"\p{N}{1,3}|" + _REST: "llama-bpe",
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}|"
    + _REST.replace(r"[\r\n]*", r"[\r\n/]*"): "tekken",
}
_SPECIAL_KEYS = {
    "bos": Keys.Tokenizer.BOS_ID,
    "eos": Keys.Tokenizer.EOS_ID,
    "unk": Keys.Tokenizer.UNK_ID,
    "sep": Keys.Tokenizer.SEP_ID,
    "pad": Keys.Tokenizer.PAD_ID,
    "mask": Keys.Tokenizer.MASK_ID,
}


def tokenizer_fields(folder: Path, vocab: int) -> dict[str, Any]:
    """The `tokenizer.*` keys for the tokenizer in `folder`; `vocab` counts embedding rows.

    Rows that no token uses are named `[PAD<row>]`. Raises SparseDoctorError for a missing,
    damaged or unknown kind of tokenizer.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise SparseDoctorError(
            f"{folder} has no tokenizer.json; save its tokenizer with transformers "
            "(save_pretrained of the fast tokenizer) and export again"
        )
    try:
        tokenizer = json.loads(file.read_text(encoding="utf-8"))
        model = tokenizer["model"]
        if model.get("type", "BPE") != "BPE":
            raise SparseDoctorError(f"{file} is a {model['type']} tokenizer; only BPE is known")
        pieces = _pieces(tokenizer, vocab, file)
        special = SpecialVocab(folder, load_merges=True, n_vocab=vocab)
        if model.get("byte_fallback"):
            fields = sentencepiece_fields(tokenizer, pieces, file)
        else:
            fields = _byte_level(tokenizer, pieces, special.merges, file)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SparseDoctorError(f"cannot read {file}: {type(error).__name__}: {error}") from error
    for kind, token in special.special_token_ids.items():
        if kind in _SPECIAL_KEYS:
            fields[_SPECIAL_KEYS[kind]] = token
    for kind, added in special.add_special_token.items():
        if kind in ("bos", "eos"):
            fields[getattr(Keys.Tokenizer, f"ADD_{kind.upper()}")] = added
    template = _template(special.chat_template)
    if template:
        fields[Keys.Tokenizer.CHAT_TEMPLATE] = template
    return fields


def _pieces(tokenizer: dict[str, Any], vocab: int, file: Path) -> list[tuple[str, TokenType]]:
    """Text and kind of every token, by id; `vocab` long."""
    pieces = [(f"[PAD{row}]", TokenType.UNUSED) for row in range(vocab)]
    added = {entry["content"]: entry for entry in tokenizer.get("added_tokens") or []}
    ids = dict(tokenizer["model"]["vocab"])
    ids.update({text: entry["id"] for text, entry in added.items()})
    unknown = tokenizer["model"].get("unk_token")
    for text, token in ids.items():
        if not 0 <= token < vocab:
            raise SparseDoctorError(f"{file} has the token {token}, the embedding {vocab} rows")
        kind = TokenType.NORMAL
        if text == unknown:
            kind = TokenType.UNKNOWN
        elif text in added:
            kind = TokenType.CONTROL if added[text].get("special") else TokenType.USER_DEFINED
        elif tokenizer["model"].get("byte_fallback") and BYTE_TOKEN.fullmatch(text):
            kind = TokenType.BYTE
        pieces[token] = (text, kind)
    return pieces


def _byte_level(
    tokenizer: dict[str, Any], pieces: list[tuple[str, TokenType]], merges: list[str], file: Path
) -> dict[str, Any]:
    rule = split_rule(tokenizer.get("pre_tokenizer"))
    if rule is None:
        raise SparseDoctorError(
            f"{file} splits words by a rule that llama.cpp has no known name for; "
            "give this base as a GGUF file, which names it"
        )
    return {
        Keys.Tokenizer.MODEL: "gpt2",
        Keys.Tokenizer.PRE: rule,
        Keys.Tokenizer.LIST: [text for text, _ in pieces],
        Keys.Tokenizer.TOKEN_TYPE: [int(kind) for _, kind in pieces],
        Keys.Tokenizer.MERGES: merges,
        Keys.Tokenizer.ADD_BOS: False,
    }


def split_rule(pre_tokenizer: dict[str, Any] | None) -> str | None:
    """llama.cpp's name of a byte-level pre-tokenizer in a `tokenizer.json`, None when unknown."""
    found = steps(pre_tokenizer)
    kinds = [step.get("type") for step in found]
    if not found or found[-1].get("type") != "ByteLevel" or found[-1].get("add_prefix_space"):
        return None
    own_split = found[-1].get("use_regex", True)
    if kinds == ["ByteLevel"]:
        return "gpt-2" if own_split else None
    if kinds == ["Digits", "ByteLevel"] and found[0].get("individual_digits") and own_split:
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and not own_split and found[0].get("behavior") == "Isolated":
        return _SPLITS.get(found[0].get("pattern", {}).get("Regex"))
    return None


def pre_tokenizer_for(rule: str) -> dict[str, Any] | None:
    """The inverse of `split_rule`: a `tokenizer.json`'s pre-tokenizer from llama.cpp's name."""
    own = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    if rule == "gpt-2":
        return own
    if rule == "smollm":
        digits = {"type": "Digits", "individual_digits": True}
        return {"type": "Sequence", "pretokenizers": [digits, own]}
    for pattern, name in _SPLITS.items():
        if name == rule:
            split = {
                "type": "Split",
                "pattern": {"Regex": pattern},
                "behavior": "Isolated",
                "invert": False,
            }
            return {"type": "Sequence", "pretokenizers": [split, own | {"use_regex": False}]}
    return None


def _template(template: Any) -> str | None:
    if isinstance(template, str):
        return template
    named = {entry.get("name"): entry.get("template") for entry in template or []}
    return named.get("default")
