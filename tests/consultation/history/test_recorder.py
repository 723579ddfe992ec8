"""A consultation is saved as its events pass by, and can be taken up again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

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
from sparsedoctor.app.consultation.summary import DISCLAIMER, export_summary, summarise
from sparsedoctor.core.base_models import base_fingerprint
from sparsedoctor.core.engine.protocol import EngineDied, Notice, Started, TextDelta
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


def test_what_the_rules_wrote_is_no_suggestion_of_the_model(store: History) -> None:
    engine = ScriptedEngine()
    words = "crushing chest pain, I am sweating and my left arm hurts"
    recorder = _recorder(store, engine)
    events = list(recorder.turn(words, Consultation(engine).ask(words)))
    assert engine.calls == []
    assert isinstance(events[-1], Reviewed)
    conversation = store.conversation(str(recorder.conversation))
    question, answer = store.messages(conversation.id)
    assert (answer.text, answer.status) == (events[-1].text, "done")
    assert answer.generation["written_by"] == "rules"
    assert "seed" not in answer.generation
    summary = summarise(summary_fields(conversation, [question, answer], created="", versions={}))
    assert summary.urgency == "emergency"
    assert summary.suggestion == ""
    assert summary.advice


def test_questions_asked_back_are_open_questions_of_the_summary(store: History) -> None:
    engine = ScriptedEngine([Reply(("Rest.",))])
    consultation = Consultation(engine, follow_up=True)
    recorder = _recorder(store, engine)
    words = "I have a headache"
    asked = [
        event
        for event in recorder.turn(words, consultation.ask(words))
        if isinstance(event, FollowUp)
    ]
    if not asked:
        pytest.fail("nothing was asked back; the test needs another complaint")

    def questions() -> tuple[str, ...]:
        saved = store.conversation(str(recorder.conversation))
        fields = summary_fields(saved, store.messages(saved.id), created="", versions={})
        answers = " ".join(turn.answer for turn in fields.turns)
        assert not any(question in answers for question in asked[0].questions)
        return fields.questions

    assert questions() == asked[0].questions
    (turn,) = restored_turns(store.messages(str(recorder.conversation)))
    assert turn == consultation.turns[0]
    more = "since yesterday, slowly, mild, no fever"
    list(recorder.turn(more, consultation.ask(more)))
    assert questions() == ()


def test_cautions_about_medicines_are_in_the_summary_and_the_disclaimer_is_not_twice(
    store: History,
) -> None:
    engine = ScriptedEngine()
    intake = Intake(medicines=("warfarin",))
    words = "Can I take ibuprofen for my mild headache?"
    recorder = _recorder(store, engine, intake=intake)
    events = list(recorder.turn(words, Consultation(engine, intake=intake).ask(words)))
    cautions = [
        event.message
        for event in events
        if isinstance(event, Notice) and event.message not in DISCLAIMER.values()
    ]
    saved = store.conversation(str(recorder.conversation))
    fields = summary_fields(saved, store.messages(saved.id), created="", versions={})
    assert cautions
    assert set(cautions) <= set(fields.remarks)
    assert not set(DISCLAIMER.values()) & set(fields.remarks)


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


def test_a_model_without_a_hash_of_its_tensors_is_known_by_its_files(tmp_path: Path) -> None:
    info = ScriptedEngine().load()
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    assert model_sha256(replace(info, path=path, bundle=None)) == base_fingerprint(path)


def test_what_is_saved_damaged_is_restored_empty() -> None:
    assessment = restored_assessment({"urgency": "soon", "findings": [{"rule": "r"}]})
    assert assessment.urgency == "unclear"
    assert assessment.findings[0].rule == "r"
    assert restored_turns([]) == ()


@pytest.mark.parametrize(
    ("words", "rules", "seed"),
    [
        ("What is a cold?", "Written by fixed rules", "Settings: temperature"),
        ("什么是感冒？", "由固定规则写成", "设置：temperature"),
    ],
)
def test_an_export_says_in_its_language_what_made_each_answer(
    store: History, words: str, rules: str, seed: str
) -> None:
    engine = ScriptedEngine()
    recorder = _recorder(store, engine)
    consultation = Consultation(engine)
    emergency = {"W": "My chest feels crushed", "什": "我胸口被压着一样痛"}[words[0]]
    for said in (words, emergency):
        list(recorder.turn(said, consultation.ask(said)))
    text = store.export(str(recorder.conversation))
    assert rules in text
    assert seed in text
    assert "seed 20250914" in text
    for raw in ("{", "written_by", "model_sha256", "[]"):
        assert raw not in text, raw
