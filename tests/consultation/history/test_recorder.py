"""A consultation is saved as its events pass by, and can be taken up again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace

import pytest

from sparsedoctor.app.consultation.consultation import Assessed, Consultation, FollowUp, Reviewed
from sparsedoctor.app.consultation.history import History, summary_fields
from sparsedoctor.app.consultation.history.recorder import (
    Recorder,
    model_sha256,
    restored_assessment,
    restored_intake,
    restored_turns,
)
from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.consultation.summary import export_summary
from sparsedoctor.core.base_models import base_fingerprint
from sparsedoctor.core.engine.protocol import EngineDied, Started, TextDelta
from sparsedoctor.core.engine.scripted import Reply, ScriptedEngine

WORDS = "I have had a mild headache for two days"


@pytest.fixture
def store() -> Iterator[History]:
    with History.private() as opened:
        yield opened


def _recorder(store: History, engine: ScriptedEngine, **more: object) -> Recorder:
    return Recorder(store, model=engine.load(), **more)  # type: ignore[arg-type]


def test_the_words_are_committed_before_the_model_begins(store: History) -> None:
    said: list[str] = []

    def script(_: object) -> Reply:
        said.extend(message.text for message in store.messages(str(recorder.conversation)))
        return Reply()

    engine = ScriptedEngine(script)
    recorder = _recorder(store, engine)
    list(recorder.turn(WORDS, Consultation(engine).ask(WORDS)))
    assert said == [WORDS]


def test_a_turn_is_saved_with_what_made_it(store: History) -> None:
    engine = ScriptedEngine([Reply(("Since ", "when?"))])
    consultation = Consultation(engine, intake=Intake(age=41, medicines=("ibuprofen",)))
    recorder = _recorder(store, engine, intake=consultation.intake)
    passed = list(recorder.turn(WORDS, consultation.ask(WORDS)))
    assert isinstance(passed[0], Assessed)
    conversation = store.conversation(str(recorder.conversation))
    question, answer = store.messages(conversation.id)
    assert conversation.model == "scripted model"
    assert restored_intake(conversation.intake) == consultation.intake
    assert restored_assessment(question.assessment) == consultation.turns[0].assessment
    assert (answer.text, answer.status) == (consultation.turns[0].answer, "done")
    seed = next(event.seed for event in passed if isinstance(event, Started))
    assert answer.generation["seed"] == seed
    assert answer.generation["sampling"] == asdict(consultation.turns[0].finished.sampling)  # type: ignore[union-attr]
    assert len(str(answer.generation["prompt_sha256"])) == 64
    assert answer.generation["version"]
    assert sum(answer.routing) == pytest.approx(1)


def test_an_interface_that_stops_listening_cancels(store: History) -> None:
    engine = ScriptedEngine([Reply(("a ", "b ", "c "))])
    recorder = _recorder(store, engine)
    events = recorder.turn(WORDS, Consultation(engine).ask(WORDS))
    for event in events:
        if isinstance(event, TextDelta):
            break
    events.close()
    answer = store.messages(str(recorder.conversation))[1]
    assert (answer.text, answer.status) == ("a ", "cancelled")


def test_an_engine_that_dies_leaves_what_came(store: History) -> None:
    engine = ScriptedEngine([Reply(("so ", "far"), failure=EngineDied("the model ended"))])
    recorder = _recorder(store, engine)
    with pytest.raises(EngineDied):
        list(recorder.turn(WORDS, Consultation(engine).ask(WORDS)))
    answer = store.messages(str(recorder.conversation))[1]
    assert (answer.text, answer.status, answer.error) == ("so far", "error", "the model ended")


def test_a_cancelled_answer_is_saved_as_such(store: History) -> None:
    engine = ScriptedEngine([Reply(("a ", "b ", "c "), delay=0.01)])
    consultation = Consultation(engine)
    recorder = _recorder(store, engine)
    for event in recorder.turn(WORDS, consultation.ask(WORDS)):
        if isinstance(event, TextDelta):
            consultation.cancel()
    assert store.messages(str(recorder.conversation))[1].status == "cancelled"


def test_questions_asked_back_are_the_answer_of_a_turn_without_the_model(store: History) -> None:
    engine = ScriptedEngine()
    assessed = next(iter(Consultation(engine).ask(WORDS)))
    recorder = _recorder(store, engine)
    asked = FollowUp(("Since when?", "Any fever?"))
    list(recorder.turn(WORDS, [assessed, asked]))
    answer = store.messages(str(recorder.conversation))[1]
    assert (answer.text, answer.status) == ("Since when?\nAny fever?", "done")


def test_what_the_review_took_out_is_not_saved(store: History) -> None:
    engine = ScriptedEngine([Reply(("take ", "500 mg"))])
    recorder = _recorder(store, engine)
    events = list(Consultation(engine).ask(WORDS))
    assert isinstance(events[-1], Reviewed)
    list(recorder.turn(WORDS, [*events[:-1], replace(events[-1], text="")]))
    assert store.messages(str(recorder.conversation))[1].text == ""
    assert store.search("500 mg") == []


def test_answering_anew_keeps_one_question_and_both_answers(store: History) -> None:
    engine = ScriptedEngine([Reply(("first",)), Reply(("second",))])
    consultation = Consultation(engine)
    recorder = _recorder(store, engine)
    list(recorder.turn(WORDS, consultation.ask(WORDS)))
    list(recorder.turn(WORDS, consultation.regenerate(), again=True))
    messages = store.messages(str(recorder.conversation))
    assert [message.text for message in messages] == [WORDS, "first", "second"]
    assert [turn.answer for turn in restored_turns(messages)] == ["second"]


def test_a_conversation_is_taken_up_where_it_ended(store: History) -> None:
    engine = ScriptedEngine([Reply(("one",)), Reply(("two",))])
    consultation = Consultation(engine)
    recorder = _recorder(store, engine)
    list(recorder.turn(WORDS, consultation.ask(WORDS)))
    resumed = _recorder(store, engine, conversation=recorder.conversation)
    list(resumed.turn("and now fever", consultation.ask("and now fever")))
    turns = restored_turns(store.messages(str(recorder.conversation)))
    assert [(turn.words, turn.answer, turn.assessment) for turn in turns] == [
        (turn.words, turn.answer, turn.assessment) for turn in consultation.turns
    ]
    assert len(store.conversations()) == 1


def test_a_changed_intake_is_saved(store: History) -> None:
    engine = ScriptedEngine()
    recorder = _recorder(store, engine)
    recorder.set_intake(Intake(age=3))
    list(recorder.turn(WORDS, Consultation(engine).ask(WORDS)))
    recorder.set_intake(Intake(age=4, pregnant=False))
    saved = store.conversation(str(recorder.conversation)).intake
    assert restored_intake(saved) == Intake(age=4)
    assert restored_intake({"age": 1, "unknown": 2}) == Intake(age=1)


def test_a_recorded_conversation_has_a_summary_with_what_made_it(store: History) -> None:
    engine = ScriptedEngine()
    recorder = _recorder(store, engine, intake=Intake(age=30))
    words = "My temperature is 38.5"
    list(recorder.turn(words, Consultation(engine).ask(words)))
    conversation = str(recorder.conversation)
    fields = summary_fields(
        store.conversation(conversation),
        store.messages(conversation),
        created="2026-01-01T00:00:00+00:00",
        versions={"llama.cpp": "x"},
    )
    assert set(fields.versions) == {"sparsedoctor", "llama.cpp"}
    assert len(fields.prompt_sha256) == 64
    assert {"seed", "temperature", "top_p"} <= fields.settings.keys()
    assert "prompt_sha256" not in fields.settings
    assert fields.model == "scripted model"
    assert "38.5 °C" in export_summary(fields, "markdown")


def test_a_model_without_a_hash_of_its_tensors_is_known_by_its_files(tmp_path: object) -> None:
    info = ScriptedEngine().load()
    path = tmp_path / "m.gguf"  # type: ignore[operator]
    path.write_bytes(b"GGUF")
    assert model_sha256(replace(info, path=path, bundle=None)) == base_fingerprint(path)


def test_what_is_saved_damaged_is_restored_empty() -> None:
    assessment = restored_assessment({"urgency": "soon", "findings": [{"rule": "r"}]})
    assert assessment.urgency == "unclear"
    assert assessment.findings[0].rule == "r"
    assert restored_turns([]) == ()
