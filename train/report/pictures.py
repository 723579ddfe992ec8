"""Pictures of a run, as PNG bytes: losses, and how the routers of all layers do."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sparsedoctor.train.report.record import HealthState, RunRecord, Series
from sparsedoctor.train.report.specialisation import Specialisation

INK, GREY = "#1f2933", "#9aa5b1"
BLUE, ORANGE, GREEN, PURPLE = "#0b6ea8", "#d1701c", "#2e8b57", "#7b4fa3"
_WIDTH = 9.0  # inches
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.grid": True,
    "grid.color": "#e4e7eb",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
}


# Topics may be Chinese words; the first of these that is installed stands in for DejaVu's gaps.
_CHINESE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei", "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "SimHei",
)  # fmt: skip


def draw_all(record: RunRecord, found: Specialisation | None) -> dict[str, bytes]:
    """Every picture that the run's files allow, by name, as PNG."""
    pictures: dict[str, bytes] = {}
    with matplotlib.rc_context({**_STYLE, "font.family": _fonts()}):
        if record.log:
            pictures["loss"] = draw_losses(record)
            terms = draw_terms(record)
            if terms:
                pictures["terms"] = terms
        if record.health:
            pictures["load"] = draw_load(record.health)
            pictures["routers"] = draw_routers(record.health)
            memory = draw_memory(record)
            if memory:
                pictures["memory"] = memory
        if found is not None:
            pictures["topics"] = draw_topics(found)
    return pictures


def draw_losses(record: RunRecord) -> bytes:
    """Training loss, faint and smoothed, and the held-out loss with its best point."""
    figure, [axes] = _figure(1, 1, height=3.6)
    name = "lm_loss" if record.series("lm_loss")[0] else "loss"
    steps, values = record.series(name)
    axes.plot(steps, values, color=GREY, linewidth=0.8, label="training, each line of the log")
    if len(values) >= 8:
        axes.plot(steps, _smooth(values), color=BLUE, linewidth=1.8, label="training, smoothed")
    held_steps, held = record.series("held_out_loss")
    finite = [(value, step) for step, value in zip(held_steps, held, strict=True)
              if math.isfinite(value)]  # fmt: skip
    if finite:
        axes.plot(held_steps, held, color=ORANGE, marker="o", markersize=4, label="held out")
        best, at = min(finite)
        axes.annotate(
            f"best {best:.3f}", (at, best), (0, -14), textcoords="offset points",
            ha="center", color=ORANGE, fontsize=9,
        )  # fmt: skip
    axes.set_title("Loss per answer token")
    axes.set_ylabel("nats")
    _steps(axes)
    axes.margins(y=0.15)
    axes.legend(loc="upper right", fontsize=9)
    return _png(figure)


def draw_terms(record: RunRecord) -> bytes | None:
    """The terms that supervise the routing, and the speed; None when none was logged."""
    names = {
        "contrast": "Contrast",
        "route": "Route",
        "balance": "Balance (1 = even)",
        "z": "Router z-loss",
        "learning_rate": "Learning rate",
        "tokens_per_second": "Tokens per second",
    }
    there = [(title, record.series(name)) for name, title in names.items()]
    there = [(title, series) for title, series in there if any(series[1])]
    if not there:
        return None
    columns = min(3, len(there))
    rows = math.ceil(len(there) / columns)
    figure, grid = _figure(rows, columns, height=2.1 * rows)
    for axes, (title, (steps, values)) in zip(grid, there, strict=False):
        axes.plot(steps, values, color=PURPLE, linewidth=1.4)
        axes.set_title(title)
        _steps(axes)
    for axes in grid[len(there) :]:
        axes.set_visible(False)
    return _png(figure)


