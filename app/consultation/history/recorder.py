"""Saving a consultation as its events pass by, and taking it up again.

    for event in recorder.turn(words, consultation.ask(words)): ...

The person's words are committed at the first event, `Assessed`, before the model begins; the
answer is saved while it grows and gets its status however the turn ends: done, cancelled (also
when the interface stops listening), error.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

from sparsedoctor.app.consultation.assessment import Assessment, Finding, Numbers, Urgency
from sparsedoctor.app.consultation.consultation import (
    Assessed,
    ConsultationEvent,
    FollowUp,
    Reviewed,
    Turn,
)
from sparsedoctor.app.consultation.history.history import History
from sparsedoctor.app.consultation.history.interrupted import as_shown
from sparsedoctor.app.consultation.history.records import EndStatus, Message
from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.consultation.prompts import system_prompt
from sparsedoctor.app.consultation.review import review
from sparsedoctor.app.consultation.summary import DISCLAIMER
from sparsedoctor.core.base_models import base_fingerprint
from sparsedoctor.core.engine.protocol import (
    Finished,
    ModelInfo,
    Notice,
    RoutingUpdate,
    Started,
    TextDelta,
)


class Recorder:
    """One conversation of a history; a new one begins with the first words."""

    def __init__(
        self,
        history: History,
        *,
        intake: Intake | None = None,
        model: ModelInfo | Callable[[], ModelInfo] | None = None,
        conversation: str | None = None,
    ) -> None:
        """`conversation` resumes one; its own intake is then in the history. `model` as a
        function: what answers is fully known only once it answers (a server's model)."""
        self._history = history
        self._intake = intake or Intake()
        self._model = model
        self.conversation = conversation

    def set_intake(self, intake: Intake) -> None:
        """The person changed what they told about themselves."""
        self._intake = intake
        if self.conversation:
            self._history.set_intake(self.conversation, asdict(intake))

    def turn(
        self, words: str, events: Iterable[ConsultationEvent], *, again: bool = False
    ) -> Generator[ConsultationEvent, None, None]:
        """Pass `events` of one turn on, saving them. `again`: the same question answered anew."""
        saver = _Saver(self._history)
        try:
            for event in events:
                if isinstance(event, Assessed):
                    conversation = self._begun(event.assessment.language)
                    if not again:
                        self._history.add_user(conversation, words, asdict(event.assessment))
                    language = event.assessment.language
                    saver.begin(conversation, event.assessment, partial(self._making, language))
                else:
                    saver.save(event)
                yield event
        except GeneratorExit:
            saver.end("cancelled")
            raise
        except BaseException as error:
            saver.end("error", str(error))
            raise
        saver.end()

    def _begun(self, language: str) -> str:
        if self.conversation is None:
            model = self._model_now()
            self.conversation = self._history.begin(
                language=language,
                model=model.name if model else "",
                model_sha256=model_sha256(model) if model else "",
                intake=asdict(self._intake),
            )
        return self.conversation

    def _making(self, language: str) -> dict[str, object]:
        """What makes an answer; a server is named where a file has its hash."""
        model = self._model_now()
        prompt = system_prompt("zh" if language == "zh" else "en")
        making: dict[str, object] = {
            "model": model.name if model else "",
            "model_sha256": model_sha256(model) if model else "",
            "prompt_sha256": prompt.sha256,
            "version": metadata.version("sparsedoctor"),
        }
        return making | ({"model_server": model.server} if model and model.server else {})

    def _model_now(self) -> ModelInfo | None:
        return self._model() if callable(self._model) else self._model


class _Saver:
    """The answer of one turn."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._conversation = ""
        self._asked: Assessment | None = None  # of the person's words
        self._making: Callable[[], Mapping[str, object]] = dict
        self._generation: dict[str, object] = {"written_by": "rules"}  # until the model begins
        self._notices: list[str] = []  # said before the answer: cautions about medicines
        self._answer: str | None = None
        self._grown = ""
        self._text: str | None = None
        self._status: EndStatus = "done"
        self._routing: tuple[float, ...] | None = None
        self._review: dict[str, object] = {}

    def begin(
        self, conversation: str, asked: Assessment, making: Callable[[], Mapping[str, object]]
    ) -> None:
        self._conversation, self._asked, self._making = conversation, asked, making
        self._generation.update(making())

    def save(self, event: ConsultationEvent) -> None:
        match event:
            case Started(seed=seed):
                self._generation.update(self._making(), written_by="model", seed=seed)
                self._open()
            case TextDelta(text):
                self._grown += text
                self._history.answer_append(self._open(), text)
            case RoutingUpdate(phase="answer"):
                self._routing = event.shares()
            case Notice(message):
                if self._answer is None and message not in DISCLAIMER.values():
                    self._notices.append(message)
            case FollowUp(questions):
                self._generation["follow_up"] = list(questions)
                self._text = "\n".join(questions)
            case Finished():
                self._status = "cancelled" if event.reason == "cancelled" else "done"
                if self._generation["written_by"] == "model":
                    self._generation["sampling"] = asdict(event.sampling)
            case Reviewed(text, remarks, assessment):
                self._text = text  # also when nothing of the answer may be shown
                self._review = {**asdict(assessment), "remarks": list(remarks)}
            case _:
                pass

    def end(self, status: EndStatus | None = None, error: str = "") -> None:
        """The last thing; nothing is kept of a turn in which no answer began."""
        if self._answer is None and self._text is None:
            return
        if self._text is None and self._asked and self._grown:
            # No `Reviewed` came, but nothing goes unreviewed into the history.
            checked = review(self._grown, _language(self._asked.language), self._asked.numbers)
            self._text, self._review = checked.text, {"remarks": list(checked.remarks)}
        self._history.answer_finish(
            self._open(),
            status or self._status,
            text=self._text,
            error=error,
            generation=self._generation,
            routing=self._routing,
            assessment={**self._review, "notices": self._notices},
        )

    def _open(self) -> str:
        if self._answer is None:
            self._answer = self._history.answer_begin(self._conversation, self._generation)
        return self._answer


def restored_turns(messages: Sequence[Message]) -> tuple[Turn, ...]:
    """The turns of a saved conversation, to go on with it. Of several answers the last counts."""
    turns: list[Turn] = []
    for message in as_shown(messages):
        if message.role == "user":
            turns.append(Turn(message.text, restored_assessment(message.assessment)))
        elif turns and (message.text or not turns[-1].answer):
            turns[-1] = replace(
                turns[-1],
                answer=message.text,
                remarks=_texts(message.assessment.get("remarks")),
                questions=_texts(message.generation.get("follow_up")),
            )
    return tuple(turns)


def restored_intake(values: Mapping[str, Any]) -> Intake:
    """The intake as it was saved; names that this version does not know are left out."""
    known: dict[str, Any] = {}
    for name in Intake.__dataclass_fields__:
        if name in values:
            value = values[name]
            known[name] = tuple(value) if isinstance(value, list) else value
    return Intake(**known)


def restored_assessment(values: Mapping[str, Any]) -> Assessment:
    """The assessment as it was saved; what is missing or unknown is empty."""
    numbers = values.get("numbers") or {}
    return Assessment(
        urgency=_urgency(values.get("urgency")),
        crisis=bool(values.get("crisis")),
        findings=tuple(map(_finding, values.get("findings") or ())),
        numbers=Numbers(
            region=str(numbers.get("region") or ""),
            emergency=tuple(numbers.get("emergency") or ()),
            crisis=tuple(numbers.get("crisis") or ()),
            poison=tuple(numbers.get("poison") or ()),
        ),
        language=_language(values.get("language")),
        about_other=bool(values.get("about_other")),
        general=bool(values.get("general")),
    )


def model_sha256(model: ModelInfo) -> str:
    """The hash that tells which model answered: of its tensors where the file says it (files of
    this project), else of the whole file. Of a server's model nothing is known."""
    if model.server:
        return ""
    if model.bundle and model.bundle.tensors_sha256:
        return model.bundle.tensors_sha256
    return _file_sha256(model.path, model.path.stat().st_mtime_ns) if model.path.is_file() else ""


@lru_cache(maxsize=4)
def _file_sha256(path: Path, _changed: int) -> str:
    return base_fingerprint(path)


def _finding(values: Mapping[str, Any]) -> Finding:
    names = ("rule", "words", "advice", "why", "source")
    return Finding(
        **{name: str(values.get(name) or "") for name in names},
        urgency=_urgency(values.get("urgency")),
        crisis=bool(values.get("crisis")),
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, (list, tuple)) else ()


def _urgency(value: object) -> Urgency:
    return next((urgency for urgency in Urgency if urgency == value), Urgency.UNCLEAR)


def _language(value: object) -> Language:
    return "zh" if value == "zh" else "en"
