"""The two dialogs that write a file: what may stand in the field, and what becomes of files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, Select, Static

from sparsedoctor.app.consultation.history import History
from sparsedoctor.app.consultation.history.private_file import write_new
from sparsedoctor.app.tui.save_screen import file_named
from sparsedoctor.core.errors import SparseDoctorError

DIALOGS = ("export", "summary")
EMPTY = ("", "   ", "/", ".")


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    opened = History.open(tmp_path / "history.db")
    yield opened
    opened.close()


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a file goes when nobody says where."""
    path = tmp_path / "person"
    path.mkdir()
    monkeypatch.setenv("HOME", str(path))
    return path


class Dialog:
    def __init__(self, chat: Any, kind: str) -> None:
        self.chat, self.kind, self.screen = chat, kind, chat.app.screen
        self.field = self.screen.query_one(f"#{kind}-path", Input)

    def note(self) -> str:
        return str(self.screen.query_one(f"#{self.kind}-note", Static).content)

    def choose(self, form: str) -> None:
        self.screen.query_one(f"#{self.kind}-form", Select).value = form

    @property
    def there(self) -> bool:
        return self.chat.app.screen is self.screen

    async def saved(self) -> str:
        """Save; returns what the person is told."""
        self.chat.app.clear_notifications()
        await self.chat.pilot.press("ctrl+s")
        await self.chat.until(lambda: not self.there)
        await self.chat.until(lambda: bool(self.chat.app._notifications))
        return str(next(iter(self.chat.app._notifications)).message)


async def opened(chat: Any, kind: str, place: int = 0) -> Dialog:
    """The dialog; for an export, that of the conversation at `place` of the list."""
    if kind == "export":
        if len(chat.app.screen_stack) == 1:
            await chat.pilot.press("f4")
        await chat.until(lambda: bool(chat.app.screen.query("#conversations")))
        options = chat.app.screen.query_one("#conversations")
        await chat.until(lambda: options.option_count > place)
        options.highlighted = place
        await chat.pilot.press("ctrl+e")
    else:
        await chat.pilot.press("f5")
    await chat.until(lambda: bool(chat.app.screen.query(f"#{kind}-path")))
    await chat.pilot.pause()
    return Dialog(chat, kind)


@asynccontextmanager
async def dialog(
    open_chat: Any, history: History, kind: str, language: str = "en"
) -> AsyncIterator[Dialog]:
    async with open_chat(history=history, language=language) as chat:
        await chat.ask("What is a cold?")
        yield await opened(chat, kind)


@pytest.mark.parametrize("kind", DIALOGS)
async def test_a_field_that_names_no_file_keeps_the_dialog_open_and_says_so(
    open_chat: Any, history: History, own_home: Path, kind: str
) -> None:
    async with dialog(open_chat, history, kind) as one:
        for text in EMPTY:
            one.field.value = text
            one.choose("json")
            await one.chat.until(lambda: "no file is named" in one.note())
            one.choose("markdown")
            await one.chat.pilot.press("ctrl+s")
            await one.chat.pilot.pause()
            assert one.there
            assert "no file is named" in one.note()
            one.field.value = "~/a.md"
            one.choose("json")
            await one.chat.until(lambda: one.field.value == "~/a.json")
            assert one.note() == ""
            one.choose("markdown")
            await one.chat.until(lambda: one.field.value == "~/a.md")
    assert list(own_home.iterdir()) == []


@pytest.mark.parametrize("kind", DIALOGS)
async def test_an_unknown_user_and_a_folder_are_told_and_the_dialog_stays_open(
    open_chat: Any, history: History, own_home: Path, kind: str
) -> None:
    async with dialog(open_chat, history, kind) as one:
        for text, said in (
            ("~nosuchuser/x", "there is no home folder for ~nosuchuser/x"),
            ("~", "is a folder"),
        ):
            one.field.value = text
            one.choose("json")
            await one.chat.until(lambda said=said: said in one.note())
            assert one.field.value == text
            one.choose("markdown")
            await one.chat.pilot.press("ctrl+s")
            await one.chat.pilot.pause()
            assert one.there
            assert said in one.note()


@pytest.mark.parametrize("kind", DIALOGS)
async def test_what_is_wrong_with_the_field_is_told_in_chinese(
    open_chat: Any, history: History, kind: str
) -> None:
    async with dialog(open_chat, history, kind, "zh") as one:
        for text, said in (
            ("", "没有写文件名"),
            ("~nosuchuser/x", "找不到 ~nosuchuser/x 的主目录"),
            ("/tmp", "/tmp 是文件夹"),
        ):
            one.field.value = text
            await one.chat.pilot.press("ctrl+s")
            await one.chat.until(lambda said=said: said in one.note())
            assert one.there


@pytest.mark.parametrize("text", [*EMPTY, "a\0b"])
def test_no_file_is_named(text: str) -> None:
    with pytest.raises(SparseDoctorError, match="no file is named"):
        file_named(text)


@pytest.mark.parametrize("text", ["x" * 5000, "~/" + "x" * 300])
def test_a_name_too_long_is_told_when_it_is_written(own_home: Path, text: str) -> None:
    with pytest.raises(SparseDoctorError, match="cannot write"):
        write_new(file_named(text), "words")


async def test_two_conversations_exported_one_after_the_other_are_two_files(
    open_chat: Any, history: History, own_home: Path
) -> None:
    async with open_chat(history=history) as chat:
        await chat.ask("What is a cold?")
        await chat.pilot.press("ctrl+n")
        await chat.until(lambda: not chat.cards)
        await chat.ask("What is angina?")
        began = [
            datetime.fromisoformat(one.created).astimezone() for one in history.conversations()
        ]
        for place in (0, 1):
            one = await opened(chat, "export", place)
            offered = Path(one.field.value)
            expected = f"sparsedoctor-conversation-{began[place]:%Y-%m-%d-%H%M}.md"
            assert offered == own_home / expected
            await one.saved()
    files = {path.read_text("utf-8") for path in own_home.iterdir()}
    assert len(files) == 2
    for words in ("What is a cold?", "What is angina?"):
        assert sum(words in text for text in files) == 1


@pytest.mark.parametrize("kind", DIALOGS)
async def test_a_file_that_is_there_stays_and_the_person_is_told_the_other_name(
    open_chat: Any, history: History, own_home: Path, kind: str
) -> None:
    mine = own_home / "mine.md"
    mine.write_text("something else\n")
    async with dialog(open_chat, history, kind) as one:
        one.field.value = "~/mine.md"
        assert str(own_home / "mine-2.md") in await one.saved()
        again = await opened(one.chat, kind)
        again.field.value = "~/mine.md"
        assert str(own_home / "mine-3.md") in await again.saved()
    assert mine.read_text() == "something else\n"
    for number in (2, 3):
        written = own_home / f"mine-{number}.md"
        assert "What is a cold?" in written.read_text("utf-8")
        assert written.stat().st_mode & 0o777 == 0o600
    assert len(list(own_home.iterdir())) == 3


def test_a_link_to_nowhere_is_no_free_name(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "notes.md"
    link.symlink_to(target)
    assert write_new(link, "words") == tmp_path / "notes-2.md"
    assert not target.exists()


def test_a_file_that_cannot_be_finished_leaves_no_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SparseDoctorError, match="No space left on device"):
        write_new(tmp_path / "notes.md", "words")
    assert list(tmp_path.iterdir()) == []
