"""Answers survive what befalls a disk, and are never mixed with those of another run."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.evaluate.journal import (
    ANSWERS,
    RUN,
    Answer,
    Journal,
    read_answers,
    write_text,
)

IDENTITY = {"benchmark": "cmexam", "model": "m"}


def answer(number: int) -> Answer:
    return Answer(f"q{number}", "B", "B", {"A": -2.0, "B": -0.1}, "内科学")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes, as on a disk that is full then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill(folder: Path, room: int) -> None:
    """Answer until the disk takes no more."""
    with Journal(folder, IDENTITY) as journal, files_of_at_most(room):
        for number in range(1_000):
            journal.add(answer(number))


@pytest.mark.parametrize("room", range(566, 578))  # the cut falls inside a Chinese character too
def test_a_full_disk_is_told_in_one_line_and_every_whole_answer_is_kept(
    tmp_path: Path, room: int
) -> None:
    with pytest.raises(SparseDoctorError, match="run the same command again") as raised:
        fill(tmp_path, room)
    assert "\n" not in str(raised.value)
    whole = room // len(answer(0).line().encode())
    with Journal(tmp_path, IDENTITY) as journal:
        assert list(journal.done) == [f"q{number}" for number in range(whole)]
        journal.add(answer(whole))
    assert len(read_answers(tmp_path)) == whole + 1


def test_a_line_cut_inside_a_character_is_answered_again(tmp_path: Path) -> None:
    with Journal(tmp_path, IDENTITY) as journal:
        for number in range(3):
            journal.add(answer(number))
    path = tmp_path / ANSWERS
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex("科".encode()) + 1])
    with Journal(tmp_path, IDENTITY) as journal:
        assert list(journal.done) == ["q0", "q1"]


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_beside_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "result.json"
    write_text(path, "old")
    with (
        pytest.raises(SparseDoctorError, match="cannot write"),
        files_of_at_most(100),
    ):
        write_text(path, "new" * 100)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_output_that_is_a_file_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a letter to somebody")
    with pytest.raises(SparseDoctorError, match="cannot"):
        Journal(tmp_path / "out", IDENTITY)
    assert (tmp_path / "out").read_text() == "a letter to somebody"


@pytest.mark.parametrize("note", [None, "", "[]", '{"benchmark": "cmex'])
def test_answers_whose_run_nothing_names_are_left_alone(tmp_path: Path, note: str | None) -> None:
    with Journal(tmp_path, IDENTITY) as journal:
        journal.add(answer(0))
    before = (tmp_path / ANSWERS).read_bytes()
    if note is None:
        (tmp_path / RUN).unlink()
    else:
        (tmp_path / RUN).write_text(note)
    with pytest.raises(SparseDoctorError, match="missing or damaged"):
        Journal(tmp_path, IDENTITY)
    assert (tmp_path / ANSWERS).read_bytes() == before


def test_two_runs_at_once_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with Journal(tmp_path, IDENTITY) as journal:
        for identity in (IDENTITY, IDENTITY | {"model": "another"}):
            with pytest.raises(SparseDoctorError, match="in use by another evaluation"):
                Journal(tmp_path, identity)
        journal.add(answer(0))
    with Journal(tmp_path, IDENTITY) as journal:
        assert len(journal.done) == 1


def test_a_run_that_answered_nothing_is_in_nobodys_way(tmp_path: Path) -> None:
    with Journal(tmp_path, IDENTITY):
        pass
    with Journal(tmp_path, IDENTITY | {"model": "another"}) as journal:
        assert journal.done == {}
