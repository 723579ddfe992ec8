"""One page of a run: whole, self-contained, readable also from damaged or unfinished runs."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.report.findings import findings
from sparsedoctor.train.report.page import write_report
from sparsedoctor.train.report.record import read_run

pytest.importorskip("matplotlib")
Image = pytest.importorskip("PIL.Image")


def _layer(load: list[float], **more: Any) -> dict[str, Any]:
    entropy = {"entropy": 0.98, "balance": 1.05, "margin": 0.2, "dead": 0}
    return {"load": load, "queue_fill": [0.5] * len(load), **entropy, **more}


def _run(folder: Path, steps: int = 60, experts: int = 4) -> Path:
    folder.mkdir()
    even = [1 / experts] * experts
    with (folder / "log.jsonl").open("w") as log:
        for step in range(5, steps + 1, 5):
            line = {"step": step, "loss": 3 - step / 100, "lm_loss": 2.9 - step / 100,
                    "contrast": 2.0, "route": 0.1, "balance": 1.1, "z": 0.0, "agreement": 0.4,
                    "learning_rate": 1e-3, "tokens_per_second": 400.0}  # fmt: skip
            log.write(json.dumps(line) + "\n")
            if step % 20 == 0:
                log.write(json.dumps({"step": step, "held_out_loss": 2.8 - step / 100}) + "\n")
    with (folder / "health.jsonl").open("w") as health:
        for step in range(20, steps + 1, 20):
            layers = [_layer(even), _layer(even), _layer(even)]
            health.write(json.dumps({"step": step, "layers": layers}) + "\n")
    with (folder / "choices.jsonl").open("w") as choices:
        for number in range(40):
            chosen = [[3 + number % 2, *([2] * (experts - 1))]] * 3
            topic = ("symptoms", "<b>内科 & $x$</b>")[number % 2]
            choices.write(json.dumps({"topic": topic, "chosen": chosen}) + "\n")
    record = {
        "settings": {
            "data": {"data": ["a.jsonl"], "pack": False},
            "run": {"steps": 60, "base": "tiny"},
            "experts": {"experts": experts, "top_k": 2, "rank": 8},
        },
        "versions": {"torch": "2"},
        "data_sha256": {"a.jsonl": "c0ffee"},
        "started": "2026-11-22T17:00:00+00:00",
    }
    (folder / "run.json").write_text(json.dumps(record))
    return folder


class _Links(HTMLParser):
    """Everything a browser would fetch, and whether every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.fetched += [values[name] or "" for name in ("src", "href", "data") if name in values]
        assert tag not in ("script", "link", "iframe", "object")
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        if tag == "img":
            assert values.get("alt")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _page(run: Path) -> str:
    path = write_report(run)
    assert path == run / "report.html"
    page = path.read_text(encoding="utf-8")
    links = _Links()
    links.feed(page)
    assert links.open == []
    assert all(link.startswith("data:image/png;base64,") for link in links.fetched)
    assert not re.search(r"url\(|@import|https?://", page)
    return page


def test_a_whole_run_is_one_page_with_every_picture_inside(tmp_path: Path) -> None:
    run = _run(tmp_path / "first")
    page = _page(run)
    pictures = re.findall(r"data:image/png;base64,([^\"]+)", page)
    drawn = sorted(path.name for path in (run / "pictures").iterdir())
    assert drawn == ["load.png", "loss.png", "memory.png", "routers.png", "terms.png", "topics.png"]
    assert len(pictures) == len(drawn)
    for picture in pictures:
        image = Image.open(io.BytesIO(base64.b64decode(picture)))
        assert image.width >= 1000
        assert len(image.convert("L").getcolors(256) or range(300)) > 20  # something is drawn
    assert "Training run first" in page
    assert "step 60 of 60" in page
    assert "c0ffee" in page
    assert "2.600 (perplexity 13.46) at step 20 to 2.200 (9.03) at step 60" in page
    assert "None of 12 experts is dead" in page


def test_what_a_person_named_is_text_in_the_page(tmp_path: Path) -> None:
    page = _page(_run(tmp_path / "a <i>run"))
    assert "a &lt;i&gt;run" in page
    assert "&lt;b&gt;内科 &amp; $x$&lt;/b&gt;" in page
    assert "<i>" not in page


def test_damaged_lines_are_counted_and_left_out(tmp_path: Path) -> None:
    run = _run(tmp_path / "killed")
    before = read_run(run)
    with (run / "log.jsonl").open("a") as log:
        log.write('not json\n[1, 2]\n{"loss": 3}\n{"step": 65, "lo')
    with (run / "health.jsonl").open("ab") as health:
        health.write(
            b'{"step": 80, "layers": []}\n\xff\xfe\n{"step": 80, "layers": [{"load": 3}]}\n'
        )
    (run / "run.json").write_text('{"settings": ')
    record = read_run(run)
    assert record.log == before.log
    assert record.health == before.health
    assert record.unreadable == {"log.jsonl": 4, "health.jsonl": 3, "run.json": 1}
    assert "4 line(s) of log.jsonl could not be read" in _page(run)


