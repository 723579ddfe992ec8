"""Programs that are killed, and two programs at once: no acknowledged message is lost."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sparsedoctor.app.consultation.history import History

# Prints the id of each message once it is acknowledged, and of each answer as it begins and ends.
WRITER = """
import sys, time
from pathlib import Path
from sparsedoctor.app.consultation.history import History, history
history.SAVE_SECONDS = 0.0
number = 0
with History.open(Path(sys.argv[1])) as store:
    print("open", flush=True)
    while True:
        conversation = store.begin()
        for _ in range(5):
            message = store.add_user(conversation, f"{sys.argv[2]} asks {number} 胸痛 " + "x" * 300)
            assert store.saved
            print("said", message, flush=True)
            answer = store.answer_begin(conversation)
            for piece in range(4):
                store.answer_append(answer, f"piece {piece} ")
                time.sleep(0.002)  # SQLite's lock is not fair: who never pauses starves the others
            store.answer_finish(answer)
            assert store.saved
            print("done", answer, flush=True)
            time.sleep(0.01)
            number += 1
"""


def _start(file: Path, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(file), name], stdout=subprocess.PIPE, text=True
    )


def _kill_after(process: subprocess.Popen[str], seconds: float) -> tuple[list[str], list[str]]:
    """Ids of acknowledged messages and of finished answers, as far as the program told."""
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate()
    lines = [line.split() for line in output.splitlines(keepends=True) if line.endswith("\n")]
    said = [line[1] for line in lines if line[0] == "said"]
    return said, [line[1] for line in lines if line[0] == "done"]


def _integrity(file: Path) -> str:
    connection = sqlite3.connect(file)
    connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")
    result = connection.execute("PRAGMA integrity_check").fetchone()[0]
    connection.close()
    return str(result)


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.timeout(1800)
def test_a_writer_killed_at_random_loses_nothing_it_acknowledged(
    tmp_path: Path, kills: int
) -> None:
    file = tmp_path / "h.db"
    chance = random.Random(kills)
    said: list[str] = []
    done: list[str] = []
    for kill in range(kills):
        process = _start(file, str(kill))
        if kill % 4:  # one in four is killed anywhere, also while it opens or makes the file
            assert process.stdout is not None
            process.stdout.readline()
        new_said, new_done = _kill_after(process, chance.uniform(0, 0.25))
        said += new_said
        done += new_done
        if file.exists() and file.stat().st_size:
            with History.open(file) as store:
                assert store.take_notices() == ()
                messages = {
                    message.id: message
                    for conversation in store.conversations()
                    for message in store.messages(conversation.id)
                }
            assert set(said) <= messages.keys()
            assert all(messages[answer].status == "done" for answer in done)
            assert all(message.status != "streaming" for message in messages.values())
            assert _integrity(file) == "ok"
    assert said
    assert done


def test_an_answer_whose_program_was_killed_is_ended_at_the_next_start(tmp_path: Path) -> None:
    file = tmp_path / "h.db"
    program = (
        "import os, sys; from pathlib import Path\n"
        "from sparsedoctor.app.consultation.history import History, history\n"
        "history.SAVE_SECONDS = 0.0\n"
        "store = History.open(Path(sys.argv[1])); c = store.begin(); store.add_user(c, 'q')\n"
        "a = store.answer_begin(c); store.answer_append(a, 'so far'); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(file)])
    with History.open(file) as store:
        (conversation,) = store.conversations()
        question, answer = store.messages(conversation.id)
        assert (question.text, question.status) == ("q", "done")
        assert (answer.text, answer.status, answer.error) == ("so far", "error", "interrupted")
        assert store.search("so far")


def test_an_answer_that_grows_in_another_window_is_left_alone(tmp_path: Path) -> None:
    with History.open(tmp_path / "h.db") as store:
        conversation = store.begin()
        store.add_user(conversation, "q")
        answer = store.answer_begin(conversation)
        with History.open(tmp_path / "h.db") as other:
            assert other.messages(conversation)[1].status == "streaming"
        store.answer_append(answer, "all of it")
        store.answer_finish(answer)
        assert store.messages(conversation)[1].status == "done"


def test_closing_ends_a_growing_answer_as_cancelled(tmp_path: Path) -> None:
    with History.open(tmp_path / "h.db") as store:
        conversation = store.begin()
        store.add_user(conversation, "q")
        store.answer_append(store.answer_begin(conversation), "so far")
    store.close()
    with History.open(tmp_path / "h.db") as store:
        answer = store.messages(conversation)[1]
        assert (answer.text, answer.status) == ("so far", "cancelled")


def test_two_programs_write_side_by_side(tmp_path: Path) -> None:
    file = tmp_path / "h.db"
    first, second = _start(file, "first"), _start(file, "second")
    said = []
    for process in (first, second):
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        said.append(process.stdout.readline().split()[1])
    with History.open(file) as store:  # and a third reads and writes meanwhile
        conversation = store.begin()
        for number in range(20):
            store.add_user(conversation, f"third {number}")
            store.conversations("胸痛")
        assert store.saved
    for process in (first, second):
        assert process.poll() is None
        said += _kill_after(process, 0.25)[0]
    with History.open(file) as store:
        there = {m.id for c in store.conversations() for m in store.messages(c.id)}
        assert len(store.messages(conversation)) == 20
    assert set(said) <= there
    assert _integrity(file) == "ok"


# Leaves the file free for 2 ms of 300, as other windows do that commit to a slow disk in turn.
HOLDER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
while True:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        time.sleep(0.001)
        continue
    print("holds", flush=True)
    time.sleep(0.297)
    connection.execute("ROLLBACK")
    time.sleep(0.002)
"""


def test_on_a_slow_disk_every_window_gets_its_turn(tmp_path: Path) -> None:
    file = tmp_path / "h.db"
    with History.open(file) as store:
        conversation = store.begin()
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(file)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "holds\n"
            for number in range(8):
                store.add_user(conversation, str(number))
                assert store.saved, store.take_notices()
                time.sleep(0.02)  # the other has it again
        finally:
            _kill_after(holder, 0)


def test_two_programs_may_begin_the_same_file(tmp_path: Path) -> None:
    for attempt in range(3):
        file = tmp_path / f"{attempt}.db"
        programs = [_start(file, str(number)) for number in range(3)]
        for process in programs:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
        for process in programs:
            assert process.poll() is None  # it ends by itself where something is not saved
            said, _ = _kill_after(process, 0.05)
            with History.open(file) as store:
                assert store.take_notices() == ()
                there = {m.id for c in store.conversations() for m in store.messages(c.id)}
            assert set(said) <= there


# Opens the file in the moment when the input ends, and says whether it can be written.
OPENER = """
import sys
from pathlib import Path
from sparsedoctor.app.consultation.history import History
print("ready", flush=True)
sys.stdin.read()
with History.open(Path(sys.argv[1])) as store:
    print(store.saved, store.take_notices())
"""


def test_two_programs_may_begin_the_same_file_in_the_same_moment(tmp_path: Path) -> None:
    for attempt in range(8):  # SQLite refused one of two in seven of ten attempts
        command = [sys.executable, "-c", OPENER, str(tmp_path / f"{attempt}.db")]
        together, go = os.pipe()
        programs = [
            subprocess.Popen(command, stdin=together, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        os.close(together)
        for process in programs:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        os.close(go)
        for process in programs:
            assert process.communicate()[0] == "True ()\n"
