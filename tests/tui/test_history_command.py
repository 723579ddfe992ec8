"""`sparsedoctor-tui history ...` in a real terminal, and how the interfaces open its result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from model_server import free_port
from tui.terminal import CTRL_Q, ENTER, TUI, WEB, Terminal

from sparsedoctor.app.consultation.history import History, convert_history, is_encrypted
from sparsedoctor.app.consultation.history.history import FILE_NAME

pytest.importorskip("sqlcipher3", reason="the extra `encrypt` is not installed")

PASSPHRASE = "eine Tür, 密码 and five more"
WORDS = "zebrafinch-4471"


@pytest.fixture
def file(home: Path) -> Path:
    """A history with one conversation, in the place where the commands look for it."""
    path = home / "data" / FILE_NAME
    with History.open(path) as history:
        history.add_user(history.begin(), WORDS)
    return path


@pytest.fixture
def encrypted(file: Path) -> Path:
    convert_history(None, PASSPHRASE, file)
    return file


def open_terminal(terminals: list[Terminal], *arguments: str, module: str = TUI) -> Terminal:
    terminals.append(Terminal(*arguments, module=module))
    return terminals[-1]


def answer(terminal: Terminal, *dialogue: tuple[str, str]) -> str:
    """Wait for each prompt and type its answer; what was said after the last, when it ended."""
    for prompt, words in dialogue:
        terminal.until(prompt)
        terminal.type(words + ENTER)
    return terminal.said()


def words_on_disk(file: Path) -> list[str]:
    files = [one for one in file.parent.rglob("*") if one.is_file()]
    return [one.name for one in files if WORDS.encode() in one.read_bytes()]


def words_saved(file: Path, passphrase: str | None = None) -> str:
    with History.open(file, passphrase) as history:
        return history.messages(history.conversations()[0].id)[0].text


def test_encrypting_says_what_is_lost_and_leaves_no_readable_word(
    terminals: list[Terminal], file: Path
) -> None:
    assert words_on_disk(file)
    terminal = open_terminal(terminals, "history", "encrypt")
    terminal.until("loses every conversation", "yes")
    terminal.type("yes" + ENTER)
    last = answer(terminal, ("New passphrase", PASSPHRASE), ("once more", PASSPHRASE))
    assert terminal.exit_code == 0, last
    assert "is encrypted" in last
    assert PASSPHRASE not in last  # it is typed unseen
    assert is_encrypted(file)
    assert words_on_disk(file) == []
    assert words_saved(file, PASSPHRASE) == WORDS


def test_decrypting_brings_everything_back(terminals: list[Terminal], encrypted: Path) -> None:
    terminal = open_terminal(terminals, "history", "decrypt")
    terminal.until("read your conversations", "yes")
    terminal.type("yes" + ENTER)
    last = answer(terminal, ("Passphrase", PASSPHRASE))
    assert terminal.exit_code == 0, last
    assert not is_encrypted(encrypted)
    assert words_saved(encrypted) == WORDS


def test_the_passphrase_can_be_changed(terminals: list[Terminal], encrypted: Path) -> None:
    terminal = open_terminal(terminals, "history", "passphrase")
    last = answer(
        terminal,
        ("so far", PASSPHRASE),
        ("yes", "yes"),
        ("New passphrase", "another one"),
        ("once more", "another one"),
    )
    assert terminal.exit_code == 0, last
    assert words_saved(encrypted, "another one") == WORDS


def test_an_encrypted_history_can_be_begun_before_the_first_word(
    terminals: list[Terminal], home: Path
) -> None:
    terminal = open_terminal(terminals, "history", "encrypt")
    dialogue = (("yes", "yes"), ("New passphrase", PASSPHRASE), ("once more", PASSPHRASE))
    assert "is encrypted" in answer(terminal, *dialogue)
    assert is_encrypted(home / "data" / FILE_NAME)


@pytest.mark.parametrize(
    ("dialogue", "said"),
    [
        ((("yes", "no"),), "not confirmed"),
        ((("yes", "yes"), ("New passphrase", "")), "cannot be empty"),
        (
            (("yes", "yes"), ("New passphrase", PASSPHRASE), ("once more", "another")),
            "passphrases differ",
        ),
    ],
    ids=["not confirmed", "empty", "two different"],
)
def test_a_mistake_while_encrypting_changes_nothing(
    terminals: list[Terminal], file: Path, dialogue: tuple[tuple[str, str], ...], said: str
) -> None:
    terminal = open_terminal(terminals, "history", "encrypt")
    last = answer(terminal, *dialogue)
    assert terminal.exit_code == 2
    assert_one_error(last, said)
    assert not is_encrypted(file)
    assert words_saved(file) == WORDS


@pytest.mark.parametrize(
    ("arguments", "dialogue"),
    [
        (("history", "decrypt"), (("yes", "yes"), ("Passphrase", "wrong"))),
        (
            ("history", "passphrase"),
            (("so far", "wrong"), ("yes", "yes"), ("New", "new"), ("once more", "new")),
        ),
    ],
    ids=["decrypt", "passphrase"],
)
def test_a_wrong_passphrase_is_refused_in_one_line(
    terminals: list[Terminal],
    encrypted: Path,
    arguments: tuple[str, ...],
    dialogue: tuple[tuple[str, str], ...],
) -> None:
    terminal = open_terminal(terminals, *arguments)
    last = answer(terminal, *dialogue)
    assert terminal.exit_code == 2
    assert_one_error(last, "does not open the history")
    assert words_saved(encrypted, PASSPHRASE) == WORDS


def assert_one_error(said: str, words: str) -> None:
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, said
    assert words in errors[0]
    assert "Traceback" not in said


def test_what_is_open_in_another_window_is_not_converted(
    terminals: list[Terminal], file: Path
) -> None:
    with History.open(file):
        terminal = open_terminal(terminals, "history", "encrypt")
        assert_one_error(terminal.said(), "open in another window")
        assert terminal.exit_code == 2
    assert not is_encrypted(file)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("history", "decrypt"), "not encrypted"),
        (("history", "passphrase"), "not encrypted"),
        (("history", "encrypt"), "no terminal"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    file: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert_one_error(done.stderr, words)
    assert words_saved(file) == WORDS


@pytest.mark.usefixtures("encrypted")
def test_an_encrypted_history_is_not_encrypted_again() -> None:
    assert_one_error(run("history", "encrypt").stderr, "encrypted already")


def test_a_missing_extra_is_named_in_one_line(encrypted: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['sqlcipher3'] = None\n")
    for arguments in (("history", "decrypt"), ("history", "encrypt")):
        done = run(*arguments, PYTHONPATH=str(tmp_path))
        assert done.returncode == 2
        assert_one_error(done.stderr, 'pip install "sparsedoctor[encrypt]"')
    assert is_encrypted(encrypted)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", TUI, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ) | environment,
    )


def test_the_chat_asks_for_the_passphrase_and_shows_the_conversations(
    terminals: list[Terminal], encrypted: Path, smollm2_gguf: Path
) -> None:
    terminal = open_terminal(terminals, "chat", "--model", str(smollm2_gguf), "--region", "GB")
    terminal.until("Passphrase of the history")
    terminal.type(PASSPHRASE + ENTER)
    terminal.until("ready")
    terminal.type("\x1bOS")  # F4
    terminal.until(WORDS)
    terminal.type("\x1b")
    terminal.type(CTRL_Q)
    assert terminal.ended() == 0
    assert words_on_disk(encrypted) == []


@pytest.mark.usefixtures("encrypted")
def test_the_chat_refuses_a_wrong_passphrase_in_one_line(
    terminals: list[Terminal], smollm2_gguf: Path
) -> None:
    terminal = open_terminal(terminals, "chat", "--model", str(smollm2_gguf))
    last = answer(terminal, ("Passphrase of the history", "wrong"))
    assert terminal.exit_code == 2
    assert_one_error(last, "does not open the history")


@pytest.mark.usefixtures("encrypted")
def test_the_page_asks_for_the_passphrase_before_it_is_served(
    terminals: list[Terminal], smollm2_gguf: Path
) -> None:
    pytest.importorskip("gradio", reason="the extra `web` is not installed")
    port = free_port()
    options = ("--no-browser", "--port", str(port), "--model", str(smollm2_gguf))
    terminal = open_terminal(terminals, *options, module=WEB)
    terminal.until("Passphrase of the history")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
    terminal.type(PASSPHRASE + ENTER)
    terminal.until("SparseDoctor is at")
    assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code == 200
    terminal.type("\x03")
    assert terminal.ended() == 0