def draw_load(health: Sequence[HealthState]) -> bytes:
    """Load by layer and expert at the last look, and each layer's busiest expert over time."""
    last = health[-1]
    loads = np.array([layer.load for layer in last.layers])  # [layers, E]
    layers, experts = loads.shape
    figure, [left, right] = _figure(1, 2, height=max(3.2, 1.4 + 0.17 * layers))
    image = left.imshow(
        loads * experts, aspect="auto", cmap="RdBu_r", vmin=0, vmax=2, interpolation="nearest"
    )
    left.set_title(f"Load of each expert, step {last.step}")
    left.set_xlabel("expert")
    left.set_ylabel("layer")
    left.set_xticks(range(experts))
    left.yaxis.set_major_locator(MaxNLocator(integer=True))
    left.grid(False)
    if experts <= 8 and layers <= 40:
        for layer in range(layers):
            for expert in range(experts):
                share = loads[layer, expert]
                strong = abs(share * experts - 1) > 0.65
                left.text(
                    expert, layer, f"{share:.0%}", ha="center", va="center", fontsize=6.5,
                    color="white" if strong else INK,
                )  # fmt: skip
    figure.colorbar(image, ax=left, label="times an even share", shrink=0.8)
    same = [state for state in health if len(state.layers) == layers]
    busiest = np.array([[max(layer.load) for layer in state.layers] for state in same]).T
    _over_steps(figure, right, same, busiest * experts, "Busiest expert of each layer over time")
    return _png(figure)


def draw_routers(health: Sequence[HealthState]) -> bytes:
    """Entropy, balance, margin and dead experts over steps: mean and range over layers."""
    figure, grid = _figure(2, 2, height=4.8)
    panels = (
        ("entropy", "Entropy of the routers (1 = even)", BLUE),
        ("balance", "Balance (1 = even, E/k = collapsed)", ORANGE),
        ("margin", "Margin of the best expert", GREEN),
        ("dead", "Dead experts, all layers together", PURPLE),
    )
    for axes, (name, title, colour) in zip(grid, panels, strict=True):
        values = [[getattr(layer, name) for layer in state.layers] for state in health]
        if name == "dead":
            dead = [float(np.nansum(row)) for row in values]
            axes.plot(_at(health), dead, color=colour, marker=".", clip_on=False)
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_ylim(0, max(1.0, 1.1 * max(dead)))
        else:
            _band(axes, _at(health), values, colour)
        axes.set_title(title)
        _steps(axes)
    return _png(figure)


def draw_memory(record: RunRecord) -> bytes | None:
    """Fill of the queues and how often the nearest remembered key is of the same expert."""
    fills = [
        (state.step, [part for layer in state.layers for part in layer.queue_fill])
        for state in record.health
    ]
    fills = [(step, parts) for step, parts in fills if parts]
    accuracy = _accuracy(record)
    if not fills and not accuracy[0]:
        return None
    figure, [left, right] = _figure(1, 2, height=2.8)
    if fills:
        _band(left, [step for step, _ in fills], [parts for _, parts in fills], BLUE)
    left.set_title("Expert memory queues, part filled")
    left.set_ylim(0, 1.05)
    experts = len(record.health[0].layers[0].load)
    right.axhline(1 / experts, color=GREY, linestyle="--", linewidth=1)
    right.plot(*accuracy, color=GREEN, marker=".", linewidth=1.4)
    right.set_title("Contrast: nearest key of the same expert")
    right.set_ylim(0, 1.05)
    right.text(
        0.99, 1 / experts - 0.02, "by chance", color=GREY, fontsize=8, ha="right", va="top",
        transform=right.get_yaxis_transform(),
    )  # fmt: skip
    for axes in (left, right):
        _steps(axes)
    return _png(figure)


