"""Tokenizers of three families in small: the real control tokens, a hundred pieces.

The `tokenizer.*` keys of a GGUF file, to be written instead of those of the real vocabulary.
Kinds of tokens, as GGUF numbers them: 1 normal, 2 unknown, 3 control, 4 user-defined, 6 byte.
"""

from __future__ import annotations

from typing import Any

_WORDS = ("hello", "system", "user", "assistant", "im", "start", "end", "INST", "SYS", "head")
LLAMA3 = (
    "<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|eot_id|>",
    "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|python_tag|>",
)  # fmt: skip
QWEN3 = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|fim_prefix|>")
QWEN3_DEFINED = ("<tool_call>", "</tool_call>", "<think>", "</think>")
MISTRAL = ("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]")


def llama3() -> dict[str, Any]:
    return {
        **_byte_pairs(LLAMA3, (), "llama-bpe"),
        "tokenizer.ggml.bos_token_id": _at(LLAMA3, "<|begin_of_text|>"),
        "tokenizer.ggml.eos_token_id": _at(LLAMA3, "<|eot_id|>"),
        "tokenizer.ggml.add_bos_token": True,
    }


def qwen3() -> dict[str, Any]:
    return {
        **_byte_pairs(QWEN3, QWEN3_DEFINED, "qwen2"),
        "tokenizer.ggml.eos_token_id": _at(QWEN3, "<|im_end|>"),
        "tokenizer.ggml.add_bos_token": False,
    }


def mistral() -> dict[str, Any]:
    """A SentencePiece vocabulary, with a token that somebody defined and forgot to mark."""
    pieces = [(word, 3) for word in MISTRAL] + [("<|im_start|>", 4), ("\u2581\u2581", 4)]
    pieces[0] = ("<unk>", 2)
    pieces += [(f"<0x{byte:02X}>", 6) for byte in range(256)]
    pieces += [(chr(code), 1) for code in range(33, 127)] + [("\u2581", 1)]
    pieces += [(f"\u2581{word}", 1) for word in _WORDS]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [piece for piece, _ in pieces],
        "tokenizer.ggml.scores": [-float(at) for at in range(len(pieces))],
        "tokenizer.ggml.token_type": [kind for _, kind in pieces],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.chat_template": "[INST] is what this family writes",
    }


def _byte_pairs(control: tuple[str, ...], defined: tuple[str, ...], rule: str) -> dict[str, Any]:
    letters = _byte_letters()
    merges = _merges(letters)
    pieces = [*letters, *(merge.replace(" ", "") for merge in merges), *control, *defined]
    kinds = [1] * (len(letters) + len(merges)) + [3] * len(control) + [4] * len(defined)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": rule,
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": merges,
    }


def _at(control: tuple[str, ...], word: str) -> int:
    letters = _byte_letters()
    return len(letters) + len(_merges(letters)) + control.index(word)


def _merges(letters: list[str]) -> list[str]:
    """Pairs that build the words above, letter by letter."""
    found: dict[str, None] = {}
    for word in _WORDS:
        for end in range(1, len(word)):
            found[f"{word[:end]} {word[end]}"] = None
    return list(found)


def _byte_letters() -> list[str]:
    """The printable letter that stands for each byte in byte-level vocabularies."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    letters = {byte: chr(byte) for byte in plain}
    letters |= {byte: chr(256 + at) for at, byte in enumerate(others)}
    return [letters[byte] for byte in range(256)]
