"""What a person chose is there the next time; a damaged file costs one notice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sparsedoctor.app import settings
from sparsedoctor.app.settings import DamagedSettings, Settings, load_settings, save_settings
from sparsedoctor.core.errors import SparseDoctorError

DEFAULT = "sparsedoctor-dark"


@pytest.fixture
def file(home: Path) -> Path:
    path = home / "config" / "settings.json"
    path.parent.mkdir(parents=True)
    return path


async def test_a_theme_is_remembered(open_chat: Any, file: Path) -> None:
    async with open_chat() as chat:
        assert chat.app.theme == DEFAULT
        assert not file.exists()  # nothing was chosen, nothing is written
        chat.app.theme = "sparsedoctor-light"
        await chat.until(file.exists)
    async with open_chat() as chat:
        assert chat.app.theme == "sparsedoctor-light"
    assert file.stat().st_mode & 0o077 == 0


async def test_a_theme_that_is_gone_gives_the_default(open_chat: Any, file: Path) -> None:
    file.write_text('{"theme": "of an older version"}')
    async with open_chat() as chat:
        assert chat.app.theme == DEFAULT


DAMAGED = (b"", b"{", b"[]", b'{"theme": 5}', b"\xff\xfe{}", b"[" * 100_000, b"null")


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: repr(content[:12]))
async def test_a_damaged_file_is_told_once_and_kept_aside(
    open_chat: Any, file: Path, content: bytes
) -> None:
    file.write_bytes(content)
    async with open_chat() as chat:
        assert chat.app.theme == DEFAULT
        told = [one.message for one in chat.app._notifications if "settings" in one.message]
        assert len(told) == 1
        assert str(file) in told[0]
        assert file.read_bytes() == content  # untouched while nothing new is chosen
        chat.app.theme = "sparsedoctor-light"
        await chat.until(lambda: file.read_bytes() != content)
    assert json.loads(file.read_text())["theme"] == "sparsedoctor-light"
    assert file.with_name("settings.json.damaged").read_bytes() == content


async def test_a_folder_in_its_place_is_told_and_the_chat_goes_on(
    open_chat: Any, file: Path
) -> None:
    file.mkdir()
    async with open_chat() as chat:
        assert any("settings" in one.message for one in chat.app._notifications)
        card = await chat.ask("What is a cold?")
        assert card.view.text


def test_a_folder_that_cannot_be_made_is_told(file: Path) -> None:
    file.parent.rmdir()
    file.parent.write_text("a file in the place of the folder")
    with pytest.raises(SparseDoctorError, match="until you leave"):
        save_settings(Settings(theme="x"))
    with pytest.raises(SparseDoctorError, match="cannot create the folder"):
        load_settings()


def test_a_damaged_file_that_another_window_has_put_aside_is_no_trouble(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged() -> Settings:
        raise DamagedSettings("seen before the other window took it away")

    monkeypatch.setattr(settings, "load_settings", damaged)
    save_settings(Settings(theme="nord"))
    monkeypatch.undo()
    assert "nord" in file.read_text()
