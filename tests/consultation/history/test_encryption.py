"""An encrypted history: unreadable without the passphrase, converted both ways without loss."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sparsedoctor.app.consultation.history import (
    LOST_WITHOUT,
    History,
    PassphraseNeeded,
    Trouble,
    WrongPassphrase,
    convert_history,
    disk_file,
    encryption,
    is_encrypted,
    opening,
    schema,
)
from sparsedoctor.core.errors import SparseDoctorError

PASSPHRASE = "correct horse '密码' ü"
WORDS = "胸口闷得慌 chest pain-7731"


@pytest.fixture
def cipher() -> None:
    pytest.importorskip("sqlcipher3", reason="the extra `encrypt` is not installed")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window waits a tenth of a second for another one."""
    monkeypatch.setattr(opening, "KEEPER_SECONDS", 0.1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "h.db"


@pytest.fixture
def converting(file: Path) -> disk_file.KeeperLock:
    """Another window's lock on a filled history, as held while its file is replaced."""
    _fill(file)
    lock = disk_file.KeeperLock(file)
    assert lock.alone(0)
    return lock


def _fill(file: Path, passphrase: str | None = None, count: int = 5) -> list[str]:
    with History.open(file, passphrase) as store:
        for number in range(count):
            conversation = store.begin(title=f"{number}", language="zh", intake={"age": number})
            store.add_user(conversation, f"{number} {WORDS}", {"urgency": "days"})
            answer = store.answer_begin(conversation, {"seed": number})
            store.answer_append(answer, "answer " * 100)
            store.answer_finish(answer, routing=(0.5, 0.5))
        store.pin(conversation)
        store.branch(store.messages(conversation)[0].id)
        return _everything(store)


def _everything(store: History) -> list[str]:
    listed = sorted(store.conversations(), key=lambda one: one.id)
    return [f"{one} {message}" for one in listed for message in store.messages(one.id)]


def _files_with_words(file: Path) -> list[str]:
    return [
        path.name
        for path in file.parent.iterdir()
        if any(word.encode() in path.read_bytes() for word in ("胸口", "pain-7731", "SQLite for"))
    ]


@pytest.mark.usefixtures("cipher")
def test_a_history_is_encrypted_and_decrypted_without_loss(file: Path) -> None:
    everything = _fill(file)
    assert _files_with_words(file)
    assert convert_history(None, PASSPHRASE, file) == []
    assert is_encrypted(file)
    assert _files_with_words(file) == []
    with History.open(file, PASSPHRASE) as store:
        assert store.saved
        assert store.take_notices() == ()
        assert _everything(store) == everything
        assert len(store.search("胸口")) == len(store.search("chest pai")) == 6
        assert _files_with_words(file) == []
    convert_history(PASSPHRASE, "another", file)
    with pytest.raises(WrongPassphrase):
        History.open(file, PASSPHRASE)
    convert_history("another", None, file)
    assert not is_encrypted(file)
    with History.open(file) as store:
        assert _everything(store) == everything
    assert not list(file.parent.glob("*.new-*"))


@pytest.mark.usefixtures("cipher")
def test_every_file_of_an_encrypted_history_is_private_and_unreadable(file: Path) -> None:
    old = os.umask(0)
    try:
        _fill(file)
        convert_history(None, PASSPHRASE, file)
        with History.open(file, PASSPHRASE) as store:
            store.add_user(store.begin(), WORDS)
            for path in file.parent.iterdir():
                assert path.stat().st_mode & 0o777 == 0o600, path
            assert _files_with_words(file) == []
            store.delete_all()
            assert store.conversations() == []
            assert store.take_notices() == ()
    finally:
        os.umask(old)


@pytest.mark.usefixtures("cipher")
def test_without_or_with_a_wrong_passphrase_it_stays_shut(
    file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _fill(file)
    convert_history(None, PASSPHRASE, file)
    before = file.read_bytes()
    with pytest.raises(PassphraseNeeded, match="passphrase"):
        History.open(file)
    for wrong in ("wrong", PASSPHRASE + " ", "' OR 1", "\U0001f600"):
        with pytest.raises(WrongPassphrase) as refused:
            History.open(file, wrong)
        assert "\n" not in str(refused.value)
        with pytest.raises(WrongPassphrase):
            convert_history(wrong, None, file)
    with pytest.raises(SparseDoctorError, match="cannot be empty"):
        History.open(file, "")
    assert capfd.readouterr() == ("", "")  # SQLCipher's own lines would break a screen
    assert file.read_bytes() == before
    assert not list(file.parent.glob("*.damaged-*"))
    with History.open(file, PASSPHRASE) as store:
        assert len(store.conversations()) == 6


@pytest.mark.usefixtures("cipher")
def test_the_same_letters_typed_another_way_are_the_same_passphrase(file: Path) -> None:
    _fill(file)
    convert_history(None, "M\u00fcller", file)
    with History.open(file, "Mu\u0308ller") as store:
        assert store.conversations()


@pytest.mark.parametrize("passphrase", ["", "a\0b"])
@pytest.mark.usefixtures("cipher")
def test_what_cannot_be_a_passphrase_is_refused(file: Path, passphrase: str) -> None:
    everything = _fill(file)
    with pytest.raises(SparseDoctorError, match="passphrase cannot be"):
        convert_history(None, passphrase, file)
    with History.open(file) as store:
        assert _everything(store) == everything


@pytest.mark.usefixtures("cipher", "impatient")
def test_an_open_window_prevents_the_conversion(file: Path) -> None:
    _fill(file)
    with History.open(file) as store:
        with pytest.raises(SparseDoctorError, match="another window"):
            convert_history(None, PASSPHRASE, file)
        store.add_user(store.begin(), "goes on")
        assert store.saved
    assert not is_encrypted(file)
    assert not list(file.parent.glob("*.new-*"))


@pytest.mark.usefixtures("cipher", "impatient")
def test_a_second_conversion_at_once_leaves_the_first_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(file)
    first = disk_file.KeeperLock(file)
    assert first.share(0)
    of_first = Path(f"{file}.new-of-first")
    own = disk_file.unfinished_path

    def unfinished_path(path: Path) -> Path:
        of_first.touch()  # begun after the second one looked for left ones
        return own(path)

    monkeypatch.setattr(disk_file, "unfinished_path", unfinished_path)
    with pytest.raises(SparseDoctorError, match="open in another window"):
        convert_history(None, PASSPHRASE, file)
    assert of_first.exists()
    assert sorted(file.parent.glob("*.new-*")) == [of_first]
    first.release()


@pytest.mark.usefixtures("cipher", "impatient")
def test_a_window_opened_during_a_conversion_keeps_out_of_its_way(
    file: Path, converting: disk_file.KeeperLock
) -> None:
    with History.open(file) as store:
        assert not store.saved
        assert store.conversations() == []  # reading would hold the file that is replaced
    converting.release()


@pytest.mark.usefixtures("cipher", "impatient")
def test_a_window_without_the_file_is_told_once_that_it_was_encrypted(
    file: Path, converting: disk_file.KeeperLock
) -> None:
    with History.open(file) as store:
        assert [notice.trouble for notice in store.take_notices()] == [Trouble.LOCKED]
        converting.release()
        convert_history(None, PASSPHRASE, file)
        store.add_user(store.begin(), "hello")
        assert not store.retry_saving()
        (told,) = store.take_notices()
        assert "is encrypted; give its passphrase" in str(told)
        assert "is not saved. Export it before you close the program." in str(told)
        assert not store.retry_saving()
        assert store.take_notices() == ()
        convert_history(PASSPHRASE, None, file)
        assert store.retry_saving()
        assert [notice.trouble for notice in store.take_notices()] == [Trouble.SAVED_AGAIN]


@pytest.mark.usefixtures("cipher")
def test_a_copy_that_is_gone_leaves_a_plain_file_plain(file: Path) -> None:
    _fill(file)
    with pytest.raises(FileNotFoundError):
        encryption._take_place(Path(f"{file}.gone"), file, plain=True, encrypted=True)
    assert not is_encrypted(file)


@pytest.mark.usefixtures("cipher")
def test_a_passphrase_for_a_plain_history_is_told_to_be_needless(file: Path) -> None:
    _fill(file)
    with History.open(file, "needless") as store:
        assert [notice.trouble for notice in store.take_notices()] == [Trouble.NOT_ENCRYPTED]
        assert len(store.conversations()) == 6


@pytest.mark.usefixtures("cipher")
def test_a_file_that_was_copied_without_its_marker_opens_with_its_passphrase(file: Path) -> None:
    _fill(file)
    convert_history(None, PASSPHRASE, file)
    disk_file.marker(file).unlink()
    with pytest.raises(WrongPassphrase):
        History.open(file, "wrong")
    with History.open(file, PASSPHRASE) as store:
        assert len(store.conversations()) == 6
    assert is_encrypted(file)


@pytest.mark.usefixtures("cipher")
def test_damage_in_an_encrypted_history_is_kept_aside_and_a_new_one_is_encrypted(
    file: Path,
) -> None:
    _fill(file, count=40)
    convert_history(None, PASSPHRASE, file)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with History.open(file, PASSPHRASE) as store:
        assert store.take_notices()[0].trouble is Trouble.DAMAGED
        store.add_user(store.begin(), WORDS)
        assert store.saved
        assert _files_with_words(file) == []
    with History.open(file, PASSPHRASE) as store:
        assert store.take_notices() == ()
        assert store.search("chest pai")


@pytest.mark.usefixtures("cipher")
def test_an_older_encrypted_history_is_copied_encrypted_then_migrated(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(file)
    convert_history(None, PASSPHRASE, file)
    statements = ("ALTER TABLE conversation ADD COLUMN colour TEXT DEFAULT 'red'",)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, statements))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    with History.open(file, PASSPHRASE) as store:
        assert store.take_notices() == ()
        assert len(store.conversations()) == 6
    (backup,) = file.parent.glob("h.db.before-*")
    assert backup.stat().st_size > 4096
    assert _files_with_words(file) == []
    monkeypatch.undo()
    disk_file.marker(backup).touch()
    with History.open(backup, PASSPHRASE) as store:
        assert len(store.conversations()) == 6


@pytest.mark.usefixtures("cipher")
def test_a_failing_disk_is_survived_when_encrypted_too(file: Path) -> None:
    _fill(file)
    convert_history(None, PASSPHRASE, file)
    with History.open(file, PASSPHRASE) as store:
        conversation = store.conversations()[0].id
        store._storage._connection.execute("PRAGMA query_only = ON")
        store.add_user(conversation, "goes on in memory")
        assert [notice.trouble for notice in store.take_notices()] == [Trouble.READ_ONLY]
        assert len(store.conversations()) == 6
        assert store.search("goes on")
        assert store.retry_saving()
    with History.open(file, PASSPHRASE) as store:
        assert store.search("goes on")


@pytest.mark.usefixtures("cipher")
@pytest.mark.parametrize("step", ["copying", "checking", "replacing"])
@pytest.mark.parametrize("encrypting", [True, False])
def test_a_conversion_that_fails_at_any_step_loses_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch, step: str, encrypting: bool
) -> None:
    everything = _fill(file)
    old, new = (None, PASSPHRASE) if encrypting else (PASSPHRASE, None)
    if not encrypting:
        convert_history(None, PASSPHRASE, file)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if step == "copying":
            patch.setattr(encryption.copying, "copy_all", fail)
        elif step == "checking":
            patch.setattr(encryption, "_counts", fail)
        else:
            patch.setattr(encryption.os, "replace", fail)
        with pytest.raises(SparseDoctorError, match="left as it is"):
            convert_history(old, new, file)
    assert is_encrypted(file) is not encrypting
    assert not list(file.parent.glob("*.new-*"))
    with History.open(file, old) as store:
        assert store.take_notices() == ()
        assert _everything(store) == everything


