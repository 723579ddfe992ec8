"""What an export is written over, and what two at once leave of each other's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sparsedoctor.core.engine import quantize
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.export.folder import replacing_folder
from sparsedoctor.export.gguf_file import check_place, replacing


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_came_meanwhile_is_replaced_with_force_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def none(*_: Any) -> None:
        raise OSError(1, "no hard links on this file system")

    if not links:
        monkeypatch.setattr(os, "link", none)
    path = tmp_path / "m.gguf"
    with replacing(path, force=False, need=1) as part:
        part.write_bytes(b"first")
    assert path.read_bytes() == b"first"
    path.unlink()

    def beside_another() -> None:
        with replacing(path, force=False, need=1) as part:
            part.write_bytes(b"ours")
            path.write_bytes(b"another's")

    with pytest.raises(SparseDoctorError, match="exists already; --force"):
        beside_another()
    assert path.read_bytes() == b"another's"
    with replacing(path, force=True, need=1) as part:
        part.write_bytes(b"ours")
    assert path.read_bytes() == b"ours"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_that_leads_nowhere_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.symlink_to(tmp_path / "nowhere.gguf")
    with pytest.raises(SparseDoctorError, match="exists already"):
        check_place(path, force=False, need=1)


@pytest.mark.parametrize(
    ("force", "said"), [(False, "exists already"), (True, "no earlier export")]
)
def test_a_folder_that_came_meanwhile_stays(tmp_path: Path, force: bool, said: str) -> None:
    path = tmp_path / "model"

    def beside_another() -> None:
        with replacing_folder(path, force=force, need=1) as part:
            (part / "routing.json").touch()
            path.mkdir()
            (path / "notes.txt").write_text("somebody's")

    with pytest.raises(SparseDoctorError, match=said):
        beside_another()
    assert (path / "notes.txt").read_text() == "somebody's"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_quantiser_left_is_cleared_by_the_next_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[Path] = []

    def killed(_: Any, request: dict[str, Any], *__: Any) -> None:
        left.append(Path(request["destination"]))
        raise SystemExit

    monkeypatch.setattr(quantize, "_follow", killed)
    monkeypatch.setattr(quantize, "read_header", lambda _: None)
    gone = 2**22 + 1  # above every process number
    destination = tmp_path / f".m.gguf.{gone}.part"
    with pytest.raises(SystemExit):
        quantize.quantize(tmp_path / "source.gguf", destination, "Q4_K_M", threads=1)
    stays = Path(str(left[0]).replace(str(gone), "1"))  # of a process that runs
    left[0].touch()
    stays.touch()
    check_place(tmp_path / "m.gguf", force=False, need=1)
    assert list(tmp_path.iterdir()) == [stays]
