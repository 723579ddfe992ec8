"""SentencePiece BPE with bytes to fall back on (Llama 2, Mistral 7B), as llama.cpp's kind "llama".

A `tokenizer.json` joins pieces by a list of merges, SentencePiece and llama.cpp whatever two
neighbours make the piece with the highest score. Both cut alike when the list is what
transformers makes from a SentencePiece model: every two pieces that make a third are in it, and
those that make the same piece stand together. A list of another origin, or a text that is changed
before it is cut, is refused by name: the model would read other tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gguf import Keys, TokenType

from sparsedoctor.core.errors import SparseDoctorError

Pieces = Sequence[tuple[str, TokenType]]
BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")
_BLANK = "\u2581"  # how SentencePiece writes a blank


def sentencepiece_fields(tokenizer: dict[str, Any], pieces: Pieces, file: Path) -> dict[str, Any]:
    """The `tokenizer.*` keys; `pieces` gives text and kind of every token. Raises
    SparseDoctorError for what llama.cpp would cut otherwise."""
    scores = _scores(tokenizer["model"], pieces, file)
    lowest = -float(len(scores) + 1)
    return {
        Keys.Tokenizer.MODEL: "llama",
        Keys.Tokenizer.PRE: "default",
        Keys.Tokenizer.LIST: [text for text, _ in pieces],
        Keys.Tokenizer.SCORES: [scores.get(text, lowest) for text, _ in pieces],
        Keys.Tokenizer.TOKEN_TYPE: [int(kind) for _, kind in pieces],
        Keys.Tokenizer.ADD_PREFIX: _blank_before(tokenizer, file),
        Keys.Tokenizer.ADD_BOS: True,
    }


def steps(part: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer, whether it is one or a sequence."""
    if not part:
        return []
    return list(part.get("pretokenizers") or part.get("normalizers") or [part])


def _blank_before(tokenizer: dict[str, Any], file: Path) -> bool:
    """Whether a text is cut as if a blank stood before it."""
    before, written = False, False
    for step in (*steps(tokenizer.get("normalizer")), *steps(tokenizer.get("pre_tokenizer"))):
        kind = step.get("type")
        if kind == "Prepend" and step.get("prepend") == _BLANK:
            before = True
        elif kind == "Replace" and (step.get("pattern"), step.get("content")) == (
            {"String": " "}, _BLANK
        ):  # fmt: skip
            written = True
        elif kind == "Metaspace" and step.get("replacement") == _BLANK:
            if step.get("split", True):
                raise _refusal(file, "split words at blanks (Metaspace)")
            written, before = True, step.get("prepend_scheme", "always") != "never"
        else:
            raise _refusal(file, f"change or split a text by the step {kind}")
    if not written:
        raise _refusal(file, "leave blanks as they are")
    return before


def _scores(model: dict[str, Any], pieces: Pieces, file: Path) -> dict[str, float]:
    """The scores of a SentencePiece model: the negative order in which pieces were learnt."""
    if model.get("ignore_merges"):
        raise _refusal(file, "take whole words without merging (ignore_merges)")
    scores: dict[str, float] = {}
    pairs, last = set(), ""
    for merge in model["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        pairs.add((left, right))
        if left + right != last and left + right in scores:
            raise _refusal(file, f"join pieces in an order without scores (at {left + right!r})")
        last = left + right
        scores.setdefault(last, -float(len(scores)))
    known = {text for text, _ in pieces}
    for text, kind in pieces:
        cuts = range(1, len(text)) if kind is TokenType.NORMAL else ()
        for left, right in ((text[:cut], text[cut:]) for cut in cuts):
            if left in known and right in known and (left, right) not in pairs:
                raise _refusal(file, f"hold {text!r} but does not join {left!r} and {right!r}")
    for byte in range(256):
        if f"<0x{byte:02X}>" not in known:
            raise _refusal(file, f"lack the byte <0x{byte:02X}>")
    return scores


def _refusal(file: Path, does: str) -> SparseDoctorError:
    return SparseDoctorError(
        f"{file}: its rules {does}, which llama.cpp's SentencePiece tokenizer does not; "
        "give this base as a GGUF file"
    )
