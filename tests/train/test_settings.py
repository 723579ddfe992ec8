"""Settings come from a file and flags; unknown and impossible ones are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.cli import field_texts, run_parser
from sparsedoctor.train.settings import SECTIONS, build_settings, read_settings_file

TOML = '[data]\ndata = ["a.jsonl"]\n[experts]\nrank = 4\n[run]\nlearning_rate = 1e-3\n'
YAML = "data:\n  data: [a.jsonl]\nexperts:\n  rank: 4\nrun:\n  learning_rate: 1e-3\n"


@pytest.mark.parametrize(("name", "text"), [("s.toml", TOML), ("s.yaml", YAML), ("s.yml", YAML)])
def test_a_file_and_flags_over_it(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    settings = build_settings(read_settings_file(path), {"experts": {"rank": 16}})
    assert settings.data.data == ("a.jsonl",)
    assert settings.experts.rank == 16
    assert settings.run.learning_rate == 1e-3
    assert settings.experts.experts == 4
    assert build_settings(settings.to_json()) == settings  # what run.json keeps


@pytest.mark.parametrize(("name", "text"), [("s.toml", TOML), ("s.yaml", YAML)])
def test_a_byte_order_mark_and_windows_line_ends_are_read(
    tmp_path: Path, name: str, text: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert build_settings(read_settings_file(path)).experts.rank == 4


def test_an_empty_section_is_one_without_settings(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("experts:\n  rank: 4\nrun:\n")
    assert build_settings(read_settings_file(path)).experts.rank == 4


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("run:\n  steps: 3\n  seed: 1\n  steps: 4\n")
    with pytest.raises(SparseDoctorError, match="steps stands there a second time, in line 4"):
        read_settings_file(path)
    path.write_text("run: {[1]: 2}\n")
    with pytest.raises(SparseDoctorError, match="neither TOML nor YAML"):
        read_settings_file(path)


def test_a_flag_is_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_parser().parse_args(["--step", "5"])
    assert "unrecognized arguments: --step" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[run]\nlearnig_rate = 1e-3\n", "run.learnig_rate"),
        ("[runs]\nsteps = 3\n", "'runs'"),
        ("steps = 3\n", "outside a section"),
        ("[run]\nsteps = \n", "neither TOML nor YAML"),
        ("[run]\nsteps = 'three'\n", "run.steps is 'three'; expected int"),
        ("[run]\nsteps = 3.5\n", "run.steps is 3.5"),
        ("[run]\nschedule = 'up'\n", "cosine"),
        ("[data]\npack = 1\n", "data.pack is 1; expected bool"),
        ("[supervision]\ntemperature = 0\n", "temperature is 0"),
        (
            "[supervision]\nroute_target = 'subjects'\nqueue_length = 0\n",
            'route_target "subjects" reads subjects from the memory; it needs use_labels and',
        ),
        (
            "[supervision]\nwarmup_steps = 50\nrelease_steps = 50\n",
            "release_steps is 50; it must be above warmup_steps (50), or 0 for never",
        ),
        (
            "[supervision]\nrelease_steps = 90\nqueue_length = 0\n",
            "release_steps counts from a filled memory; it needs a queue_length above 0",
        ),
        ("[supervision]\nroute_target = 'topics'\n", "expected one of similarity, subjects"),
        ("[experts]\nsharing = 1\n", "sharing is 1.0; it must be 0 (no sharing) to below 1"),
        ("[experts]\nsharing = nan\n", "sharing is nan"),
        ("[run]\nlearning_rate = nan\n", "run.learning_rate is nan; expected a finite number"),
        ("[run]\nlearning_rate = 'inf'\n", "run.learning_rate is 'inf'; expected a finite number"),
        ("[experts]\nalpha = inf\n", "experts.alpha is inf"),
        ("[run]\nseed = -1\n", "seed is -1; expected 0 to 4294967295"),
        ("[run]\nseed = 4294967296\n", "seed is 4294967296"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(SparseDoctorError, match=r"\S") as error:
        build_settings(read_settings_file(path))
    assert said in str(error.value)


def test_sections_share_no_name_and_every_setting_is_explained() -> None:
    names = [item for kind in SECTIONS.values() for item in kind.__dataclass_fields__]
    assert len(names) == len(set(names))
    for kind in SECTIONS.values():
        assert field_texts(kind).keys() == kind.__dataclass_fields__.keys()
    shown = run_parser().format_help()
    assert all("--" + name.replace("_", "-") in shown for name in names)
