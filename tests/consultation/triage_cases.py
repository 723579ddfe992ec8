"""The cases under cases/, by language and kind, for several tests."""

from __future__ import annotations

from pathlib import Path

import yaml

ALARMING = ("emergency", "vignette", "crisis")
CASES: dict[str, dict[str, list[str]]] = {
    file.stem: yaml.safe_load(file.read_text("utf-8"))
    for file in sorted((Path(__file__).parent / "cases").glob("*.yaml"))
}


def cases(*kinds: str) -> list[str]:
    """The cases of these kinds in all languages."""
    return [text for sets in CASES.values() for kind in kinds for text in sets.get(kind, ())]
