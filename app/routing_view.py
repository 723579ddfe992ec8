"""Which experts an answer reached, ready to be drawn. Pure; terminal and browser share it.

Everything comes from `RoutingUpdate`, llama.cpp's own routing of this very text. Nothing is
guessed: without an update there is nothing to draw.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.labels import labels
from sparsedoctor.app.messages import in_language
from sparsedoctor.core.bundle import RoutingMetadata
from sparsedoctor.core.engine.protocol import ModelInfo, RoutingUpdate


@dataclass(frozen=True, slots=True)
class ExpertShare:
    """One bar: how much of the gate weight an expert had, over all layers and tokens."""

    name: str
    share: float  # 0 to 1; all experts add up to 1


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One row of the heat map: the shares of the experts within some neighbouring layers."""

    first: int  # layer, counted from 0
    last: int
    shares: tuple[float, ...]  # [experts], adds up to 1


def expert_names(
    bundle: RoutingMetadata | None, count: int, language: Language = "en"
) -> tuple[str, ...]:
    """The names the file gives its experts; numbers where it gives none."""
    given = bundle.expert_names if bundle else ()
    names = (
        given[number] if number < len(given) and given[number] else f"expert {number}"
        for number in range(count)
    )
    return tuple(in_language(name, language) for name in names)


def why_no_routing(info: ModelInfo, language: Language = "en") -> str:
    """The reason why nothing can be drawn for a model, or "" when it can. Before the engine is
    loaded, what the model itself is `known()` for."""
    words = labels(language)
    if info.server:
        return words.no_routing_server
    if info.experts == 0:
        return words.no_routing_plain
    return "" if info.routing_traced else words.no_routing_engine


def expert_shares(update: RoutingUpdate, names: tuple[str, ...]) -> tuple[ExpertShare, ...]:
    """One bar for each expert, in the file's order."""
    shares = update.shares()
    return tuple(ExpertShare(name, share) for name, share in zip(names, shares, strict=False))


def layer_rows(update: RoutingUpdate, most_rows: int) -> tuple[LayerRow, ...]:
    """The heat map; neighbouring layers share a row where there are more than `most_rows`."""
    layers = len(update.weight)
    height = max(1, -(-layers // max(1, most_rows)))  # layers in a row
    rows = []
    for first in range(0, layers, height):
        block = update.weight[first : first + height]
        totals = [sum(column) for column in zip(*block, strict=True)]
        whole = sum(totals) or 1.0
        rows.append(
            LayerRow(first, first + len(block) - 1, tuple(total / whole for total in totals))
        )
    return tuple(rows)


def heat(share: float, experts: int) -> float:
    """Brightness from 0 to 1: none at no use, half at an even split, full at three times that."""
    even = 1.0 / max(1, experts)
    ratio = share / even
    return min(1.0, ratio / 2 if ratio <= 1 else 0.5 + (ratio - 1) / 4)