def test_a_description_of_another_shape_does_not_hide_the_run(tmp_path: Path) -> None:
    run = _run(tmp_path / "odd")
    (run / "run.json").write_text('{"settings": [1], "versions": 3, "started": null}')
    (run / "adapter").mkdir()
    (run / "adapter" / "sparsedoctor.json").write_text('{"base": "x", "licences": "y"}')
    assert "step 60" in _page(run)


def test_a_run_that_has_just_begun_has_a_page(tmp_path: Path) -> None:
    run = tmp_path / "young"
    run.mkdir()
    (run / "log.jsonl").write_text('{"step": 1, "loss": 3.5}\n')
    page = _page(run)
    assert "No held-out loss was measured" in page
    assert [path.name for path in (run / "pictures").iterdir()] == ["loss.png"]


def test_health_alone_and_layers_without_a_queue_are_drawn(tmp_path: Path) -> None:
    run = tmp_path / "health"
    run.mkdir()
    layer = {"load": [0.5, 0.3, 0.2], "entropy": None}
    (run / "health.jsonl").write_text(json.dumps({"step": 4, "layers": [layer] * 2}) + "\n")
    _page(run)
    assert {path.name for path in (run / "pictures").iterdir()} == {"load.png", "routers.png"}


def test_a_step_that_was_done_twice_counts_once(tmp_path: Path) -> None:
    run = tmp_path / "resumed"
    run.mkdir()
    lines = [{"step": 1, "loss": 4.0}, {"step": 2, "loss": 3.0}, {"step": 2, "loss": 2.5}]
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_run(run).series("loss") == ([1, 2], [4.0, 2.5])


def test_what_went_wrong_is_said(tmp_path: Path) -> None:
    run = _run(tmp_path / "bad")
    with (run / "log.jsonl").open("a") as log:
        log.write(
            '{"step": 65, "loss": NaN, "held_out_loss": NaN}\n{"step": 70, "loss": Infinity}\n'
        )
        log.write('{"step": 80, "held_out_loss": 2.9}\n')
    with (run / "health.jsonl").open("a") as health:
        layers = [_layer([0.5, 0.48, 0.01, 0.01], dead=2), _layer([0.4, 0.3, 0.26, 0.04])]
        health.write(json.dumps({"step": 80, "layers": [*layers, _layer([0.25] * 4)]}) + "\n")
    texts = [(finding.kind, finding.text) for finding in findings(read_run(run), None)]
    kinds = {text.split(":")[0].split(" at step")[0]: kind for kind, text in texts}
    assert kinds["The training loss is not a number"] == "warning"
    assert kinds["2 of 12 experts are dead"] == "warning"
    assert any("in the worst layer (0); 1 is even, 2 collapsed" in text for _, text in texts)
    assert any("After step 60 it rose again to 2.900" in text for _, text in texts)
    assert any("In layers 1 an expert receives less than 25%" in text for _, text in texts)
    _page(run)


@pytest.mark.parametrize(
    ("training", "kind", "said"),
    [
        ([3.0, 3.5, 4.0, 6.0], "warning", "training loss from 3.000 to 4.500: the learning rate"),
        ([3.0, 2.8, 2.5, 2.0], "note", "learn its examples by heart"),
        ([3.0, 3.1, 3.0, 3.1], "note", "rose again to 3.500. The checkpoint"),
    ],
)
def test_why_the_held_out_loss_rose_is_read_from_the_training_loss(
    tmp_path: Path, training: list[float], kind: str, said: str
) -> None:
    (tmp_path / "log.jsonl").write_text(
        "".join(json.dumps({"step": i + 1, "loss": x}) + "\n" for i, x in enumerate(training))
        + '{"step": 1, "held_out_loss": 3.0}\n{"step": 4, "held_out_loss": 3.5}\n'
    )
    found = findings(read_run(tmp_path), None)
    assert [one.kind for one in found if said in one.text] == [kind]
    assert any("when it was first measured, and never lower" in one.text for one in found)


def test_many_experts_and_layers_are_drawn(tmp_path: Path) -> None:
    _page(_run(tmp_path / "wide", experts=16))


def test_what_is_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SparseDoctorError, match="there is no run"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(SparseDoctorError, match=r"holds neither log\.jsonl nor health\.jsonl"):
        write_report(tmp_path)
    (tmp_path / "log.jsonl").write_text("garbage\n")
    with pytest.raises(SparseDoctorError, match="no line of its logs can be read"):
        write_report(tmp_path)
