"""Conversations to tokens, written exactly as the engine writes them for chatting.

    <|im_start|>user\\nQuestion<|im_end|>\\n<|im_start|>assistant\\nAnswer<|im_end|>
    ····················································╰──── learned ────╯

The text comes from the engine's own templates, so that what is learned is what is asked later.
Only a template's control segments become control tokens; `<|im_end|>` written in a data file is
text, as it is when a person types it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sparsedoctor.core.engine.protocol import Message
from sparsedoctor.core.engine.templates import Control, Segment, Text, find_template, guess_template
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.data.example import Example, Turn
from sparsedoctor.train.data.shown import shown

IGNORED = -100  # the label of a token that is not learned: the ignore index of the loss


class QuestionTooLong(SparseDoctorError):
    """The tokens run out before the first answer begins."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """`input_ids` and `labels` have the same length; a label is its token's id where the token is
    learned and IGNORED elsewhere. `topic` is the example's subject, the class that supervises
    routing and that experts are tabled by."""

    input_ids: list[int]
    labels: list[int]
    topic: str | None
    cut: bool = False  # an answer's end did not fit

    @property
    def learned(self) -> int:
        """Tokens that are learned."""
        return sum(label != IGNORED for label in self.labels)


@dataclass(frozen=True, slots=True)
class EncodedData:
    examples: list[Encoded]
    kept: list[Example]  # the same order
    too_long: list[Example] = field(default_factory=list)  # left out: their question did not fit


def encode(example: Example, tokenizer: Any, max_tokens: int, template: str = "chatml") -> Encoded:
    """Tokens and labels of a conversation, at most `max_tokens` of them.

    What does not fit is cut from the end: a question is kept whole and its answer loses its end
    (and its end token, so that stopping there is not learned); later turns are left out.
    Raises QuestionTooLong when no token of an answer fits.
    """
    parts = _parts(example.turns, template, tokenizer.eos_token)
    return _cut_to(max_tokens, example, parts, _Tokens(tokenizer))


def encode_all(
    examples: Iterable[Example], tokenizer: Any, max_tokens: int, template: str = "chatml"
) -> EncodedData:
    """Every conversation encoded; those whose question does not fit are set aside."""
    data = EncodedData([], [])
    tokens = _Tokens(tokenizer)
    whole = list(examples)
    begins = range(0, len(whole), _AT_ONCE)
    for begin in shown(begins, "encoding", f"x {_AT_ONCE:,} examples"):
        some = [
            (e, _parts(e.turns, template, tokenizer.eos_token))
            for e in whole[begin : begin + _AT_ONCE]
        ]
        tokens.prepare(segment for _, parts in some for part in parts for segment in part.segments)
        for example, parts in some:
            try:
                data.examples.append(_cut_to(max_tokens, example, parts, tokens))
                data.kept.append(example)
            except QuestionTooLong:
                data.too_long.append(example)
    return data


_AT_ONCE = 1024  # examples whose text is tokenised together


def template_for(tokenizer: Any) -> str:
    """The name of the template by which a model of this tokenizer will be asked: the family's,
    or "plain" when neither control tokens nor the chat template tell."""
    # Qwen3's <think> is an added token without the mark "special"; the engine knows it as well.
    controls = [token.content for token in tokenizer.added_tokens_decoder.values()]
    found = guess_template(str(tokenizer.chat_template or ""), controls)
    return found.name if found else "plain"


class _Part(NamedTuple):
    segments: list[Segment]
    learned: bool


def _parts(turns: Sequence[Turn], template: str, end_of_text: str | None) -> list[_Part]:
    """The conversation in stretches that are learned or not, as a chat would build it up.

    Nothing is known here about any template: what it writes for a prompt, for the prompt with
    the answer begun, and for the turn after it differ by the answer and by its end.
    """
    # Qwen3's empty thought stands before the answer that is asked for, not in the history.
    history = find_template("chatml" if template == "qwen3" else template).write
    messages = [Message(turn.role, turn.content) for turn in turns]
    answers = [number for number, turn in enumerate(turns) if turn.role == "assistant"]
    parts: list[_Part] = []
    written: list[Segment] = []
    for number in answers:
        last = number == answers[-1]
        asked = joined(history(messages[:number]))
        prompt = joined(find_template(template).write(messages[:number])) if last else asked
        begun = joined(history(messages[: number + 1]))
        closed = joined(history([*messages[: number + 1], Message("user", "")]))
        end = [segment for segment in _after(begun, closed)[:1] if isinstance(segment, Control)]
        parts.append(_Part(_after(written, prompt), learned=False))
        written = [*begun, *end]
        if not end and last and end_of_text:  # a template of plain words ends with the text
            end = [Control(end_of_text)]
        parts.append(_Part([*_after(asked, begun), *end], learned=True))
    return parts


def joined(segments: Iterable[Segment]) -> list[Segment]:
    """The same with neighbouring texts as one, which is how the engine tokenises them."""
    whole: list[Segment] = []
    for segment in segments:
        if isinstance(segment, Text) and whole and isinstance(whole[-1], Text):
            whole[-1] = Text(whole[-1].text + segment.text)
        else:
            whole.append(segment)
    return whole


def _after(beginning: Sequence[Segment], whole: Sequence[Segment]) -> list[Segment]:
    """What `whole` says after its `beginning`."""
    for number, segment in enumerate(beginning):
        if whole[number] == segment:
            continue
        text = whole[number]
        assert isinstance(text, Text), "a template must not rewrite what stands before an answer"
        assert text.text.startswith(segment.text), "nor its last words"
        return [Text(text.text[len(segment.text) :]), *whole[number + 1 :]]
    return list(whole[len(beginning) :])


def _cut_to(max_tokens: int, example: Example, parts: Sequence[_Part], tokens: _Tokens) -> Encoded:
    input_ids = list(tokens.beginning)
    labels = [IGNORED] * len(input_ids)
    for part in parts:
        ids = [number for segment in part.segments for number in tokens.of(segment)]
        input_ids += ids
        labels += ids if part.learned else [IGNORED] * len(ids)
        if len(input_ids) > max_tokens:
            break
    cut = len(input_ids) > max_tokens
    input_ids, labels = input_ids[:max_tokens], labels[:max_tokens]
    while labels and labels[-1] == IGNORED:  # a question without its answer
        input_ids.pop()
        labels.pop()
    if not labels:
        raise QuestionTooLong(
            f"{example.source}, line {example.line}: the question fills all {max_tokens} tokens; "
            "raise max_tokens or leave it out"
        )
    return Encoded(input_ids, labels, example.subject, cut)


class _Tokens:
    """Token ids of segments; texts can be tokenised ahead, many at a time, which is faster."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._prepared: dict[str, list[int]] = {}
        ids: list[int] = tokenizer.encode("", add_special_tokens=True)
        # The token that this family puts before every text, where it has one.
        self.beginning = ids[:1] if ids and ids[0] == tokenizer.bos_token_id else []

    def prepare(self, segments: Iterable[Segment]) -> None:
        """Tokenise the texts of `segments` and forget the ones before."""
        texts = sorted({segment.text for segment in segments if isinstance(segment, Text)})
        self._prepared = dict(zip(texts, self._tokenize(texts), strict=True))

    def of(self, segment: Segment) -> list[int]:
        if isinstance(segment, Control):
            return [self._control(segment.text)]
        if segment.text not in self._prepared:
            [self._prepared[segment.text]] = self._tokenize([segment.text])
        return self._prepared[segment.text]

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        # split_special_tokens: a control token's name in the text stays text.
        encoded = self._tokenizer(texts, add_special_tokens=False, split_special_tokens=True)
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def _control(self, text: str) -> int:
        number = self._tokenizer.convert_tokens_to_ids(text)
        if isinstance(number, int) and self._tokenizer.convert_ids_to_tokens(number) == text:
            return number
        raise SparseDoctorError(f"this base's vocabulary has no control token {text}")
