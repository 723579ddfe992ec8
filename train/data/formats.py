"""The published formats of medical training data, each read into conversations.

A record's format is recognised from its fields, so that files which mix two (as some do) are
read as well; `format` names one for all records. To add a format, write one function from a
record's fields to a conversation and list it in FORMATS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.data.example import Example, Turn
from sparsedoctor.train.data.exams import read_exam_question
from sparsedoctor.train.data.fields import Conversation, Fields, WrongRecord, optional, required
from sparsedoctor.train.data.records import read_records
from sparsedoctor.train.data.shown import shown


class _Fitting(NamedTuple):
    """Fields that must all be there, each under one of its names."""

    names: tuple[tuple[str, ...], ...]

    def fits(self, fields: Mapping[str, Any]) -> bool:
        return all(any(name in fields for name in names) for names in self.names)


@dataclass(frozen=True, slots=True)
class Format:
    name: str
    expects: str  # what a record looks like, for messages and help
    fields: _Fitting
    read: Callable[[Fields], Conversation]


def read_examples(path: Path, format: str | None = None) -> list[Example]:
    """All conversations of a file or folder, in its order.

    `format` is one of FORMATS; None recognises each record's from its fields. Raises
    SparseDoctorError with file, line and what was expected.
    """
    return [to_example(record.fields, record.place, str(record.file), record.line, format)
            for record in shown(read_records(path), f"reading {path.name}")]  # fmt: skip


def to_example(
    fields: Mapping[str, Any], place: str, source: str, line: int, format: str | None = None
) -> Example:
    """One record as a conversation. `place` is named in errors."""
    # The official files differ in case: Question, question. A table gives every row every field.
    lowered = {
        str(name).strip().lower(): value for name, value in fields.items() if value is not None
    }
    found = _named(format) if format is not None else _recognise(lowered)
    if found is None:
        raise SparseDoctorError(
            f"{place}: expected the fields of a known format, found "
            f"{', '.join(lowered) or 'none'}; known: "
            + "; ".join(f"{known.name} ({known.expects})" for known in FORMATS.values())
        )
    if not found.fields.fits(lowered):
        raise SparseDoctorError(
            f"{place}: expected {found.expects} (format {found.name}), found the fields "
            f"{', '.join(lowered) or 'none'}"
        )
    try:
        conversation = found.read(lowered)
    except WrongRecord as error:
        raise SparseDoctorError(f"{place}: {error} (format {found.name})") from error
    return Example(
        turns=tuple(conversation.turns),
        topic=conversation.topic,
        source=source,
        line=line,
        subject=conversation.subject,
        stem=conversation.stem,
        options=conversation.options,
    )


def _named(name: str) -> Format:
    if name not in FORMATS:
        raise SparseDoctorError(f"there is no data format {name!r}; known: {', '.join(FORMATS)}")
    return FORMATS[name]


def _recognise(fields: Mapping[str, Any]) -> Format | None:
    return next((known for known in FORMATS.values() if known.fields.fits(fields)), None)


def _read_medquad(fields: Fields) -> Conversation:
    return Conversation(
        _exchange(required(fields, "question"), required(fields, "answer")),
        topic=optional(fields, "focus"),
        subject=optional(fields, "qtype"),
    )


def _read_mts_dialog(fields: Fields) -> Conversation:
    header = optional(fields, "section_header")
    section = f" (section {header})" if header else ""
    dialogue = required(fields, "dialogue")
    question = (
        f"Write the clinical note{section} for this conversation between a doctor and a patient."
        f"\n\n{dialogue}"
    )
    return Conversation(
        _exchange(question, required(fields, "section_text")), subject=header, stem=dialogue
    )


def _read_instruction(fields: Fields) -> Conversation:
    question = required(fields, "instruction", "instruct")
    extra = optional(fields, "input")
    answer = required(fields, "output")
    turns: list[Turn] = []
    system = optional(fields, "system")
    if system:
        turns.append(Turn("system", system))
    for number, pair in enumerate(_history(fields.get("history")), start=1):
        if len(pair) != 2 or not all(isinstance(text, str) and text.strip() for text in pair):
            raise WrongRecord(f'expected pairs of question and answer in "history", pair {number}')
        turns += _exchange(pair[0].strip(), pair[1].strip())
    turns += _exchange(f"{question}\n{extra}" if extra else question, answer)
    return Conversation(
        turns, topic=optional(fields, "cate2", "topic"), subject=optional(fields, "cate1")
    )


def _history(value: Any) -> Sequence[Any]:
    if value is None or value == "":
        return ()
    if not isinstance(value, list) or not all(isinstance(pair, list | tuple) for pair in value):
        raise WrongRecord('expected a list of [question, answer] pairs in "history"')
    return value


# ShareGPT's names beside OpenAI's.
_ROLES = {"system": "system", "user": "user", "human": "user", "assistant": "assistant",
          "gpt": "assistant"}  # fmt: skip


def _read_chat(fields: Fields) -> Conversation:
    messages = fields.get("messages", fields.get("conversations"))
    if not isinstance(messages, list) or not messages:
        raise WrongRecord('expected a list of messages in "messages"')
    turns: list[Turn] = []
    for number, message in enumerate(messages, start=1):
        if not isinstance(message, Mapping):
            raise WrongRecord(f"expected role and content in message {number}")
        role = _ROLES.get(str(message.get("role", message.get("from"))))
        if role is None:
            raise WrongRecord(
                f"expected the role system, user or assistant in message {number}, found "
                f"{message.get('role', message.get('from'))!r}"
            )
        if role == "system" and number > 1:
            raise WrongRecord(f"expected a system message only in front, found one as {number}")
        content = message.get("content", message.get("value"))
        if not isinstance(content, str) or not content.strip():
            raise WrongRecord(f"expected text in message {number} ({role})")
        turns.append(Turn(role, content.strip()))  # type: ignore[arg-type]
    while turns and turns[-1].role != "assistant":
        turns.pop()  # a question without its answer teaches nothing
    if not turns:
        raise WrongRecord("expected an assistant's message, found none")
    return Conversation(
        turns, topic=optional(fields, "topic"), subject=optional(fields, "subject", "category")
    )


def _read_question_answer(fields: Fields) -> Conversation:
    return Conversation(
        _exchange(
            required(fields, "question", "prompt", "query"),
            required(fields, "answer", "response", "completion"),
        ),
        topic=optional(fields, "topic"),
        subject=optional(fields, "subject", "category"),
    )


def _exchange(question: str, answer: str) -> list[Turn]:
    return [Turn("user", question), Turn("assistant", answer)]


_QUESTION = ("question", "prompt", "query")
_ANSWER = ("answer", "response", "completion")

# In the order in which they are tried: the first whose fields are all there.
FORMATS: dict[str, Format] = {
    known.name: known
    for known in (
        Format(
            "chat",
            "messages: a list of role and content",
            _Fitting((("messages", "conversations"),)),
            _read_chat,
        ),
        Format(
            "mts-dialog",
            "dialogue, section_text and section_header",
            _Fitting((("dialogue",), ("section_text",))),
            _read_mts_dialog,
        ),
        Format(
            "exam",
            "question, options (or columns A, B, ...), answer letters, perhaps explanation",
            _Fitting((("question",), ("options", "option", "a"), ("answer",))),
            read_exam_question,
        ),
        Format(
            "medquad",
            "question, answer, focus and qtype",
            _Fitting((("question",), ("answer",), ("focus",))),
            _read_medquad,
        ),
        Format(
            "instruction",
            "instruction, output, perhaps input and history",
            _Fitting((("instruction", "instruct"), ("output",))),
            _read_instruction,
        ),
        Format(
            "question-answer",
            "question and answer",
            _Fitting((_QUESTION, _ANSWER)),
            _read_question_answer,
        ),
    )
}
