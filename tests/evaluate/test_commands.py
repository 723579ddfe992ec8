"""`sparsedoctor-eval` as a person calls it."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from evaluate.conftest import TinyModel
from evaluate.exam_files import write_cmb, write_cmexam, write_json, write_lines

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.evaluate.cli import main
from sparsedoctor.train.evaluate.downloading import fetch

WITHOUT_TORCH = (
    "import sys\n"
    "for name in ('torch', 'transformers', 'peft'): sys.modules[name] = None\n"
    "from sparsedoctor.train.evaluate.cli import main\n"
    "sys.exit(main(sys.argv[1:]))\n"
)


def called_without_torch(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_TORCH, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=120)


def result_of(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return document


@pytest.fixture
def cmexam(tmp_path: Path) -> Path:
    return write_cmexam(tmp_path / "cmexam.csv")


@pytest.fixture
def run(tiny: TinyModel, cmexam: Path, tmp_path: Path) -> Path:
    """A finished run of the tiny exported model."""
    assert main(arguments(tiny.gguf, cmexam, tmp_path / "run")) == 0
    return tmp_path / "run"


def arguments(model: Path | str, data: Path, output: Path, *more: str) -> list[str]:
    basic = ["run", "--model", str(model), "--benchmark", "cmexam", "--data", str(data)]
    return [*basic, "--output", str(output), "--threads", "1", "--quiet", *more]


def test_help_needs_no_torch() -> None:
    done = called_without_torch("--help")
    assert done.returncode == 0
    assert "compare" in done.stdout
    assert called_without_torch("run", "--help").returncode == 0


def test_a_gguf_file_is_scored_without_torch(tiny: TinyModel, cmexam: Path, tmp_path: Path) -> None:
    done = called_without_torch(*arguments(tiny.gguf, cmexam, tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    result = result_of(tmp_path / "out")
    assert (result["benchmark"], result["n"]) == ("cmexam", 3)
    assert result["model"]["kind"] == "gguf"
    assert len((tmp_path / "out" / "answers.jsonl").read_text().splitlines()) == 3


def test_a_folder_without_torch_says_what_to_install(
    tiny: TinyModel, cmexam: Path, tmp_path: Path
) -> None:
    done = called_without_torch(*arguments(tiny.base, cmexam, tmp_path / "out"))
    assert done.returncode == 2
    assert "sparsedoctor[train]" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_default_model_that_is_not_assembled_yet(cmexam: Path, tmp_path: Path) -> None:
    done = called_without_torch(*arguments("default", cmexam, tmp_path / "out"))
    assert done.returncode == 2
    assert "sparsedoctor-export default" in done.stderr


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--benchmark", "cmexxam"], "there is no benchmark cmexxam"),
        (["--data", "nowhere"], "github.com/williamliujl/CMExam"),
        (["--model", "nothing.gguf"], "there is no model nothing.gguf"),
        (["--shots", "3"], "--shots-from"),
        (["--compatibility", "huatuogpt-2"], "--scoring generate"),
        (["--template", "chatml"], "--template"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    wrong: list[str],
    told: str,
    tiny: TinyModel,
    cmexam: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [*arguments(tiny.gguf, cmexam, tmp_path / "out"), *wrong]
    assert main(given) == 2
    told_lines = capsys.readouterr().err.strip().splitlines()
    assert told in told_lines[-1]
    assert len(told_lines) == 1


def test_few_shot_from_another_file(tiny: TinyModel, cmexam: Path, tmp_path: Path) -> None:
    val = write_cmexam(tmp_path / "other" / "own_val.csv", annotated=False, prefix="例：")
    more = ["--shots", "1", "--shots-from", str(val), "--seed", "0,1", "--limit", "2"]
    assert main(arguments(tiny.gguf, cmexam, tmp_path / "out", *more)) == 0
    assert set(result_of(tmp_path / "out")["seeds"]) == {"0", "1"}
    assert result_of(tmp_path / "out" / "seed-1")["settings"]["seed"] == 1


def test_generation_through_the_engine(tiny: TinyModel, cmexam: Path, tmp_path: Path) -> None:
    more = ["--scoring", "generate", "--max-tokens", "5"]
    assert main(arguments(tiny.gguf, cmexam, tmp_path / "out", *more)) == 0
    result = result_of(tmp_path / "out")
    assert set(result["levels"]) == {"exact", "first-letter", "lenient"}
    rows = [json.loads(line) for line in (tmp_path / "out/answers.jsonl").open()]
    assert all(isinstance(row["text"], str) for row in rows)


def test_compare_makes_a_table_and_a_picture(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="pictures need sparsedoctor[train]")
    other = tmp_path / "other"
    other.mkdir()
    for name in ("result.json", "answers.jsonl"):
        (other / name).write_text((run / name).read_text())
    capsys.readouterr()
    assert main(["compare", str(run), str(other), "--output", str(tmp_path / "table")]) == 0
    text = capsys.readouterr().out
    assert "| run |" in text
    assert "+0.00 [+0.00, +0.00] | 1.0000 | 100.00 %" in text
    assert (tmp_path / "table" / "compare.md").read_text() in text + "\n"
    assert (tmp_path / "table" / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_compare_says_how_many_questions_were_paired(
    tiny: TinyModel, cmexam: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, number in (("three", "3"), ("two", "2")):
        assert main(arguments(tiny.gguf, cmexam, tmp_path / name, "--limit", number)) == 0
    ids = [
        {json.loads(line)["id"] for line in (tmp_path / name / "answers.jsonl").open()}
        for name in ("three", "two")
    ]
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "three"), str(tmp_path / "two")]) == 0
    assert f"of the {len(ids[0] & ids[1])} questions that three answered" in capsys.readouterr().out


def test_a_run_is_no_model_and_its_adapter_is_named(
    cmexam: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="needs sparsedoctor[train]")
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    assert main(arguments(run, cmexam, tmp_path / "out")) == 2
    assert f"is a training run; its adapter is {run / 'adapter'}" in capsys.readouterr().err


def test_the_leaderboard_names_source_and_protocol(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leaderboard", str(run)]) == 0
    text = capsys.readouterr().out
    values = [
        line.split("|")[2].strip()
        for line in text.splitlines()
        if line.startswith("| HuatuoGPT-II-7B |")
    ]
    assert values == ["60.39", "62.07", "63.60"]
    assert "this run" in text
    assert "Only rows of one run" in text
    assert main(["leaderboard", "nowhere"]) == 2


def test_contamination_finds_the_same_question_and_thirteen_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_cmb(tmp_path / "data")
    path = root / "CMB-Exam/CMB-test/CMB-test-choice-question-merge.json"
    questions = json.loads(path.read_text())
    long = "患者三天前受凉后出现咳嗽咳痰伴有发热体温最高三十九度"
    questions[4]["question"] = long + "最可能的诊断是"
    write_json(path, questions)
    rows = [
        {"instruction": questions[0]["question"] + "？", "input": "", "output": "甲"},
        {"instruction": "例子：" + long[3:18] + "，怎么办", "input": "", "output": "休息"},
        {"question": "别的问题", "options": {"A": questions[1]["question"]}, "answer": "A"},
        {"instruction": long[:12], "input": "", "output": "十二个字不够"},
    ]
    train = write_lines(tmp_path / "train.jsonl.gz", rows)
    call = ["contamination", "--train", str(train), "--benchmark", "cmb", "--data", str(root)]
    assert main([*call, "--output", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "contamination.json").read_text())
    assert [(row["line"], row["kind"], row["question"]) for row in report["rows"]] == [
        (1, "exact", "1"),
        (2, "13-gram", "5"),
    ]
    assert report["files"][0] == {"file": str(train), "rows": 4, "exact": 1, "ngram": 1}
    assert report["rows"][1]["shared"] == long[3:16]
    assert "2 of 10 questions" in capsys.readouterr().out


def test_a_download_that_cannot_be_had_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # where nothing listens
    call = ["run", "--model", "default", "--benchmark", "cmb", "--data", str(tmp_path / "data")]
    assert main([*call, "--output", str(tmp_path / "out"), "--download"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "by hand" in error
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "offered"),
    [("cmb", True), ("cmexam", True), ("cmmlu-med", True), ("medqa-zh", False), ("mmlu-med", False),
     ("medmcqa", False), ("medquad", False)],
)  # fmt: skip
def test_a_missing_file_offers_download_only_where_there_is_one(
    name: str, offered: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["run", "--model", "default", "--benchmark", name, "--data", str(tmp_path / "data")]
    assert main([*call, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "publish it at http" in error
    assert ("--download" in error) is offered


def test_a_run_that_no_published_score_stands_beside_is_no_empty_row(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = result_of(run)
    write_json(run / "result.json", result | {"benchmark": "mmlu-med", "title": "MMLU, medical"})
    assert main(["leaderboard", str(run)]) == 0
    text = capsys.readouterr().out
    assert "this run" not in text
    assert "MMLU, medical has no column here" in text


@pytest.fixture
def published(tmp_path: Path) -> Iterator[str]:
    """A web server with one file."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "file.json").write_bytes(b"[1, 2, 3]")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_fetched_file_is_whole_and_its_hash_is_shown(published: str, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.json"
    target.parent.mkdir()
    another = target.with_name("file.json.part")  # of a second call, or anybody's
    another.write_text("another's")
    size, sha256 = fetch(f"{published}/file.json", target)
    assert target.read_bytes() == b"[1, 2, 3]"
    assert {path.name for path in target.parent.iterdir()} == {target.name, another.name}
    assert another.read_text() == "another's"
    assert size == 9
    assert sha256 == hashlib.sha256(b"[1, 2, 3]").hexdigest()
    gone = target.with_name(f".{target.name}.{2**22 + 1}.part")  # of a process that was killed
    gone.write_text("half")
    fetch(f"{published}/file.json", target)
    assert not gone.exists()
    with pytest.raises(SparseDoctorError, match="by hand"):
        fetch(f"{published}/absent.json", tmp_path / "absent.json")
    assert not (tmp_path / "absent.json").exists()
