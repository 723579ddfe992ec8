"""Folders as the `datasets` library saves them, and parquet files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.data.formats import read_examples

ROWS = [
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]},
    {"messages": [{"role": "user", "content": "头痛"}, {"role": "assistant", "content": "多久？"}]},
]


def _save(folder: Path, rows: list[dict[str, Any]]) -> None:
    """What `Dataset.save_to_disk` writes: an Arrow stream and two descriptions."""
    arrow = pytest.importorskip("pyarrow")
    folder.mkdir(parents=True)
    table = arrow.Table.from_pylist(rows)
    with arrow.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as stream:
        stream.write_table(table, max_chunksize=1)
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]})
    )
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}))


def test_a_saved_data_set_is_read_row_by_row(tmp_path: Path) -> None:
    _save(tmp_path / "saved", ROWS)
    examples = read_examples(tmp_path / "saved")
    assert [(e.question, e.answers, e.line) for e in examples] == [
        ("Hi", ("Hello",), 1),
        ("头痛", ("多久？",), 2),
    ]


def test_an_arrow_file_is_read_as_a_stream_is(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    table = arrow.Table.from_pylist(ROWS)
    with arrow.ipc.new_file(tmp_path / "x.arrow", table.schema) as file:
        file.write_table(table, max_chunksize=1)
    assert [e.question for e in read_examples(tmp_path / "x.arrow")] == ["Hi", "头痛"]


def test_a_folder_laid_out_as_on_the_hub_is_read(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("A data set.")
    inner = tmp_path / "data"
    inner.mkdir()
    for name, row in (("train-0", ROWS[0]), ("test-0", ROWS[1])):
        (inner / f"{name}.jsonl").write_text(json.dumps(row))
    assert [e.question for e in read_examples(tmp_path)] == ["Hi"]


def test_a_saved_dictionary_stands_for_its_train_split(tmp_path: Path) -> None:
    _save(tmp_path / "saved" / "train", ROWS[:1])
    _save(tmp_path / "saved" / "test", ROWS[1:])
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert [e.question for e in read_examples(tmp_path / "saved")] == ["Hi"]
    assert [e.question for e in read_examples(tmp_path / "saved" / "test")] == ["头痛"]


def test_a_dictionary_without_a_train_split_names_its_splits(tmp_path: Path) -> None:
    _save(tmp_path / "saved" / "validation", ROWS)
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["validation"]}')
    with pytest.raises(SparseDoctorError, match=r"no split called train; .*saved/validation"):
        read_examples(tmp_path / "saved")


def test_a_parquet_file_is_read(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"question": "Why?", "answer": "So."}, {"instruction": "Name it.", "output": "Gout."}]
    rows.append({"question": "And?"})
    columns = ("question", "answer", "instruction", "output")
    schema = arrow.schema([(name, arrow.string()) for name in columns])
    # A table has every column in every row: what a row does not have is null there.
    parquet.write_table(arrow.Table.from_pylist(rows[:2], schema), tmp_path / "x.parquet")
    assert [e.answers for e in read_examples(tmp_path / "x.parquet")] == [("So.",), ("Gout.",)]
    parquet.write_table(arrow.Table.from_pylist(rows, schema), tmp_path / "x.parquet")
    with pytest.raises(SparseDoctorError, match=r"x\.parquet, row 3: expected the fields of a kno"):
        read_examples(tmp_path / "x.parquet")


@pytest.mark.parametrize("name", ["x.arrow", "x.parquet"])
def test_a_damaged_table_is_one_line(tmp_path: Path, name: str) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(b"ARROW1 but not really, and then some more bytes" * 4)
    with pytest.raises(SparseDoctorError, match="cannot be read after row 0") as caught:
        read_examples(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_without_pyarrow_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "x.arrow").write_bytes(b"")
    with pytest.raises(SparseDoctorError, match=r"needs the package pyarrow; run pip install"):
        read_examples(tmp_path / "x.arrow")


def test_a_folder_of_json_lines_needs_no_pyarrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    assert len(read_examples(tmp_path)) == 2