@pytest.mark.usefixtures("cipher")
def test_a_conversion_that_ended_between_marking_and_replacing_is_put_right(file: Path) -> None:
    everything = _fill(file)
    disk_file.marker(file).touch()
    with History.open(file, PASSPHRASE) as store:
        assert [notice.trouble for notice in store.take_notices()] == [Trouble.NOT_ENCRYPTED]
        assert _everything(store) == everything
    assert not is_encrypted(file)


CONVERT = """
import sys
from pathlib import Path
from sparsedoctor.app.consultation.history import convert_history
path, passphrase = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
while True:
    convert_history(None, passphrase, path)
    convert_history(passphrase, None, path)
"""


@pytest.mark.usefixtures("cipher")
@pytest.mark.parametrize("kills", [8, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.timeout(1800)
def test_a_conversion_killed_at_random_loses_nothing(file: Path, kills: int) -> None:
    everything = _fill(file)
    chance = random.Random(kills)
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", CONVERT, str(file), PASSPHRASE], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with History.open(file, PASSPHRASE) as store:
            assert {n.trouble for n in store.take_notices()} <= {Trouble.NOT_ENCRYPTED}
            assert _everything(store) == everything
        assert not list(file.parent.glob("*.new-*"))
        if is_encrypted(file):
            convert_history(PASSPHRASE, None, file)


def test_without_the_extra_it_is_said_what_to_install(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = _fill(file)
    monkeypatch.setitem(sys.modules, "sqlcipher3", None)  # importing it fails
    with pytest.raises(SparseDoctorError, match=r"sparsedoctor\[encrypt\]"):
        convert_history(None, PASSPHRASE, file)
    with History.open(file) as store:
        assert _everything(store) == everything
    disk_file.marker(file).touch()
    with pytest.raises(SparseDoctorError, match=r"sparsedoctor\[encrypt\]"):
        History.open(file, PASSPHRASE)


def test_there_must_be_a_history_to_convert(file: Path) -> None:
    with pytest.raises(SparseDoctorError, match="no history"):
        convert_history(None, None, file)


def test_it_is_said_plainly_what_is_lost_without_the_passphrase() -> None:
    assert "loses every conversation" in LOST_WITHOUT["en"]
    assert "失去" in LOST_WITHOUT["zh"]
