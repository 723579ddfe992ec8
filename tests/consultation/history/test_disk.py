"""A full, read-only or missing disk: told, and the conversation goes on in memory."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparsedoctor.app.consultation.history import History, Trouble, opening, storage

NOBODY = 65534


def _troubles(store: History) -> list[Trouble]:
    return [notice.trouble for notice in store.take_notices()]


def _mounted(folder: Path, *options: str) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB; needs root."""
    yield from _mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=512k", "none")


def test_a_full_disk_is_told_and_the_conversation_goes_on(small_disk: Path) -> None:
    with History.open(small_disk / "h.db") as store:
        conversation = store.begin()
        acknowledged = []
        while store.saved:
            words = f"message {len(acknowledged)} " + "x" * 5000
            store.add_user(conversation, words)
            acknowledged.append(words)
            assert len(acknowledged) < 500
        assert _troubles(store) == [Trouble.DISK_FULL]
        answer = store.answer_begin(conversation)
        store.answer_append(answer, "go on")
        store.answer_finish(answer)
        texts = [message.text for message in store.messages(conversation)]
        assert texts == [*acknowledged, "go on"]
        assert store.search("go on")
        assert store.export(conversation)
    # what was acknowledged while the disk had room is on it
    (small_disk / "room").unlink(missing_ok=True)
    with History.open(small_disk / "h.db") as store:
        assert [m.text for m in store.messages(conversation)] == acknowledged[:-1]


