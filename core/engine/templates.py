"""Prompts: how a conversation is written for each family of models.

    messages ─▶ segments ─▶ tokens        Control("<|im_start|>"), Text("user\\nHello"), ...

These are our own templates, not the ones a file brings. Only a `Control` segment can become a
control token; what a person typed is always inside a `Text`. Llama-2 and early Mistral mark turns
with plain words ("[INST]"), so those words are broken up in what a person typed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sparsedoctor.core.engine.protocol import EngineError, Message


@dataclass(frozen=True, slots=True)
class Control:
    """A control token, by its text; it must be one token of the vocabulary."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """Text that never becomes a control token."""

    text: str


Segment = Control | Text


@dataclass(frozen=True, slots=True)
class Template:
    """`write` turns messages into segments; when the last message is the assistant's, the prompt
    ends inside it, so that the model continues it."""

    name: str
    write: Callable[[Sequence[Message]], list[Segment]]
    stops: tuple[str, ...]  # text that ends an answer, beside the end tokens


def find_template(name: str) -> Template:
    """A template by its name, as routing metadata gives it. Raises EngineError."""
    if name not in TEMPLATES:
        raise EngineError(
            f"the model asks for the prompt template {name!r}, which this program does not have; "
            f"it has {', '.join(TEMPLATES)}: update SparseDoctor"
        )
    return TEMPLATES[name]


def guess_template(chat_template: str, controls: Sequence[str]) -> Template | None:
    """The family's template for a file without our metadata, or None when nothing tells.

    `chat_template` is the file's own (only looked at, never run), `controls` the texts of the
    vocabulary's control tokens.
    """
    known = set(controls)
    if {"<|im_start|>", "<|im_end|>"} <= known:
        return TEMPLATES["qwen3" if {"<think>", "</think>"} <= known else "chatml"]
    if {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"} <= known:
        return TEMPLATES["llama3"]
    if "<<SYS>>" in chat_template:
        return TEMPLATES["llama2"]
    if "[INST]" in chat_template:
        return TEMPLATES["mistral-control" if {"[INST]", "[/INST]"} <= known else "mistral"]
    return None


def _chatml(messages: Sequence[Message]) -> list[Segment]:
    segments: list[Segment] = []
    for message in messages:
        segments += [Control("<|im_start|>"), Text(f"{message.role}\n{message.content}")]
        segments += [Control("<|im_end|>"), Text("\n")]
    if _continues(messages):
        return segments[:-2]
    return [*segments, Control("<|im_start|>"), Text("assistant\n")]


def _qwen3(messages: Sequence[Message]) -> list[Segment]:
    segments = _chatml(messages)
    if not _continues(messages):
        # An empty thought: the family's own way to ask for an answer without thinking aloud.
        segments += [Control("<think>"), Text("\n\n"), Control("</think>"), Text("\n\n")]
    return segments


def _llama3(messages: Sequence[Message]) -> list[Segment]:
    segments: list[Segment] = []
    for message in messages:
        segments += [*_llama3_header(message.role), Text(f"\n\n{message.content.strip()}")]
        segments += [Control("<|eot_id|>")]
    if _continues(messages):
        return segments[:-1]
    return [*segments, *_llama3_header("assistant"), Text("\n\n")]


def _llama3_header(role: str) -> list[Segment]:
    return [Control("<|start_header_id|>"), Text(role), Control("<|end_header_id|>")]


def _llama2(messages: Sequence[Message]) -> list[Segment]:
    system, rest = _split_system(messages)
    segments: list[Segment] = []
    preface = f"<<SYS>>\n{_broken(system)}\n<</SYS>>\n\n" if system else ""
    for number, message in enumerate(rest):
        content = _broken(message.content.strip())
        if message.role == "user":
            begin = [Control("<s>")] if number else []  # the first one is the vocabulary's own
            segments += [*begin, Text(f"[INST] {preface}{content} [/INST]")]
            preface = ""
        else:
            segments += [Text(f" {content} "), Control("</s>")]
    return segments[:-1] if _continues(messages) else segments


def _mistral(messages: Sequence[Message], control: bool = False) -> list[Segment]:
    system, rest = _split_system(messages)
    opened: Segment = Control("[INST]") if control else Text("[INST] ")
    closed: Segment = Control("[/INST]") if control else Text(" [/INST]")
    segments: list[Segment] = []
    for number, message in enumerate(rest):
        content = message.content if control else _broken(message.content.strip())
        if message.role == "user":
            # The family has no system turn: its own template puts the text before the question.
            before = (
                f"{system if control else _broken(system)}\n\n" if system and not number else ""
            )
            segments += [opened, Text(before + content), closed]
        else:
            segments += [Text(content if control else f" {content}"), Control("</s>")]
    return segments[:-1] if _continues(messages) else segments


def _mistral_control(messages: Sequence[Message]) -> list[Segment]:
    return _mistral(messages, control=True)


def _plain(messages: Sequence[Message]) -> list[Segment]:
    names = {"system": "Instructions", "user": "Question", "assistant": "Answer"}
    lines = [f"{names[message.role]}: {message.content.strip()}" for message in messages]
    if not _continues(messages):
        lines.append("Answer:")
    return [Text("\n\n".join(lines))]


def _continues(messages: Sequence[Message]) -> bool:
    return bool(messages) and messages[-1].role == "assistant"


def _split_system(messages: Sequence[Message]) -> tuple[str, list[Message]]:
    system = "\n\n".join(
        message.content.strip() for message in messages if message.role == "system"
    )
    return system, [message for message in messages if message.role != "system"]


_MARKS = ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>")


def _broken(text: str) -> str:
    """`text` with a space inside every mark of these templates."""
    for mark in _MARKS:
        while mark in text:
            text = text.replace(mark, f"{mark[0]} {mark[1:]}")
    return text


TEMPLATES = {
    template.name: template
    for template in (
        Template("chatml", _chatml, ("<|im_end|>", "<|im_start|>")),
        Template("qwen3", _qwen3, ("<|im_end|>", "<|im_start|>")),
        Template("llama3", _llama3, ("<|eot_id|>", "<|start_header_id|>")),
        Template("llama2", _llama2, ("[INST]", "</s>")),
        Template("mistral", _mistral, ("[INST]", "</s>")),
        Template("mistral-control", _mistral_control, ("[INST]", "</s>")),
        Template("plain", _plain, ("\nQuestion:", "\nInstructions:")),
    )
}
