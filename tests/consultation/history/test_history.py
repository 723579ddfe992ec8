"""A person's conversations: saved as they happen, listed, found, branched, exported."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparsedoctor.app.consultation.history import History, disk_file, history, write_private
from sparsedoctor.core.errors import SparseDoctorError


@pytest.fixture(params=["file", "private"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[History]:
    with (
        History.open(tmp_path / "h.db") if request.param == "file" else History.private()
    ) as opened:
        yield opened


def _files(*folders: Path) -> set[Path]:
    return {path for folder in folders for path in folder.rglob("*")}


def _talk(store: History, *turns: tuple[str, str], **begin: str) -> str:
    conversation = store.begin(**begin)
    for words, answer in turns:
        store.add_user(conversation, words)
        message = store.answer_begin(conversation)
        store.answer_append(message, answer)
        store.answer_finish(message)
    return conversation


def test_a_turn_is_kept_with_everything_that_belongs_to_it(store: History) -> None:
    conversation = store.begin(
        language="en", model="m", model_sha256="ab", intake={"age": 41, "allergies": ["latex"]}
    )
    store.add_user(conversation, "I have a headache", {"urgency": "days", "rules": ["x"]})
    answer = store.answer_begin(conversation, {"seed": 7})
    store.answer_append(answer, "Since ")
    store.answer_append(answer, "when?")
    store.answer_finish(
        answer, generation={"seed": 7, "version": "1"}, routing=(0.25, 0.75), assessment={"a": 1}
    )
    user, assistant = store.messages(conversation)
    assert (user.role, user.text, user.status) == ("user", "I have a headache", "done")
    assert user.assessment == {"urgency": "days", "rules": ["x"]}
    assert (assistant.text, assistant.status) == ("Since when?", "done")
    assert assistant.generation == {"seed": 7, "version": "1"}
    assert assistant.routing == (0.25, 0.75)
    listed = store.conversation(conversation)
    assert (listed.title, listed.model, listed.messages) == ("I have a headache", "m", 2)
    assert listed.intake == {"age": 41, "allergies": ["latex"]}


def test_the_reviewed_text_replaces_what_grew(store: History) -> None:
    conversation = store.begin()
    store.add_user(conversation, "q")
    answer = store.answer_begin(conversation)
    store.answer_append(answer, "take 500 mg")
    store.answer_finish(answer, text="[dose removed]")
    assert store.messages(conversation)[1].text == "[dose removed]"
    assert store.search("500 mg") == []
    assert store.search("dose removed")


@pytest.mark.parametrize("status", ["done", "cancelled", "error"])
def test_an_answer_ends_with_its_status(store: History, status: str) -> None:
    conversation = store.begin()
    store.add_user(conversation, "q")
    answer = store.answer_begin(conversation)
    assert store.messages(conversation)[1].status == "streaming"
    store.answer_append(answer, "so far")
    store.answer_finish(answer, status, error="why")  # type: ignore[arg-type]
    assert store.messages(conversation)[1].status == status
    assert store.messages(conversation)[1].text == "so far"
    store.answer_append(answer, "more")
    store.answer_finish(answer, "done", text="other")
    assert store.messages(conversation)[1].status == status
    assert store.messages(conversation)[1].text == "so far"


def test_the_answer_is_saved_while_it_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SAVE_SECONDS", 0.0)
    with History.open(tmp_path / "h.db") as store, History.open(tmp_path / "h.db") as other:
        conversation = store.begin()
        store.add_user(conversation, "q")
        answer = store.answer_begin(conversation)
        store.answer_append(answer, "one ")
        store.answer_append(answer, "two")
        seen = other.messages(conversation)[1]
        assert (seen.text, seen.status) == ("one two", "streaming")
        store.answer_finish(answer)


def test_an_answer_is_not_written_at_every_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SAVE_SECONDS", 1e9)
    with History.open(tmp_path / "h.db") as store, History.open(tmp_path / "h.db") as other:
        conversation = store.begin()
        store.add_user(conversation, "q")
        answer = store.answer_begin(conversation)
        for _ in range(100):
            store.answer_append(answer, "word ")
        assert other.messages(conversation)[1].text == ""
        store.answer_finish(answer)
        assert other.messages(conversation)[1].text == "word " * 100


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("胸痛", "我爸突然胸痛，出冷汗"),
        ("胸口", "胸口闷得慌"),
        ("胸", "胸口闷得慌"),
        ("chest pai", "Sudden Chest  PAIN since noon"),
        ("noon chest", "Sudden Chest  PAIN since noon"),
        ("ｃｈｅｓｔ", "Sudden Chest  PAIN since noon"),
        ('38.5"', 'she wrote "38.5"'),
        ("100%", "saturation 100% now"),
        ("a_b", "the code a_b"),
    ],
)
def test_any_piece_of_a_text_is_found(store: History, query: str, found: str) -> None:
    for words in ("我爸突然胸痛，出冷汗", "胸口闷得慌", "Sudden Chest  PAIN since noon"):
        _talk(store, (words, "..."))
    for words in ('she wrote "38.5"', "saturation 100% now", "the code a_b", "code axb 1000"):
        _talk(store, (words, "..."))
    texts = [
        message.text
        for match in store.search(query)
        for message in store.messages(match.conversation)
        if message.id == match.message
    ]
    assert found in texts
    assert [one.title for one in store.conversations(query)]
    assert len(texts) < 7


@pytest.mark.parametrize("query", ["", "  ", "AND", '"', "*", "胸痛 OR", "nothing like it", "-x"])
def test_odd_queries_find_nothing_and_break_nothing(store: History, query: str) -> None:
    _talk(store, ("胸口闷得慌", "Since when"))
    assert store.search(query) == []


def test_answers_and_titles_are_found_too(store: History) -> None:
    conversation = _talk(store, ("q", "Drink plenty of water"))
    store.rename(conversation, "  Summer \n fever ")
    assert store.search("plenty of")[0].role == "assistant"
    assert [one.title for one in store.conversations("mer fev")] == ["Summer fever"]
    assert store.conversations("winter") == []


def test_an_excerpt_shows_the_place(store: History) -> None:
    _talk(store, ("before " * 50 + "the rash on my left arm " + "after " * 50, "..."))
    (match,) = store.search("left arm")
    assert "left arm" in match.excerpt
    assert len(match.excerpt) < 100


def test_pinned_conversations_come_first_then_the_last_used(store: History) -> None:
    first, second, third = (_talk(store, (words, "a")) for words in ("one", "two", "three"))
    store.pin(first)
    store.add_user(second, "more")
    assert [one.id for one in store.conversations()] == [first, second, third]
    store.pin(first, False)
    assert [one.id for one in store.conversations()] == [second, third, first]


def test_a_conversation_without_words_is_not_listed(tmp_path: Path) -> None:
    with History.open(tmp_path / "h.db") as store:
        empty = store.begin()
        assert store.conversations() == []
    with (
        History.open(tmp_path / "h.db") as store,
        pytest.raises(SparseDoctorError, match="not in the history"),
    ):
        store.conversation(empty)


def test_a_branch_takes_along_what_was_said_before(store: History) -> None:
    conversation = _talk(store, ("one", "a"), ("two", "b"), language="zh", model="m")
    answer = store.messages(conversation)[1]
    branch = store.branch(answer.id)
    store.add_user(branch, "other")
    assert [message.text for message in store.messages(branch)] == ["one", "a", "other"]
    assert [message.text for message in store.messages(conversation)] == ["one", "a", "two", "b"]
    about = store.conversation(branch)
    assert (about.parent, about.branched_at) == (conversation, answer.id)
    assert (about.language, about.model) == ("zh", "m")
    store.delete(conversation)
    assert [message.text for message in store.messages(branch)] == ["one", "a", "other"]
    assert store.conversation(branch).parent is None
    assert len(store.search("one")) == 1
    with pytest.raises(SparseDoctorError, match="not in the history"):
        store.branch("0" * 32)


def test_deleting_one_leaves_the_others(store: History) -> None:
    gone, kept = _talk(store, ("alpha words", "a")), _talk(store, ("beta words", "b"))
    store.delete(gone)
    assert [one.id for one in store.conversations()] == [kept]
    assert store.search("alpha") == []
    assert [match.conversation for match in store.search("words")] == [kept]


def test_words_in_a_conversation_deleted_elsewhere_begin_it_anew(tmp_path: Path) -> None:
    with History.open(tmp_path / "h.db") as store, History.open(tmp_path / "h.db") as other:
        conversation = _talk(store, ("one", "a"))
        store.add_user(conversation, "two")
        answer = store.answer_begin(conversation)
        other.delete(conversation)
        store.answer_append(answer, "late")
        store.answer_finish(answer)
        assert store.conversations() == []
        store.add_user(conversation, "three")
        assert [message.text for message in other.messages(conversation)] == ["three"]


def test_markdown_export_reads_like_the_conversation(store: History) -> None:
    conversation = _talk(store, ("我头疼", "多久了？"), language="zh", model="m", model_sha256="ab")
    text = store.export(conversation, "markdown")
    assert text.index("我头疼") < text.index("多久了？")
    assert "不是医生" in text
    assert "m ab" in text


def test_json_export_has_everything_and_the_disclaimer(store: History) -> None:
    conversation = _talk(store, ("call me on +1 202-555-0143", "hello"))
    document = json.loads(store.export(conversation, "json"))
    assert "not a doctor" in document["disclaimer"]["en"]
    assert [message["role"] for message in document["messages"]] == ["user", "assistant"]
    clean = store.export(conversation, "json", without_identifiers=True)
    assert "555-0143" in store.export(conversation, "json")
    assert "555-0143" not in clean  # "555" alone may stand in a time of day
    assert "555-0143" not in store.export(conversation, "markdown", without_identifiers=True)
    assert json.loads(clean)["messages"][0]["created"] == document["messages"][0]["created"]
    assert json.loads(clean)["conversation"]["id"] == conversation


def test_an_export_is_for_its_owner_alone(tmp_path: Path) -> None:
    target = tmp_path / "e.md"
    target.write_text("old")
    target.chmod(0o644)
    write_private(target, "new\n")
    assert target.read_text() == "new\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(SparseDoctorError, match="cannot write"):
        write_private(tmp_path / "absent" / "e.md", "x")


def test_the_default_place_is_the_data_folder(home: Path) -> None:
    old = os.umask(0)  # the widest: permissions must not depend on it
    try:
        with History.open() as store:
            _talk(store, ("one", "a"))
            assert store.path == home / "data" / "history.db"
            assert stat.S_IMODE((home / "data").stat().st_mode) == 0o700
            names = {file.name for file in (home / "data").iterdir()}
            assert {"history.db", "history.db-wal", "history.db-shm"} <= names
            for file in (home / "data").iterdir():
                assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    finally:
        os.umask(old)


def test_the_file_is_private_before_anybody_makes_it_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_file, "make_private", lambda path: None)
    old = os.umask(0)
    try:
        with History.open(tmp_path / "new" / "h.db") as store:
            _talk(store, ("one", "a"))
            assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
            for file in (tmp_path / "new").iterdir():
                assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    finally:
        os.umask(old)


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),  # FULL
        ("secure_delete", 1),
        ("temp_store", 2),  # MEMORY
        ("foreign_keys", 1),
        ("busy_timeout", 5000),
    ],
)
def test_the_connection_is_set_up_to_keep_and_to_forget(
    tmp_path: Path, pragma: str, value: object
) -> None:
    with History.open(tmp_path / "h.db") as store:
        row = store._storage._connection.execute(f"PRAGMA {pragma}").fetchone()
        assert row == (value,)


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    with History.open(tmp_path / "h.db") as store:
        _talk(store, ("one", "a"))
    (tmp_path / "h.db").chmod(0o644)
    with History.open(tmp_path / "h.db"):
        assert stat.S_IMODE((tmp_path / "h.db").stat().st_mode) == 0o600


def test_a_folder_that_others_could_read_is_closed_to_them(home: Path) -> None:
    (home / "data").mkdir(mode=0o755)
    with History.open():
        assert stat.S_IMODE((home / "data").stat().st_mode) == 0o700


def test_a_closed_history_says_so_and_lets_a_late_answer_go(store: History) -> None:
    conversation = store.begin()
    store.add_user(conversation, "q")
    answer = store.answer_begin(conversation)
    store.close()
    store.answer_append(answer, "late")
    store.answer_finish(answer)
    for use in (store.begin, store.conversations, store.delete_all):
        with pytest.raises(SparseDoctorError, match="closed"):
            use()


def test_a_private_history_writes_nothing(home: Path, tmp_path: Path) -> None:
    before = _files(home, tmp_path)
    with History.private() as store:
        conversation = _talk(store, ("secret words", "a"))
        assert store.search("secret")
        store.delete(conversation)
        assert store.path is None
        assert not store.saved
    assert _files(home, tmp_path) == before


def test_threads_may_use_one_history_together(store: History) -> None:
    errors: list[BaseException] = []

    def talk(number: int) -> None:
        try:
            conversation = _talk(store, *((f"{number} asks {turn}", "a" * 50) for turn in range(5)))
            assert len(store.messages(conversation)) == 10
            assert store.search(f"{number} asks")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(store.conversations()) == 8
