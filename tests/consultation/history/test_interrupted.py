"""What a model wrote and nobody reviewed yet is reviewed before it is kept or shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sparsedoctor.app.consultation.consultation import Consultation
from sparsedoctor.app.consultation.history import History, history, summary_fields
from sparsedoctor.app.consultation.history.recorder import Recorder, restored_turns
from sparsedoctor.core.engine.protocol import TextDelta
from sparsedoctor.core.engine.scripted import Reply, ScriptedEngine

WORDS = "I have had a mild headache for two days"
DOSE = "Take warfarin 5 mg twice a day and see https://example.org/warfarin today."


def _is_reviewed(text: str) -> bool:
    return "example.org" not in text and "5 mg" not in text


def test_what_is_cut_short_is_reviewed_before_it_is_kept() -> None:
    engine = ScriptedEngine([Reply((DOSE, " more"))])
    with History.private() as store:
        recorder = Recorder(store, model=engine.load())
        events = recorder.turn(WORDS, Consultation(engine).ask(WORDS))
        next(event for event in events if isinstance(event, TextDelta))
        events.close()
        answer = store.messages(str(recorder.conversation))[1]
    assert answer.status == "cancelled"
    assert answer.text
    assert _is_reviewed(answer.text)
    assert answer.assessment["remarks"]


def _all_shown(store: History) -> list[str]:
    """The answer of the only conversation, everywhere it comes up."""
    (conversation,) = store.conversations()
    messages = store.messages(conversation.id)
    fields = summary_fields(conversation, messages, created="", versions={})
    (turn,) = restored_turns(messages)
    exported = [store.export(conversation.id, form) for form in ("markdown", "json")]
    found = [match.excerpt for match in store.search("warfarin")]
    return [turn.answer, fields.turns[0].answer, *exported, *found]


def test_what_a_killed_program_left_is_reviewed_at_the_next_start(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path\n"
        "from sparsedoctor.app.consultation.history import History, history\n"
        "history.SAVE_SECONDS = 0.0\n"
        "s = History.open(Path(sys.argv[1])); c = s.begin(); s.add_user(c, 'q')\n"
        "s.answer_append(s.answer_begin(c), sys.argv[2]); os.kill(os.getpid(), 9)\n"
    )
    file = tmp_path / "h.db"
    subprocess.run([sys.executable, "-c", program, str(file), DOSE])
    with History.open(file) as store:
        shown = _all_shown(store)
        assert len(shown) == 5
        assert all(map(_is_reviewed, shown))


def _growing(store: History) -> str:
    """An answer that has begun to grow and is saved so far."""
    conversation = store.begin()
    store.add_user(conversation, "q")
    answer = store.answer_begin(conversation)
    store.answer_append(answer, DOSE)
    return answer


def test_what_grows_when_the_history_is_closed_is_reviewed(tmp_path: Path) -> None:
    with History.open(tmp_path / "h.db") as store:
        _growing(store)
    with History.open(tmp_path / "h.db") as store:
        shown = _all_shown(store)
        assert len(shown) == 5
        assert all(map(_is_reviewed, shown))


def test_what_grows_in_another_window_is_reviewed_where_it_is_shown_and_branched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SAVE_SECONDS", 0.0)
    with History.open(tmp_path / "h.db") as store, History.open(tmp_path / "h.db") as other:
        answer = _growing(store)
        assert all(map(_is_reviewed, _all_shown(other)))
        branched = other.messages(other.branch(answer))[1]
        assert (branched.status, _is_reviewed(branched.text)) == ("cancelled", True)
        assert other.search("dose removed")
        store.answer_append(answer, " It ")
        store.answer_finish(answer, text="Reviewed.", assessment={"remarks": []})
        (original,) = (one for one in store.conversations() if one.parent is None)
        assert store.messages(original.id)[1].text == "Reviewed."


@pytest.mark.parametrize(
    ("region", "kept"), [("CN", "请立即拨打120"), ("US", "Call 911 now"), ("GB", "Call 999 now")]
)
def test_the_numbers_of_the_persons_region_stay_in_what_is_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, region: str, kept: str
) -> None:
    monkeypatch.setattr(history, "SAVE_SECONDS", 0.0)
    with History.open(tmp_path / "h.db") as store, History.open(tmp_path / "h.db") as other:
        conversation = store.begin()
        store.add_user(conversation, "q", {"numbers": {"region": region}})
        answer = store.answer_begin(conversation)
        store.answer_append(answer, f"{kept}. Call 5550123456 too.")
        (shown,) = restored_turns(other.messages(conversation))
        branched = other.messages(other.branch(answer))[1].text
    with History.open(tmp_path / "h.db") as store:
        closed = store.messages(conversation)[1].text
    for text in (shown.answer, branched, closed):
        assert text.startswith(kept)
        assert "5550123456" not in text


def test_what_the_rules_write_is_kept_as_it_is(tmp_path: Path) -> None:
    with History.open(tmp_path / "h.db") as store:
        conversation = store.begin()
        store.add_user(conversation, "q")
        answer = store.answer_begin(conversation, {"written_by": "rules"})
        store.answer_append(answer, "Call 999 now.")
    with History.open(tmp_path / "h.db") as store:
        messages = store.messages(conversation)
        assert messages[1].text == "Call 999 now."
        assert restored_turns(messages)[0].answer == "Call 999 now."


def test_answers_that_earlier_versions_saved_without_review_are_shown_reviewed(
    tmp_path: Path,
) -> None:
    file = tmp_path / "h.db"
    with History.open(file) as store:
        store.answer_finish(_growing(store), "cancelled")
        (conversation,) = store.conversations()
        assert store.messages(conversation.id)[1].text == DOSE
        assert len(_all_shown(store)) == 5
        assert all(map(_is_reviewed, _all_shown(store)))
