"""The tokenizer of a Hugging Face folder: copied, or rebuilt from a GGUF base."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from gguf import Keys, TokenType

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.export.base import Base
from sparsedoctor.export.tokenizer import pre_tokenizer_for

_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "tokenizer.model", "chat_template.jinja", "generation_config.json",
)  # fmt: skip


def write_tokenizer(base: Base, folder: Path) -> None:
    """Put the tokenizer of `base` into `folder`. Raises SparseDoctorError for an unknown kind."""
    if base.path.is_dir():
        for name in _FILES:
            if (base.path / name).is_file():
                shutil.copyfile(base.path / name, folder / name)
        return
    fields = base.tokenizer_fields()
    for name, content in rebuilt(fields, base.path).items():
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")


def rebuilt(fields: dict[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    """`tokenizer.json` and `tokenizer_config.json` from the keys of a GGUF file."""
    rule = pre_tokenizer_for(str(fields.get(Keys.Tokenizer.PRE, "")))
    if fields.get(Keys.Tokenizer.MODEL) != "gpt2" or rule is None:
        raise SparseDoctorError(
            f"{path} has a tokenizer of the kind {fields.get(Keys.Tokenizer.MODEL)}, "
            f"{fields.get(Keys.Tokenizer.PRE)}, which cannot be turned back into a "
            "tokenizer.json; give the Hugging Face folder of this base"
        )
    tokens = fields[Keys.Tokenizer.LIST]
    kinds = fields[Keys.Tokenizer.TOKEN_TYPE]
    own = (TokenType.CONTROL, TokenType.USER_DEFINED)
    added = [
        {
            "id": number, "content": text, "single_word": False, "lstrip": False,
            "rstrip": False, "normalized": False, "special": kind == TokenType.CONTROL,
        }
        for number, (text, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind in own
    ]  # fmt: skip
    vocabulary = {
        text: number
        for number, (text, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind != TokenType.UNUSED
    }
    merges = [merge.split(" ") for merge in fields[Keys.Tokenizer.MERGES]]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "NFC"} if fields[Keys.Tokenizer.PRE] == "qwen2" else None,
        "pre_tokenizer": rule,
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                    "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "vocab": vocabulary,
                  "merges": merges},
    }  # fmt: skip
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": bool(fields.get(Keys.Tokenizer.ADD_BOS, False)),
        "clean_up_tokenization_spaces": False,
    }
    for name, key in (
        ("bos_token", Keys.Tokenizer.BOS_ID),
        ("eos_token", Keys.Tokenizer.EOS_ID),
        ("unk_token", Keys.Tokenizer.UNK_ID),
        ("pad_token", Keys.Tokenizer.PAD_ID),
    ):
        if key in fields:
            config[name] = tokens[fields[key]]
    if Keys.Tokenizer.CHAT_TEMPLATE in fields:
        config["chat_template"] = fields[Keys.Tokenizer.CHAT_TEMPLATE]
    return {"tokenizer.json": tokenizer, "tokenizer_config.json": config}
