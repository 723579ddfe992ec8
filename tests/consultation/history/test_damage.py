"""A damaged, foreign or newer file: kept aside or left alone, and the conversation goes on."""

from __future__ import annotations

import os
import random
import sqlite3
from pathlib import Path

import pytest

from sparsedoctor.app.consultation.history import (
    History,
    Trouble,
    database,
    disk_file,
    opening,
    schema,
)
from sparsedoctor.core.errors import SparseDoctorError


def _filled(file: Path, count: int = 40) -> None:
    with History.open(file) as store:
        for number in range(count):
            conversation = store.begin()
            store.add_user(conversation, f"question {number} " + "words " * 300)


def _troubles(store: History) -> list[Trouble]:
    return [notice.trouble for notice in store.take_notices()]


@pytest.mark.parametrize("rest", [b"not a database", os.urandom(8192), b"SQLite format 3\0" * 300])
def test_a_file_that_is_no_database_is_kept_aside_and_a_new_one_begun(
    tmp_path: Path, rest: bytes
) -> None:
    file = tmp_path / "h.db"
    file.write_bytes(rest)
    with History.open(file) as store:
        (notice,) = store.take_notices()
        assert notice.trouble is Trouble.DAMAGED
        store.add_user(store.begin(), "hello")
        assert store.saved
    (aside,) = tmp_path.glob("h.db.damaged-*")
    assert str(aside) in str(notice)
    assert aside.read_bytes() == rest
    with History.open(file) as store:
        assert _troubles(store) == []
        assert store.search("hello")


def test_what_can_be_read_of_a_damaged_file_is_taken_over(tmp_path: Path) -> None:
    file = tmp_path / "h.db"
    _filled(file)
    whole = file.read_bytes()
    end = len(whole) - 4096 * 3
    file.write_bytes(whole[:end] + b"\xff" * 4096 + whole[end + 4096 :])
    if _quick_check(file) == "ok":
        pytest.fail("the test did not damage anything")
    with History.open(file) as store:
        assert _troubles(store) == [Trouble.DAMAGED, Trouble.RESCUED]
        assert 0 < len(store.conversations()) <= 40
        assert store.search("question")
    assert _quick_check(file) == "ok"


@pytest.mark.parametrize("seed", range(15))
def test_no_damage_whatever_keeps_the_program_from_starting(tmp_path: Path, seed: int) -> None:
    file = tmp_path / "h.db"
    _filled(file, 8)
    chance = random.Random(seed)
    content = bytearray(file.read_bytes())
    for _ in range(chance.choice((1, 20, 300))):
        content[chance.randrange(len(content))] = chance.randrange(256)
    if chance.random() < 0.3:
        del content[chance.randrange(len(content)) :]
    file.write_bytes(content)
    with History.open(file) as store:
        conversation = store.begin()
        store.add_user(conversation, "hello")
        store.conversations("question")
        assert store.messages(conversation)[0].text == "hello"


def test_damage_found_while_another_window_is_open_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "KEEPER_SECONDS", 0.1)
    file = tmp_path / "h.db"
    _filled(file, 1)
    first = History.open(file)
    file.write_bytes(b"x" * 5000)
    with History.open(file) as store:
        assert _troubles(store) == [Trouble.DAMAGED_IN_USE]
        store.add_user(store.begin(), "hello")
        assert not store.saved
    assert not list(tmp_path.glob("h.db.damaged-*"))
    first.close()


def test_what_another_window_mended_meanwhile_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "KEEPER_SECONDS", 1.0)
    file, whole = tmp_path / "h.db", tmp_path / "whole.db"
    _filled(whole, 3)
    file.write_bytes(b"not a database")
    other = disk_file.KeeperLock(file)
    assert other.share(0)  # it mended the file, and uses it

    class Mending(disk_file.KeeperLock):
        def alone(self, seconds: float) -> bool:
            whole.replace(file)
            return super().alone(seconds)

    monkeypatch.setattr(opening, "KeeperLock", Mending)
    with History.open(file) as store:
        assert (store.saved, store.take_notices()) == (True, ())
        assert len(store.conversations()) == 3
    other.release()


