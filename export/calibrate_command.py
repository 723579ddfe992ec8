"""`sparsedoctor-export calibrate`: find out what each expert attends to, and note it."""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sparsedoctor.core.arguments import whole
from sparsedoctor.core.bundle import PREFIX, read_bundle
from sparsedoctor.core.engine.child import ChildEngine
from sparsedoctor.core.engine.protocol import EngineSettings
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.files import replace_text
from sparsedoctor.core.models import find_model
from sparsedoctor.export.adapter import SETTINGS_FILE
from sparsedoctor.export.json_lines import KNOWN, json_objects, question_of
from sparsedoctor.export.metadata_edit import set_text
from sparsedoctor.export.profile import RoutedText, make_profile, routed_text

_TOPICS = ("department", "topic", "exam_class", "cate1", "subject", "qtype", "category")
_CONTEXT = 512  # tokens of a text that are read


def run(words: Sequence[str]) -> int:
    """Parse, route the texts, write the profile."""
    options = _parser().parse_args(words)
    path = find_model(options.file)
    bundle = read_bundle(path)
    if bundle is None:
        raise SparseDoctorError(f"{path} holds no routing metadata; calibrate an export of ours")
    rows = read_rows(options.data, options.topic)
    kept = choose(rows, options.examples, options.fewest)
    texts = _route(path, kept, bundle.expert_count)
    profile = make_profile(texts, options.name or options.data.name)
    set_text(path, PREFIX + "profile", json.dumps(profile, sort_keys=True, ensure_ascii=False))
    if options.adapter:
        _note_in_adapter(options.adapter, profile)
    found = profile["baseline"]
    beyond = sum(row["favours"] is not None for row in profile["topics"])
    print(
        f"{path}: {len(texts)} texts of {len(profile['topics'])} topics; experts and topics share "
        f"{found['information']:.4f} nats, shuffled {found['shuffled_mean']:.4f} (95 % below "
        f"{found['shuffled_95']:.4f}); {beyond} topics have an expert that stands out"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "sparsedoctor-export calibrate",
        description="Route a set of labelled texts through an exported file and note in it which "
        "expert each topic reaches, beside what shuffled topics would give. Needs no torch.",
    )
    parser.add_argument("file", help='an exported GGUF file, or "default"')
    parser.add_argument(
        "--data", type=Path, required=True, metavar="FILE", help="JSON lines, also .gz"
    )
    parser.add_argument("--topic", metavar="FIELD", help=f"default: the first of {_TOPICS}")
    parser.add_argument(
        "--examples", type=whole(1), default=400, help="texts at most (default: 400)"
    )
    parser.add_argument(
        "--fewest", type=whole(1), default=8, help="leave out topics with fewer texts (default: 8)"
    )
    parser.add_argument("--name", default="", help="what the profile calls the data")
    parser.add_argument(
        "--adapter", type=Path, metavar="DIR", help="note the profile in this adapter folder too"
    )
    return parser


def read_rows(path: Path, topic: str | None) -> list[tuple[str, str]]:
    """`(topic, text)` of every line that has both. Raises SparseDoctorError."""
    rows, field = [], topic
    for number, row in json_objects(path):
        field = field or next((name for name in _TOPICS if row.get(name)), None)
        if field is None:
            raise SparseDoctorError(f"{path}, line {number}: no topic; name its field with --topic")
        text = question_of(row)
        if text and row.get(field):
            rows.append((str(row[field]), text))
    if not rows:
        raise SparseDoctorError(
            f"{path} has no line with a text ({', '.join(KNOWN)}) and a topic "
            f"({field or ', '.join(_TOPICS)})"
        )
    return rows


def choose(rows: Sequence[tuple[str, str]], most: int, fewest: int) -> list[tuple[str, str]]:
    """At most `most` texts, spread evenly over the topics that have at least `fewest`."""
    counts = Counter(topic for topic, _ in rows)
    topics = [topic for topic, count in counts.most_common() if count >= fewest]
    topics = topics[: max(2, most // max(fewest, 1))]
    if len(topics) < 2:
        raise SparseDoctorError(
            f"a profile needs at least two topics of {fewest} texts; the data has {dict(counts)}"
        )
    each = max(fewest, most // len(topics))
    order = random.Random(0)
    kept: list[tuple[str, str]] = []
    for topic in sorted(topics):
        mine = [row for row in rows if row[0] == topic]
        kept += order.sample(mine, min(each, len(mine)))
    return kept


def _route(path: Path, rows: Sequence[tuple[str, str]], experts: int) -> list[RoutedText]:
    engine = ChildEngine(path, EngineSettings(context=_CONTEXT))
    texts = []
    try:
        if not engine.load().routing_traced:
            raise SparseDoctorError("this llama-cpp-python does not show the routing; update it")
        pause = 0.1 if sys.stderr.isatty() else 5.0
        for topic, text in tqdm(rows, desc="routing", unit="text", leave=False, mininterval=pause):
            tokens = engine.tokenize(text)[: _CONTEXT - 1]
            if tokens:
                texts.append(routed_text(topic, engine.evaluate(tokens), experts))
    finally:
        engine.close()
    return texts


def _note_in_adapter(folder: Path, profile: dict[str, Any]) -> None:
    file = folder / SETTINGS_FILE
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
        text = json.dumps({**settings, "profile": profile}, indent=2, ensure_ascii=False) + "\n"
        replace_text(file, text)
    except (OSError, ValueError) as error:
        raise SparseDoctorError(f"cannot note the profile in {file}: {error}") from error
