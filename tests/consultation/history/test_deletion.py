"""Deleted words are in none of the files any more."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from sparsedoctor.app.consultation.history import History, Trouble, disk_file, history
from sparsedoctor.core.errors import SparseDoctorError

WORDS = ("haemorrhoid-9041", "痔疮出血第九次")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "history.db"


def _fill(store: History, count: int = 30) -> list[str]:
    """Conversations whose every message holds WORDS, among longer ones that do not."""
    conversations = []
    for number in range(count):
        conversation = store.begin(title=WORDS[0], intake={"conditions": WORDS})
        store.add_user(conversation, f"{number} {WORDS[0]} {WORDS[1]} " + "filler " * 200)
        answer = store.answer_begin(conversation)
        store.answer_append(answer, f"About {WORDS[0]} and {WORDS[1]}")
        store.answer_finish(answer, assessment={"words": WORDS[1]})
        conversations.append(conversation)
        other = store.begin()
        store.add_user(other, "something else entirely " * 100)
    return conversations


def _files_with_words(folder: Path) -> list[tuple[str, str]]:
    found = []
    for path in folder.rglob("*"):
        # the index holds the folded words in pieces of three characters, of which neighbours
        # share what they begin with: 疮 stands in the middle and nowhere else
        for words in (*WORDS, WORDS[0][:11], WORDS[1][:4], "疮"):
            if path.is_file() and words.encode() in path.read_bytes():
                found.append((path.name, words))
    return found


def test_the_search_for_words_in_the_files_finds_what_is_there(file: Path) -> None:
    with History.open(file) as store:
        _fill(store, 2)
        assert _files_with_words(file.parent)


def test_deleting_one_removes_its_words_from_every_file(file: Path) -> None:
    with History.open(file) as store:
        for conversation in _fill(store):
            store.delete(conversation)
        assert _files_with_words(file.parent) == []
        assert len(store.conversations()) == 30
        assert len(store.search("something els")) == 30
        assert store.take_notices() == ()
    assert _files_with_words(file.parent) == []


def test_deleting_all_removes_the_words_from_every_file(file: Path) -> None:
    with History.open(file) as store:
        _fill(store)
        aside = Path(f"{file}.damaged-1")
        backup = Path(f"{file}.before-2-1")
        for old in (aside, backup, Path(f"{aside}-wal")):
            old.write_text(WORDS[0])
        full = file.stat().st_size
        store.delete_all()
        assert _files_with_words(file.parent) == []
        assert store.conversations() == []
        assert store.take_notices() == ()
        assert file.stat().st_size < full / 3  # rewritten, not only overwritten
    assert _files_with_words(file.parent) == []


def test_deleting_while_another_window_is_open_removes_the_words_too(file: Path) -> None:
    with History.open(file) as store, History.open(file) as other:
        _fill(store, 3)
        assert len(other.search(WORDS[1])) == 6
        store.delete_all()
        assert other.conversations() == []
        assert _files_with_words(file.parent) == []


def test_a_rewrite_that_was_prevented_is_done_at_the_next_start(file: Path) -> None:
    with History.open(file) as store:
        _fill(store, 3)
        reader = sqlite3.connect(file)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM message").fetchone()
        store._storage._connection.execute("PRAGMA busy_timeout = 10")
        store.delete_all()
        assert [notice.trouble for notice in store.take_notices()] == [Trouble.NOT_COMPACTED]
        assert _files_with_words(file.parent)
        reader.close()
    with History.open(file) as store:
        assert _files_with_words(file.parent) == []
        assert store.take_notices() == ()


def test_deleting_one_tells_of_a_damaged_file_that_may_hold_its_words(file: Path) -> None:
    with History.open(file) as store:
        (conversation,) = _fill(store, 1)
        Path(f"{file}.damaged-1").write_text("older")
        store.delete(conversation)
        (notice,) = store.take_notices()
        assert notice.trouble is Trouble.DAMAGED_KEPT
        assert ".damaged-1" in notice.text("en")
        assert ".damaged-1" in notice.text("zh")


def test_a_deletion_that_fails_says_so_and_deletes_nothing(file: Path) -> None:
    with History.open(file) as store:
        _fill(store, 2)
        blocker = sqlite3.connect(file, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        store._storage._connection.execute("PRAGMA busy_timeout = 10")
        with pytest.raises(SparseDoctorError, match="nothing was deleted"):
            store.delete_all()
        blocker.close()
        assert len(store.conversations()) == 4


def test_deleting_what_was_going_on_in_memory_deletes_it_in_the_file_too(file: Path) -> None:
    with History.open(file) as store:
        (conversation,) = _fill(store, 1)
        blocker = sqlite3.connect(file, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        store._storage._connection.execute("PRAGMA busy_timeout = 10")
        store.add_user(conversation, "goes on")
        assert not store.saved
        blocker.close()
        store.delete(conversation)
        assert store.saved
        assert _files_with_words(file.parent) == []


def test_the_names_of_kept_files_are_those_that_are_removed(file: Path) -> None:
    file.parent.mkdir()
    backup = disk_file.backup_path(file, 2)
    backup.write_text("x")
    disk_file.remove_backups(file)
    assert not backup.exists()
    assert history.FILE_NAME == "history.db"