def test_an_answer_that_fills_the_disk_keeps_every_word_in_memory(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparsedoctor.app.consultation.history.history.SAVE_SECONDS", 0.0)
    with History.open(small_disk / "h.db") as store:
        conversation = store.begin()
        store.add_user(conversation, "q")
        answer = store.answer_begin(conversation)
        pieces = 0
        while store.saved:
            store.answer_append(answer, f"{pieces} " + "x" * 3000)
            pieces += 1
            assert pieces < 500
        store.answer_append(answer, "end")
        store.answer_finish(answer)
        expected = "".join(f"{number} " + "x" * 3000 for number in range(pieces)) + "end"
        assert store.messages(conversation)[1].text == expected


def test_when_there_is_room_again_everything_is_saved(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 200_000)
    with History.open(small_disk / "h.db") as store:
        conversation = store.begin()
        count = 0
        while store.saved:
            store.add_user(conversation, f"{count} " + "x" * 5000)
            count += 1
        store.add_user(conversation, "last")
        assert not store.retry_saving()
        ballast.unlink()
        assert store.retry_saving()
        assert _troubles(store)[-1] is Trouble.SAVED_AGAIN
    with History.open(small_disk / "h.db") as store:
        texts = [message.text for message in store.messages(conversation)]
        assert len(texts) == count + 1
        assert [text.split()[0] for text in texts] == [*map(str, range(count)), "last"]


def test_it_is_saved_again_without_being_asked(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 200_000)
    with History.open(small_disk / "h.db") as store:
        conversation = store.begin()
        while store.saved:
            store.add_user(conversation, "x" * 5000)
        ballast.unlink()
        store.add_user(conversation, "too soon to try")
        assert not store.saved
        monkeypatch.setattr(storage, "RETRY_SECONDS", 0.0)
        store.add_user(conversation, "next")
        assert store.saved


def test_a_limit_on_the_size_of_files_is_survived_too(tmp_path: Path) -> None:
    """Works for every user; the system reports it in another way than a full disk."""
    file = tmp_path / "h.db"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    program = (
        "import sys; from sparsedoctor.app.consultation.history import History\n"
        "from pathlib import Path\n"
        "store = History.open(Path(sys.argv[1])); c = store.begin(); n = 0\n"
        "while store.saved and n < 500:\n    store.add_user(c, f'{n} ' + 'x' * 5000); n += 1\n"
        "store.add_user(c, 'after')\n"
        "assert len(store.messages(c)) == n + 1\n"
        "print(n, [str(notice) for notice in store.take_notices()])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(file)], capture_output=True, text=True, preexec_fn=limit
    )
    assert done.returncode == 0, done.stderr
    count, said = done.stdout.split(maxsplit=1)
    assert 0 < int(count) < 500
    assert "in memory" in said
    with History.open(file) as store:
        (conversation,) = store.conversations()
        assert conversation.messages >= int(count) - 1


def test_a_read_only_disk_is_told_and_its_history_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with History.open(folder / "h.db") as store:
        store.add_user(store.begin(), "before")
    for mounted in _mounted(folder, "--bind", str(folder)):
        done = subprocess.run(["mount", "-o", "remount,ro,bind", str(mounted)], capture_output=True)
        if done.returncode:
            pytest.skip("cannot remount here")
        with History.open(mounted / "h.db") as store:
            assert _troubles(store) == [Trouble.READ_ONLY]
            assert store.search("before")
            store.add_user(store.conversations()[0].id, "after")
            assert store.search("after")
            assert not store.saved


def test_a_disk_that_becomes_read_only_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for mounted in _mounted(folder, "-t", "tmpfs", "-o", "size=1m", "none"):
        store = History.open(mounted / "h.db")
        conversation = store.begin()
        store.add_user(conversation, "before")
        # like a failing disk: SQLite's next write is refused
        store._storage._connection.execute("PRAGMA query_only = ON")
        store.add_user(conversation, "after")
        assert _troubles(store) == [Trouble.READ_ONLY]
        assert [m.text for m in store.messages(conversation)] == ["before", "after"]
        store.close()


def test_a_folder_of_somebody_else_is_told(tmp_path: Path) -> None:
    """As a user without rights: root would be let in."""
    folder = tmp_path / "data"
    with History.open(folder / "h.db") as store:
        store.add_user(store.begin(), "before")
    for path in (folder, *folder.iterdir()):
        path.chmod(0o555 if path.is_dir() else 0o444)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:  # an own process, because rights are given up for good
        troubles = "failed"
        try:
            for parent in reversed(tmp_path.parents):
                if Path(tempfile.gettempdir()) in parent.parents:  # not that folder itself
                    parent.chmod(0o755)
            tmp_path.chmod(0o755)
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            with History.open(folder / "h.db") as other:
                found = len(other.search("before"))
                other.add_user(other.begin(), "after")
                troubles = f"{[str(t) for t in _troubles(other)]} {found} {len(other.search('a'))}"
        finally:
            os.write(writing, troubles.encode())
            os._exit(0)
    os.close(writing)
    told = os.read(reading, 1000).decode()
    os.close(reading)
    os.waitpid(child, 0)
    folder.chmod(0o700)
    assert told == "['read_only'] 1 1"


def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "h.db").mkdir()
    with History.open(tmp_path / "h.db") as store:
        assert _troubles(store) == [Trouble.FAILED]
        store.add_user(store.begin(), "hello")
        assert not store.saved
    assert (tmp_path / "h.db").is_dir()


def test_a_data_folder_that_cannot_be_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPARSEDOCTOR_HOME", str(tmp_path / "file" / "home"))
    with History.open() as store:
        assert _troubles(store) == [Trouble.FAILED]
        store.add_user(store.begin(), "hello")
        assert len(store.conversations()) == 1


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        (errno.ENOSPC, Trouble.DISK_FULL),
        (errno.EROFS, Trouble.READ_ONLY),
        (errno.EACCES, Trouble.READ_ONLY),
        (errno.EIO, Trouble.FAILED),
    ],
)
def test_a_file_that_cannot_be_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, trouble: Trouble
) -> None:
    def fail(_: Path) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(opening.disk_file, "prepare", fail)
    with History.open(tmp_path / "h.db") as store:
        assert _troubles(store) == [trouble]


@pytest.mark.parametrize("trouble", Trouble)
def test_every_notice_is_worded_in_both_languages(trouble: Trouble) -> None:
    from sparsedoctor.app.consultation.history import HistoryNotice

    values = {"path": "/p", "detail": "d", "aside": "/a", "count": "3"}
    notice = HistoryNotice(trouble, values)
    assert "{" not in notice.text("en") + notice.text("zh")
    assert notice.text("en").isascii()
    assert not notice.text("zh").isascii()
    assert str(notice) == notice.text("en")
