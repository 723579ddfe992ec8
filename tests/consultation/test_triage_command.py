"""`sparsedoctor-tui triage`: JSON with the named keys, one object a line, plain errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparsedoctor.app.tui.cli import main


def test_json_has_the_named_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["triage", "crushing chest pain", "--json", "--region", "US"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["urgency"] == "emergency"
    assert found["crisis"] is False
    assert "heart.chest-pain" in found["rules"]
    assert found["numbers"]["emergency"] == ["911"]


def test_a_file_gives_one_object_a_line_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "texts"
    file.write_text("胸口闷得慌\n\nrunny nose\nI want to die\n", encoding="utf-8")
    assert main(["triage", "--file", str(file)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["urgency"] for line in lines] == ["emergency", "unclear", "self_care", "emergency"]
    assert [line["crisis"] for line in lines] == [False, False, False, True]


def test_age_sex_and_pregnancy_count(capsys: pytest.CaptureFixture[str]) -> None:
    for options, urgency in ((["--age", "0.1"], "emergency"), (["--age", "30"], "days")):
        assert main(["triage", "fever of 38.2", "--json", *options]) == 0
        assert json.loads(capsys.readouterr().out)["urgency"] == urgency
    assert main(["triage", "I am bleeding", "--json", "--pregnant", "--sex", "female"]) == 0
    assert json.loads(capsys.readouterr().out)["urgency"] == "emergency"


def test_it_explains_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["triage", "我爸胸口疼得厉害", "--region", "CN"]) == 0
    shown = capsys.readouterr().out
    assert "120" in shown
    assert "heart.chest-pain" in shown
    assert "胸口疼" in shown
    assert main(["triage", "what are the signs of a stroke?"]) == 0
    assert "general question" in capsys.readouterr().out


def test_equal_advice_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    main(["triage", "crushing chest pain, I can't breathe, sweating", "--region", "GB"])
    assert capsys.readouterr().out.count("Do not drive yourself") == 1


@pytest.mark.parametrize(
    "arguments", [[], [""], ["x", "--file", "y"], ["--file", "/nowhere/at/all"], ["--file", "/"]]
)
def test_wrong_use_is_one_line_and_not_zero(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["triage", *arguments]) != 0
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--age", "200"], ["--region", "XX"], ["--sex", "x"]])
def test_wrong_options_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["triage", "x", *arguments])
    assert left.value.code == 2


def test_a_file_that_is_no_text_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "binary"
    file.write_bytes(b"\xff\xfe\x00\x80")
    assert main(["triage", "--file", str(file)]) == 2
    assert "UTF-8" in capsys.readouterr().err
