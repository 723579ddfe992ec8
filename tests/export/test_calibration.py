"""What experts attend to: found where it is so, not found where it is not."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sparsedoctor.core.bundle import read_bundle
from sparsedoctor.core.engine.protocol import Evaluation, Message
from sparsedoctor.export.calibrate_command import choose, read_rows
from sparsedoctor.export.cli import main
from sparsedoctor.export.json_lines import read_conversations
from sparsedoctor.export.metadata_edit import set_text
from sparsedoctor.export.profile import RoutedText, information, make_profile, routed_text

Export = Callable[..., Path]


def texts(rng: np.random.Generator, leaning: float) -> list[RoutedText]:
    """Forty texts of two topics in three layers; "heart" leans to expert 1 by `leaning`."""
    made = []
    for number in range(40):
        topic = ("heart", "skin")[number % 2]
        weight = rng.random((3, 4)) + 2
        if topic == "heart":
            weight[:, 1] += leaning
        made.append(RoutedText(topic, 10, weight, np.round(weight)))
    return made


def test_a_real_preference_stands_out() -> None:
    profile = make_profile(texts(np.random.default_rng(0), 3.0), "made up", shuffles=100)
    heart, skin = profile["topics"]
    assert heart["favours"] == 1
    assert skin["favours"] != 1
    assert profile["baseline"]["information"] > 5 * profile["baseline"]["shuffled_95"]
    assert sum(heart["shares"]) == pytest.approx(1, abs=1e-3)


def test_topics_by_lot_do_not_stand_out() -> None:
    found = 0
    for seed in range(20):
        made = texts(np.random.default_rng(seed), 0.0)
        profile = make_profile(made, "by lot", seed=seed, shuffles=100)
        found += sum(row["favours"] is not None for row in profile["topics"])
    assert found <= 4  # of 40; a table without a baseline would mark them all


def test_information_is_zero_without_and_log_two_with_full_dependence() -> None:
    even = np.ones((2, 1, 2))
    assert information(even) == pytest.approx(0.0)
    whole = np.zeros((2, 1, 2))
    whole[0, 0, 0] = whole[1, 0, 1] = 5.0
    assert information(whole) == pytest.approx(np.log(2))


def test_routing_is_summed_over_tokens() -> None:
    experts = np.array([[[0, 2]], [[2, 1]]], dtype=np.int32)  # [tokens, layers, k]
    weights = np.array([[[0.75, 0.25]], [[0.5, 0.5]]], dtype=np.float32)
    found = routed_text("t", Evaluation(np.zeros((2, 3), np.float32), experts, weights), 4)
    np.testing.assert_allclose(found.weight, [[0.75, 0.5, 0.75, 0.0]])
    np.testing.assert_allclose(found.chosen, [[1, 1, 2, 0]])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl.gz"
    rows = [
        {"question": f"{word} {number}?", "department": topic}
        for number in range(10)
        for topic, word in (("heart", "chest pain"), ("skin", "itching rash"), ("rare", "x"))
        if topic != "rare" or number == 0
    ]
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def test_the_profile_is_noted_in_file_and_adapter_and_kept_by_the_next_export(
    export: Export, adapter: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = export()
    before = read_bundle(path)
    words = ["calibrate", str(path), "--data", str(data), "--adapter", str(adapter)]
    assert main(words) == 0
    assert "20 texts of 2 topics" in capsys.readouterr().out
    bundle = read_bundle(path)
    assert bundle is not None
    assert before is not None
    assert [row["name"] for row in bundle.profile["topics"]] == ["heart", "skin"]
    assert len(bundle.profile["utilisation"]) == 2
    assert bundle.tensors_sha256 == before.tensors_sha256
    assert main(["inspect", str(path), "--check"]) == 0  # the weights are untouched
    assert "what the experts attend to" in capsys.readouterr().out
    again = read_bundle(export(name="again.gguf"))
    assert again is not None
    assert again.profile == bundle.profile


def test_texts_are_spread_over_the_topics() -> None:
    rows = [("a", str(n)) for n in range(100)] + [("b", str(n)) for n in range(10)] + [("c", "1")]
    kept = choose(rows, 40, 8)
    assert {topic for topic, _ in kept} == {"a", "b"}
    assert len(kept) == 30


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ('{"question": "a"}\n', "line 1: no topic"),
        ('{"question": "a", "topic": "t"}\nnot json\n', "line 2: no JSON"),
        ("[1]\n", "line 1: no JSON object"),
        ("", "has no line with a text (question, "),
    ],
)
def test_bad_data_is_named_by_its_line(
    export: Export, tmp_path: Path, lines: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "bad.jsonl"
    data.write_text(lines)
    path = export()
    capsys.readouterr()
    assert main(["calibrate", str(path), "--data", str(data)]) == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-5", "x"])
def test_a_profile_of_no_texts_replaces_none(
    number: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["calibrate", "model.gguf", "--data", str(data), "--examples", number])
    assert ended.value.code == 2
    assert f"{number} is no whole number of at least 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "chat",
    [
        {"messages": [{"role": "system", "content": "Be brief."},
                      {"role": "user", "content": "Is it a cold?"},
                      {"role": "assistant", "content": "Perhaps."}]},
        {"conversations": [{"from": "human", "value": "Is it a cold?"},
                           {"from": "gpt", "value": "Perhaps."}]},
    ],
)  # fmt: skip
def test_chats_are_read_too_and_a_byte_order_mark_is_no_text(
    tmp_path: Path, chat: dict[str, list[dict[str, str]]]
) -> None:
    file = tmp_path / "chats.jsonl"
    file.write_text("\ufeff" + json.dumps({**chat, "topic": "nose"}) + "\n", encoding="utf-8")
    assert read_rows(file, None) == [("nose", "Is it a cold?")]
    said = [Message("user", "Is it a cold?"), Message("assistant", "Perhaps.")]
    assert read_conversations(file, 5) == [tuple(said)]


def test_the_published_layout_is_read(shared_data: Path) -> None:
    rows = read_rows(shared_data / "eval" / "medquad_dev.jsonl.gz", "qtype")
    assert len(rows) > 800
    assert any(topic == "symptoms" for topic, _ in rows)


def test_a_text_may_grow_and_shrink_without_moving_a_weight(export: Export) -> None:
    path = export()
    for text in ("x" * 5000, "", "头痛"):
        set_text(path, "sparsedoctor.label", text or "y")
        bundle = read_bundle(path)
        assert bundle is not None
        assert bundle.label == (text or "y")
        assert main(["inspect", str(path), "--check"]) == 0