def test_a_mended_file_that_another_window_takes_at_once_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "h.db"
    file.write_bytes(b"not a database")
    other = disk_file.KeeperLock(file)
    asked = []

    class Outrun(disk_file.KeeperLock):
        """Between being alone and sharing, where the system holds no lock at all."""

        def share(self, seconds: float) -> bool:
            asked.append(seconds)
            if len(asked) == 2:
                self.release()
                assert other.alone(0)
                self.__init__(file)  # type: ignore[misc]
            return super().share(seconds)

    monkeypatch.setattr(opening, "KeeperLock", Outrun)
    with History.open(file) as store:
        assert Trouble.LOCKED in _troubles(store)
        store.add_user(store.begin(), "hello")
        assert not store.saved  # in the file it would be lost as soon as that is replaced
        other.release()
        assert store.retry_saving()
    with History.open(file) as store:
        assert [one.title for one in store.conversations()] == ["hello"]


def test_tables_that_another_window_makes_meanwhile_are_no_damage(tmp_path: Path) -> None:
    file = tmp_path / "h.db"
    disk_file.prepare(file)
    connection = database.connect(file)

    class Watched:
        """Between two looks of this window another one makes the tables."""

        in_transaction = property(lambda self: connection.in_transaction)

        def execute(self, statement: str) -> sqlite3.Cursor:
            if "sqlite_master" in statement:
                History.open(file).close()
            return connection.execute(statement)

    assert schema.version_of(Watched()) == 0  # type: ignore[arg-type]
    assert schema.version_of(connection) == schema.VERSION
    connection.close()


def test_another_programs_database_is_refused_and_untouched(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE notes (text)")
        other.execute("INSERT INTO notes VALUES ('mine')")
    other.close()
    with pytest.raises(SparseDoctorError, match="another program"):
        History.open(file)
    with sqlite3.connect(file) as other:
        assert other.execute("SELECT text FROM notes").fetchall() == [("mine",)]
        assert len(other.execute("SELECT * FROM sqlite_master").fetchall()) == 1
    other.close()


@pytest.mark.parametrize("pragma", ["application_id", "user_version"])
def test_a_damaged_header_does_not_make_the_history_somebody_elses(
    tmp_path: Path, pragma: str
) -> None:
    file = tmp_path / "h.db"
    _filled(file, 3)
    with sqlite3.connect(file) as connection:
        connection.execute(f"PRAGMA {pragma} = 0")
    connection.close()
    with History.open(file) as store:
        assert _troubles(store) == [Trouble.DAMAGED, Trouble.RESCUED]
        assert len(store.conversations()) == 3
        assert store.saved


def test_a_newer_history_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "h.db"
    _filled(file, 1)
    with sqlite3.connect(file) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()
    with History.open(file) as store:
        assert _troubles(store) == [Trouble.NEWER]
        store.add_user(store.begin(), "hello")
        assert not store.saved
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT count(*) FROM message").fetchone() == (1,)
    connection.close()


def test_an_older_history_is_copied_then_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "h.db"
    _filled(file, 3)
    _add_migration(monkeypatch, "ALTER TABLE conversation ADD COLUMN colour TEXT DEFAULT 'red'")
    with History.open(file) as store:
        assert len(store.conversations()) == 3
        assert _troubles(store) == []
    (backup,) = tmp_path.glob("h.db.before-*")
    assert backup.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(backup) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION - 1,)
        assert connection.execute("SELECT count(*) FROM message").fetchone() == (3,)
    connection.close()
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        assert connection.execute("SELECT DISTINCT colour FROM conversation").fetchall() == [
            ("red",)
        ]
    connection.close()
    with History.open(file) as store:
        assert len(list(tmp_path.glob("h.db.before-*"))) == 1
        store.delete(store.conversations()[0].id)
    assert not list(tmp_path.glob("h.db.before-*"))


def test_a_migration_that_fails_leaves_the_history_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "h.db"
    _filled(file, 3)
    _add_migration(
        monkeypatch,
        "ALTER TABLE conversation ADD COLUMN colour TEXT",
        "CREATE UNIQUE INDEX one_of_each ON message (role)",  # there are three of one
    )
    with History.open(file) as store:
        assert _troubles(store) == [Trouble.FAILED]
        store.add_user(store.begin(), "hello")
    monkeypatch.undo()
    with History.open(file) as store:
        assert len(store.conversations()) == 3
        assert _troubles(store) == []


def _add_migration(monkeypatch: pytest.MonkeyPatch, *statements: str) -> None:
    migrations = (*schema.MIGRATIONS, statements)
    monkeypatch.setattr(schema, "MIGRATIONS", migrations)
    monkeypatch.setattr(schema, "VERSION", len(migrations))


def _quick_check(file: Path) -> str:
    connection = sqlite3.connect(file)
    try:
        return str(connection.execute("PRAGMA quick_check (1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        connection.close()