def draw_topics(found: Specialisation) -> bytes:
    """Information by layer against shuffled topics, and the strongest layer's table."""
    topics, experts = found.table.shape[1:]
    figure, [left, right] = _figure(1, 2, height=max(3.4, 1.4 + 0.24 * topics))
    layers = np.arange(len(found.information))
    low, high = np.quantile(found.shuffled, (0.025, 0.975), axis=0)
    left.fill_between(layers, low, high, color=GREY, alpha=0.45, label="topics shuffled, 95 %")
    left.plot(layers, found.information, color=BLUE, marker=".", label="measured")
    left.set_title("Topic and expert: shared information")
    left.set_xlabel("layer")
    left.set_ylabel("bits")
    left.set_ylim(bottom=0)
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend(fontsize=9)
    table = found.table[found.strongest]
    lift = found.lift[found.strongest]
    image = right.imshow(
        lift, aspect="auto", cmap="RdBu_r", vmin=0.5, vmax=1.5, interpolation="nearest"
    )
    right.set_title(f"Experts by topic, layer {found.strongest}")
    right.set_xlabel("expert")
    right.set_xticks(range(experts))
    right.set_yticks(range(topics), [_plain(name) for name in found.topics], fontsize=8)
    right.grid(False)
    if experts <= 8:
        for topic in range(topics):
            for expert in range(experts):
                strong = abs(lift[topic, expert] - 1) > 0.33
                right.text(
                    expert, topic, f"{table[topic, expert]:.0%}", ha="center", va="center",
                    fontsize=7, color="white" if strong else INK,
                )  # fmt: skip
    figure.colorbar(image, ax=right, label="times its share over all topics", shrink=0.8)
    return _png(figure)


def _accuracy(record: RunRecord) -> Series:
    """By layer from the health file, or over all layers from the log."""
    points = [
        (state.step, [layer.contrast_accuracy for layer in state.layers]) for state in record.health
    ]
    measured = [(step, v) for step, values in points if (v := _mean(values)) is not None]
    if measured:
        return [step for step, _ in measured], [value for _, value in measured]
    return record.series("agreement")


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else None


def _band(axes: Axes, steps: list[int], values: list[list[float]], colour: str) -> None:
    """The mean as a line, the range from least to most as a band."""
    rows = [(step, [v for v in row if math.isfinite(v)]) for step, row in
            zip(steps, values, strict=True)]  # fmt: skip
    rows = [(step, row) for step, row in rows if row]
    at = [step for step, _ in rows]
    axes.fill_between(
        at, [min(row) for _, row in rows], [max(row) for _, row in rows], color=colour, alpha=0.18,
        linewidth=0,
    )  # fmt: skip
    axes.plot(at, [sum(row) / len(row) for _, row in rows], color=colour, marker=".", linewidth=1.6)


def _over_steps(
    figure: Figure, axes: Axes, health: Sequence[HealthState], values: Any, title: str
) -> None:
    """A heat map `values [layers, looks]`, one column for each look at the routers."""
    image = axes.imshow(
        values, aspect="auto", cmap="YlOrRd", vmin=1, vmax=max(2.0, float(np.nanmax(values))),
        interpolation="nearest",
    )  # fmt: skip
    axes.set_title(title)
    axes.set_xlabel("step")
    places = sorted({0, len(health) // 2, len(health) - 1})
    axes.set_xticks(places, [str(health[place].step) for place in places])
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(False)
    figure.colorbar(image, ax=axes, label="times an even share", shrink=0.8)


def _smooth(values: list[float], weight: float = 0.85) -> list[float]:
    """Exponential average, corrected for its beginning; gaps pass through."""
    smoothed, sum_of, sum_of_weights = [], 0.0, 0.0
    for value in values:
        if math.isfinite(value):
            sum_of = weight * sum_of + (1 - weight) * value
            sum_of_weights = weight * sum_of_weights + (1 - weight)
        smoothed.append(sum_of / sum_of_weights if sum_of_weights else math.nan)
    return smoothed


def _at(health: Sequence[HealthState]) -> list[int]:
    return [state.step for state in health]


def _steps(axes: Axes) -> None:
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def _fonts() -> list[str]:
    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *[font for font in _CHINESE_FONTS if font in installed][:1]]


def _plain(name: str) -> str:
    # matplotlib reads $...$ as mathematics.
    return (name if len(name) <= 28 else name[:27] + "…").replace("$", r"\$")


def _figure(rows: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(rows, columns, place + 1) for place in range(rows * columns)]


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144, metadata={"Software": None})
    return buffer.getvalue()
