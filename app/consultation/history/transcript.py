"""A conversation as text: Markdown to read, JSON to process. Always with the disclaimer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from sparsedoctor.app.consultation.history.interrupted import as_shown
from sparsedoctor.app.consultation.history.records import Conversation, Message
from sparsedoctor.app.consultation.summary.fields import each_text
from sparsedoctor.app.consultation.summary.identifiers import remove_identifiers
from sparsedoctor.app.consultation.summary.markdown import escaped, quoted
from sparsedoctor.app.consultation.summary.wording import DISCLAIMER, wording

_WHO = {
    "en": {"user": "You", "assistant": "SparseDoctor"},
    "zh": {"user": "您", "assistant": "SparseDoctor"},
}
_FREE = ("title", "intake", "text", "error", "assessment")
_STATUS = {
    "en": {"streaming": "still growing", "cancelled": "cancelled", "error": "broke off"},
    "zh": {"streaming": "仍在生成", "cancelled": "已取消", "error": "中断"},
}


def transcript(
    conversation: Conversation,
    messages: Sequence[Message],
    form: Literal["markdown", "json"],
    *,
    without_identifiers: bool = False,
) -> str:
    """`conversation` in `form`, in its own language; `without_identifiers` removes telephone
    numbers, mail addresses and Chinese identity numbers from every text of it."""
    clean = remove_identifiers if without_identifiers else str
    if form == "json":
        document = {
            "format": "sparsedoctor-conversation/1",
            "disclaimer": DISCLAIMER,
            "conversation": _cleaned(asdict(conversation), clean),
            "messages": [_cleaned(asdict(message), clean) for message in as_shown(messages)],
        }
        return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    language: Literal["en", "zh"] = "zh" if conversation.language == "zh" else "en"
    parts = [f"# {escaped(clean(conversation.title))}", f"*{DISCLAIMER[language]}*"]
    for message in as_shown(messages):
        status = _STATUS[language].get(message.status)
        state = f" ({status})" if status else ""
        head = f"## {_WHO[language][message.role]} · {message.created[:16].replace('T', ' ')} UTC"
        parts += [head + state, quoted(clean(message.text))]
        if making := _making(message.generation, language):
            parts.append(f"*{escaped(making)}*")
    if conversation.model:
        parts.append(f"---\n\n{conversation.model} {conversation.model_sha256}".rstrip())
    return "\n\n".join(parts) + "\n"


def _making(generation: Mapping[str, object], language: Literal["en", "zh"]) -> str:
    """What made an answer, in words: rules, or a model with its hashes, settings and seed."""
    words, left = wording(language), dict(generation)
    questions = left.pop("follow_up", None)
    if left.pop("written_by", "") == "rules" or questions:
        return words.rules_answered
    sampling = left.pop("sampling", None)
    settings = dict(sampling) if isinstance(sampling, Mapping) else {}
    settings |= {"seed": left.pop("seed")} if "seed" in left else {}
    left |= {"settings": ", ".join(f"{n} {v}" for n, v in settings.items() if v is not None)}
    left["versions"] = left.pop("version", "")
    said = [f"{words.made.get(n, n)}{words.colon}{value}" for n, value in left.items() if value]
    return "; ".join(said)


def _cleaned(record: Mapping[str, Any], clean: Callable[[str], str]) -> dict[str, Any]:
    """The record with its free texts cleaned; ids, times and hashes look like numbers to it."""
    return {
        name: each_text(value, clean) if name in _FREE else value for name, value in record.items()
    }
